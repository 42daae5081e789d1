"""Time, handed in: what a layer or a policy needs to know of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Protocol, TypeVar

_T = TypeVar("_T")


class Clock(Protocol):
    """Where time comes from. Tests hand in :class:`claudeprov.testing.ManualClock`."""

    def now(self) -> datetime:
        """The wall clock, aware and in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds from some fixed point; never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for *seconds* of this clock."""
        ...

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """Bound what runs inside to *seconds* of this clock; past them it raises :class:`TimeoutError`."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        return asyncio.timeout(seconds)


SYSTEM_CLOCK = SystemClock()


def day_of(at: datetime) -> tuple[datetime, datetime]:
    """When the day of *at*, which is aware, begins and ends in UTC."""
    begins = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return begins, begins + timedelta(days=1)


def month_of(at: datetime) -> tuple[datetime, datetime]:
    """When the month of *at*, which is aware, begins and ends in UTC."""
    begins = day_of(at)[0].replace(day=1)
    return begins, (begins + timedelta(days=31)).replace(day=1)


async def within(clock: Clock, seconds: float, work: Awaitable[_T], late: Callable[[], Exception]) -> _T:
    """Await *work* for at most *seconds*, and raise what *late* makes past them; its own ``TimeoutError`` goes on."""
    own: TimeoutError | None = None
    try:
        async with clock.timeout(seconds):
            try:
                return await work
            except TimeoutError as error:
                own = error
                raise
    except TimeoutError as error:
        if error is own:
            raise
        raise late() from error
