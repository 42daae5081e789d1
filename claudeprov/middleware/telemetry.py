"""What is told of each call."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

from claudeprov.chain import Call, Next
from claudeprov.notice import Notices
from claudeprov.stream import Outcome, Stream, response_of
from claudeprov.telemetry import Observer

_log = logging.getLogger(__name__)


class Telemetry:
    """Tells *observers* of each call and of what the layers have to say; without any it costs nothing.

    Args:
        observers: In order; the first to see a call begin is the last to see it end.
        notices: What the layers tell; nothing if left out.
        close: What is awaited last when the provider is disposed of.
    """

    def __init__(
        self,
        observers: Sequence[Observer] = (),
        notices: Notices | None = None,
        *,
        close: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._observers = observers
        self._close = close
        self._opening = _overridden(observers, "opening")
        self._attempting = _overridden(observers, "attempting")
        self._opened = _overridden(observers, "opened")
        self._ended = _overridden(observers, "ended")[::-1]
        if notices is not None:
            for noticed in _overridden(observers, "noticed"):
                notices.listen(noticed)

    async def __call__(self, call: Call, call_next: Next) -> Stream:
        if not self._observers:
            return await call_next(call)
        if self._attempting and self._attempt not in call.around:
            call.around.append(self._attempt)
        try:
            with _Held(self._opening, call):
                stream = await call_next(call)
        except BaseException as error:
            outcome = Outcome("failed", error) if isinstance(error, Exception) else Outcome("cancelled")
            self._tell(call, None, outcome)
            raise
        for opened in self._opened:
            _safely(opened, call, stream)
        stream.on_end(lambda outcome: self._tell(call, stream, outcome))
        return stream

    async def close(self) -> None:
        """Let the observers go, each even where another cannot be."""
        for observer in self._observers:
            _safely(observer.close)
        if self._close is not None:
            await self._close()

    def _attempt(self, call: Call) -> _Held:
        return _Held(self._attempting, call)

    def _tell(self, call: Call, stream: Stream | None, outcome: Outcome) -> None:
        response = response_of(call, stream)
        for ended in self._ended:
            _safely(ended, call, outcome, response)


class _Held:
    """What observers hold during a step of a call."""

    __slots__ = ("_call", "_held", "_holds")

    def __init__(self, holds: Iterable[Callable[[Call], AbstractContextManager[object]]], call: Call) -> None:
        self._holds = holds
        self._call = call
        self._held: list[AbstractContextManager[object]] = []

    def __enter__(self) -> None:
        for hold in self._holds:
            _safely(self._enter, hold)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for held in reversed(self._held):
            _safely(held.__exit__, kind, error, traceback)

    def _enter(self, hold: Callable[[Call], AbstractContextManager[object]]) -> None:
        held = hold(self._call)
        held.__enter__()
        self._held.append(held)


def _overridden(observers: Sequence[Observer], name: str) -> list[Callable[..., Any]]:
    """The methods of that name of the observers that have one of their own."""
    return [getattr(one, name) for one in observers if getattr(type(one), name) is not getattr(Observer, name)]


def _safely(tell: Callable[..., object], *told: object) -> None:
    try:
        tell(*told)
    except Exception:
        _log.exception("an observer failed: %r; the call and the others go on", tell)
