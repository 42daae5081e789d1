"""What a circuit breaker does, in as few lines as it takes to say so."""

from __future__ import annotations


class Reference:
    """One route: ``failures`` in ``window`` open it; after ``open_for``, one call at a time is on trial."""

    def __init__(self, failures: int, window: float, open_for: float) -> None:
        self.failures, self.window, self.open_for = failures, window, open_for
        self.failed: list[float] = []
        self.state, self.since, self.on_trial = "closed", 0.0, 0
        self.changes: list[tuple[str, str]] = []

    def admits(self, now: float) -> bool:
        if self.state == "open" and now >= self.since + self.open_for:
            self.turn("half_open", now)
        admitted = self.state == "closed" or (self.state == "half_open" and self.on_trial == 0)
        self.on_trial += admitted and self.state == "half_open"
        return admitted

    def judge(self, admitted_in: int, failed: bool | None, now: float) -> None:
        if admitted_in != len(self.changes):
            return
        self.on_trial -= self.state == "half_open"
        if failed and self.state == "closed":
            self.failed = [time for time in self.failed if time > now - self.window] + [now]
        if failed and (self.state == "half_open" or len(self.failed) >= self.failures):
            self.turn("open", now)
        elif failed is False and self.state == "half_open":
            self.turn("closed", now)

    def turn(self, state: str, now: float) -> None:
        self.changes.append((self.state, state))
        self.state, self.since, self.on_trial, self.failed = state, now, 0, []
