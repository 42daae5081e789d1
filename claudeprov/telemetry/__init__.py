"""What is told of calls: logs, traces and metrics, each an observer of the layer ``telemetry``."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from claudeprov.errors import ProviderError

if TYPE_CHECKING:
    from claudeprov.chain import Call
    from claudeprov.cost import Cost
    from claudeprov.notice import Notice
    from claudeprov.response import MessageResponse
    from claudeprov.stream import Outcome, Stream

_NOTHING: AbstractContextManager[None] = nullcontext()


class Observer:
    """Sees each call begin and end, and what happens in between; one overrides what it wants to see.

    All of it is synchronous and in the reader's task, but for the end of a stream that another task cancels. An
    exception of an observer is logged, and touches neither the call nor other observers. None is told of single events.
    """

    def opening(self, call: Call, /) -> AbstractContextManager[object]:
        """What holds while the stream of *call* is being opened, all its layers, waits and attempts included."""
        return _NOTHING

    def attempting(self, call: Call, /) -> AbstractContextManager[object]:
        """What holds during one attempt, the ``len(call.attempts) + 1``-th; at its exit ``call.attempts`` has it."""
        return _NOTHING

    def opened(self, call: Call, stream: Stream, /) -> None:
        """The stream of *call* has just been opened."""

    def ended(self, call: Call, outcome: Outcome, answered: Callable[[], MessageResponse], /) -> None:
        """*call* is over, once; also where it was never opened. *answered* puts together what has arrived: who does
        not need it does not ask, for it holds the answer's text once more."""

    def noticed(self, notice: Notice, /) -> None:
        """A layer, or a tool, had something to say."""

    def close(self) -> None:
        """The provider is disposed of: no more is told."""


def error_code(error: BaseException | None) -> str | None:
    """What an error is called in events, spans and labels: its code, or of a bug the name of its class."""
    if error is None:
        return None
    return error.code if isinstance(error, ProviderError) else type(error).__name__


def tokens_of(cost: Cost) -> dict[tuple[str, str], int]:
    """Tokens of what *cost* is for, by the model that used them and ``input``, ``cache_read``, ``cache_write`` or
    ``output``, which exclude each other."""
    tokens: dict[tuple[str, str], int] = {}
    for item in cost.items:
        if kind := _KINDS.get(item.name):
            key = item.model, kind
            tokens[key] = tokens.get(key, 0) + item.quantity
    return tokens


_KINDS = {
    "input": "input",
    "cache_read": "cache_read",
    "cache_write_5m": "cache_write",
    "cache_write_1h": "cache_write",
    "output": "output",
}
