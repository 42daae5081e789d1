"""A layer that keeps account of what passes it, to be named in a chain by its ``_target_``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from claudeprov.chain import Call, Next
from claudeprov.stream import Outcome, Stream


@dataclass(eq=False)
class Entry:
    """One passage of a call."""

    name: str
    """Of the recorder that it passed."""
    call: Call
    route: str
    begun: float
    ends: int = 0
    outcome: Outcome | None = None
    ended: float = 0.0


class Recorder:
    """Notes each call that comes by, and each end that it is told of."""

    journal: ClassVar[list[tuple[Literal["begin", "end"], Entry]]] = []
    """What all recorders have noted, in the order in which it happened."""

    def __init__(self, *, name: str) -> None:
        self._name = name

    async def __call__(self, call: Call, call_next: Next) -> Stream:
        entry = Entry(self._name, call, call.route, call.clock.monotonic())
        self.journal.append(("begin", entry))
        try:
            stream = await call_next(call)
        except Exception as error:
            self._end(entry, Outcome("failed", error))
            raise
        except BaseException:
            self._end(entry, Outcome("cancelled"))
            raise
        stream.on_end(lambda outcome: self._end(entry, outcome))
        return stream

    @classmethod
    def entries(cls, name: str) -> list[Entry]:
        """The passages of one recorder."""
        return [entry for what, entry in cls.journal if what == "begin" and entry.name == name]

    def _end(self, entry: Entry, outcome: Outcome) -> None:
        entry.ends += 1
        entry.outcome = outcome
        entry.ended = entry.call.clock.monotonic()
        self.journal.append(("end", entry))
