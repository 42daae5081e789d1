"""A layer of a user's own, to be in the chain many times."""

from __future__ import annotations

from claudeprov import Call, Next, Outcome, Stream


class Counter:
    """Counts how streams end."""

    def __init__(self) -> None:
        self.ends: dict[str, int] = {}

    async def __call__(self, call: Call, call_next: Next) -> Stream:
        stream = await call_next(call)
        stream.on_end(self._count)
        return stream

    def _count(self, outcome: Outcome) -> None:
        self.ends[outcome.kind] = self.ends.get(outcome.kind, 0) + 1
