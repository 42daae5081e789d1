"""What is told of each call."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from types import TracebackType
from typing import Any

from claudeprov.chain import Call, Next
from claudeprov.notice import Notices
from claudeprov.response import MessageResponse
from claudeprov.stream import Outcome, Stream, response_of
from claudeprov.telemetry import Observer

_log = logging.getLogger(__name__)


class Telemetry:
    """Tells *observers* of each call and of what the layers have to say; without any it costs nothing.

    Within a layer that sends a call more than once, such as ``fallback``, each pass is told as a call of its own, with
    the attempts and waits of that pass.

    Args:
        observers: In order; the first to see a call begin is the last to see it end.
        notices: What the layers tell; nothing if left out.
        url: Where metrics are served, if they are.
        close: What delivers the rest when the provider is disposed of; observers are closed after it.
    """

    def __init__(
        self,
        observers: Sequence[Observer] = (),
        notices: Notices | None = None,
        *,
        url: str | None = None,
        close: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.metrics_url = url
        self._observers = observers
        self._close = close
        self._opening = _overridden(observers, "opening")
        self._attempting = _overridden(observers, "attempting")
        self._opened = _overridden(observers, "opened")
        self._ended = _overridden(observers, "ended")[::-1]
        self._stops = [] if notices is None else [notices.listen(hear) for hear in _overridden(observers, "noticed")]

    async def __call__(self, call: Call, call_next: Next) -> Stream:
        if not self._observers:
            return await call_next(call)
        if self._attempting and self._attempt not in call.around:
            call.around.append(self._attempt)
        before = len(call.attempts), call.queue, call.backoff
        try:
            with _Held(self._opening, call):
                stream = await call_next(call)
        except BaseException as error:
            outcome = Outcome("failed", error) if isinstance(error, Exception) else Outcome("cancelled")
            self._tell(call, None, outcome, before)
            raise
        for opened in self._opened:
            _safely(opened, call, stream)
        stream.on_end(lambda outcome: self._tell(call, stream, outcome, before))
        return stream

    async def close(self) -> None:
        """Let the observers go, each even where another cannot be."""
        for stop in self._stops:
            stop()
        try:
            if self._close is not None:
                await self._close()
        finally:
            for observer in self._observers:
                _safely(observer.close)

    def _attempt(self, call: Call) -> _Held:
        return _Held(self._attempting, call)

    def _tell(self, call: Call, stream: Stream | None, outcome: Outcome, before: tuple[int, float, float]) -> None:
        def answered() -> MessageResponse:
            response = response_of(call, stream)
            return _since(response, *before) if before[0] else response

        for ended in self._ended:
            _safely(ended, call, outcome, answered)


def _since(response: MessageResponse, attempts: int, queue: float, backoff: float) -> MessageResponse:
    """What came of a later pass of a call, which had made so many attempts, and waited so long, before it."""
    timing = response.timing
    timing = replace(timing, queue=timing.queue - queue, backoff=timing.backoff - backoff)
    return replace(response, timing=timing, attempts=response.attempts[attempts:])


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
