"""A clock that moves when it is told to."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TypeVar

_T = TypeVar("_T")

_TURNS = 1000
"""Turns of the event loop after which a task that still runs is taken for one that never waits."""


class ManualClock:
    """A :class:`claudeprov.clock.Clock` that stands still between calls of :meth:`advance` and :meth:`run`.

    Args:
        start: What it shows at first, aware.
    """

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._start = start.astimezone(UTC)
        self._elapsed = 0.0
        self._timers: list[_Timer] = []
        self._serial = itertools.count()

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        due = asyncio.Event()
        timer = self._timer(seconds, due.set)
        try:
            await due.wait()
        finally:
            timer.cancel()

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        return self._timeout(seconds)

    async def advance(self, seconds: float) -> None:
        """Move on by *seconds*: what is due wakes in order, and runs until it waits again, before time goes on."""
        end = self._elapsed + seconds
        await settle()
        while (due := self._due()) is not None and due <= end:
            await self.step()
        self._elapsed = end

    async def step(self) -> bool:
        """Move on to whatever is due next, and let it run until it waits again; false if nothing waits."""
        due = self._due()
        if due is None:
            return False
        self._elapsed = max(self._elapsed, due)
        heapq.heappop(self._timers).fire()
        await settle()
        return True

    async def run(self, work: Awaitable[_T]) -> _T:
        """Run *work* to its end, moving on whenever it waits.

        Raises:
            RuntimeError: It waits for something that is not this clock's.
        """
        task = asyncio.ensure_future(work)
        try:
            await settle()
            while not task.done():
                if not await self.step():
                    raise RuntimeError(f"{work!r} waits for something that is not this clock's")
            return task.result()
        finally:
            task.cancel()

    @asynccontextmanager
    async def _timeout(self, seconds: float) -> AsyncIterator[None]:
        async with asyncio.timeout(None) as bound:
            timer = self._timer(max(seconds, 0), lambda: bound.reschedule(0.0))
            if seconds <= 0:
                timer.fire()
            try:
                yield
            finally:
                timer.cancel()

    def _timer(self, seconds: float, fire: Callable[[], object]) -> _Timer:
        timer = _Timer(self._elapsed + seconds, next(self._serial), fire)
        heapq.heappush(self._timers, timer)
        return timer

    def _due(self) -> float | None:
        while self._timers and self._timers[0].cancelled:
            heapq.heappop(self._timers)
        return self._timers[0].when if self._timers else None


class _Timer:
    __slots__ = ("_fire", "_serial", "when")

    def __init__(self, when: float, serial: int, fire: Callable[[], object]) -> None:
        self.when = when
        self._serial = serial
        self._fire: Callable[[], object] | None = fire

    @property
    def cancelled(self) -> bool:
        return self._fire is None

    def fire(self) -> None:
        fire, self._fire = self._fire, None
        if fire is not None:
            fire()

    def cancel(self) -> None:
        self._fire = None

    def __lt__(self, other: _Timer) -> bool:
        return (self.when, self._serial) < (other.when, other._serial)


async def settle() -> None:
    """Let the other tasks run until each of them waits for something that no task gives."""
    # asyncio has no public way to ask whether anything is runnable; a loop without this one gets all turns.
    ready = getattr(asyncio.get_running_loop(), "_ready", (None,))
    for _ in range(_TURNS):
        await asyncio.sleep(0)
        if not ready:
            return
