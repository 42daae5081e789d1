"""A rule at work: when it begins to be told, and when it is over."""

from __future__ import annotations

import uuid
from typing import Literal

from claudeprov.settings.alerts import RuleSettings

Change = Literal["firing", "resolved"]


class Watch:
    """One rule, for the calls of one key.

    It is *ok*; once bad, *pending*; after ``pending_for`` seconds of being bad all the time, *firing*; after
    ``clear_for`` seconds of being good all the time, *ok* again.

    Args:
        rule: The rule.
    """

    __slots__ = ("_good_since", "_told", "id", "rule", "since", "state")

    def __init__(self, rule: RuleSettings) -> None:
        self.rule = rule
        self.state: Literal["ok", "pending", "firing"] = "ok"
        self.since = 0.0
        """Since when it has been bad, in the clock's monotonic seconds; of a rule that is pending or firing."""
        self.id = ""
        """Of the latest time that it began to fire."""
        self._good_since: float | None = None
        self._told = 0.0

    def is_bad(self, value: float | None, calls: int | None, baseline: float | None) -> bool:
        """Judge a figure; one that fires already is judged by thresholds that are better by ``hysteresis``.

        Args:
            value: In the measure's unit; ``None`` where there is none.
            calls: How many calls it is of; ``None``: of no calls, but of what another layer has told.
            baseline: The ledger's, where the rule compares with it; ``None``: it cannot be told.
        """
        rule, is_firing = self.rule, self.state == "firing"
        if value is None or (calls is not None and calls < (1 if is_firing else rule.minimum_calls)):
            return False
        slack = rule.hysteresis if is_firing else 0.0
        checks = []
        if rule.above is not None:
            checks.append(value >= rule.above * (1 - slack))
        if rule.below is not None:
            checks.append(value <= rule.below * (1 + slack))
        if rule.times_baseline is not None:
            if baseline is None:
                return False
            limit = rule.times_baseline * baseline
            if rule.times_baseline > 1:
                checks.append(value > 0 and value >= limit * (1 - slack))
            else:
                checks.append(value <= limit * (1 + slack))
        return all(checks)

    def see(self, is_bad: bool, now: float) -> Change | None:
        """Go on with how it is *now*, in monotonic seconds; return what is to be told, if anything is."""
        if self.state == "firing":
            return self._go_on(is_bad, now)
        if not is_bad:
            self.state = "ok"
            return None
        if self.state == "ok":
            self.state, self.since = "pending", now
        if now - self.since < self.rule.pending_for:
            return None
        self.state, self._good_since, self._told = "firing", None, now
        self.id = f"alert_{uuid.uuid4().hex}"
        return "firing"

    def _go_on(self, is_bad: bool, now: float) -> Change | None:
        if not is_bad:
            if self._good_since is None:
                self._good_since = now
            if now - self._good_since < self.rule.clear_for:
                return None
            self.state = "ok"
            return "resolved"
        self._good_since = None
        if self.rule.repeat is None or now - self._told < self.rule.repeat:
            return None
        self._told = now
        return "firing"
