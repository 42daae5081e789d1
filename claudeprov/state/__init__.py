"""What the calls of a process share, or with Redis the calls of all processes that name the same namespace.

What is asked for is awaited; what is told (a correction, a verdict, a settlement) is taken at once, so that it can be
told at the end of a stream, and reaches other processes a moment later.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Protocol

from claudeprov.clock import Clock
from claudeprov.errors import CircuitOpenError, ConfigurationError
from claudeprov.notice import Notices

if TYPE_CHECKING:
    from claudeprov.settings import Settings

Counter = Literal["requests", "input_tokens", "output_tokens"]
"""What a rate limit counts."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A token bucket's size: ``burst`` at most at once, refilled by ``rate`` a second."""

    rate: float
    burst: float


@dataclass(frozen=True, slots=True)
class Level:
    """What a bucket holds now."""

    limit: Limit
    remaining: float
    reset: float
    """Seconds until it is full again."""


class Buckets(Protocol):
    """Rate limits: a set of buckets a key."""

    async def take(self, key: str, wanted: Mapping[Counter, float], limits: Mapping[Counter, Limit]) -> float:
        """Take *wanted* of all counters or of none; 0.0 if taken, else the seconds after which to ask again.

        Where it is cancelled it has taken nothing. An amount is at most its limit's ``burst``: more can never be had.
        """
        ...

    def give(self, key: str, amounts: Mapping[Counter, float]) -> None:
        """Put back what was taken too much; a negative amount takes more."""
        ...

    def hold(self, key: str, seconds: float) -> None:
        """Let nobody take for so long."""
        ...

    def steer(self, key: str, remaining: Mapping[Counter, float], reset: Mapping[Counter, float]) -> None:
        """Spread what remains evenly over the seconds until its reset; 0 seconds: no longer."""
        ...

    def levels(self, key: str) -> Mapping[Counter, Level]:
        """What this process knows of the buckets of *key*."""
        ...


class Verdict(Protocol):
    """What became of an admitted call; one of the three is told, once."""

    def succeed(self) -> None:
        """The service did what was asked."""
        ...

    def fail(self) -> None:
        """The service failed."""
        ...

    def withdraw(self) -> None:
        """Nothing is known of the service."""
        ...

    async def check(self) -> None:
        """Ask, before any of the three is told, whether the call may make a further attempt.

        Raises:
            CircuitOpenError: Others have opened the breaker meanwhile.
        """
        ...


class Circuits(Protocol):
    """Breakers: one a key."""

    async def admit(self, key: str) -> Verdict:
        """Let a call through.

        Raises:
            CircuitOpenError: The breaker is open; ``retry_after`` says for how long.
        """
        ...

    def refusal(self, key: str) -> CircuitOpenError | None:
        """Why a call would be refused now, as far as this process knows; ``None`` if it would not."""
        ...

    def states(self) -> Mapping[str, str]:
        """What this process knows of the breaker of each key: ``closed``, ``open``, ``half_open``, ``forced_open`` or
        ``disabled``."""
        ...


@dataclass(frozen=True, slots=True)
class Ask:
    """What a call may come to cost, against one limit of a budget in one period."""

    account: str
    """Which limit, and of which period: a new period is a new account."""
    setting: str
    """Where the limit is configured, such as ``budget.tags.user.day.usd``."""
    tag: str | None
    """Whose limit it is, such as ``user=alice``; ``None``: everyone's."""
    period: Literal["call", "run", "day", "month"]
    unit: Literal["usd", "tokens"]
    limit: Decimal
    amount: Decimal
    """The most that the call can cost."""
    ends: datetime | None = None
    """When the period ends, in UTC; ``None``: no clock ends it."""
    opening: Callable[[], Awaitable[Decimal]] | None = None
    """What was spent before anyone here kept the account; asked where the account is new."""


Settled = Callable[[Ask, Decimal, Decimal], None]
"""Told of each account that a settlement changed: what was spent before it, and after."""


class Reservation(Protocol):
    """What is set aside for one call."""

    def settle(self, usd: Decimal, tokens: int) -> None:
        """Turn it into what the call really cost; once."""
        ...


@dataclass(frozen=True, slots=True)
class Balance:
    """What a limit of a budget has come to in its period, as far as this process knows."""

    limit: Decimal
    spent: Decimal
    reserved: Decimal


class Reservations(Protocol):
    """Budgets: what was spent and what is reserved, an account at a time."""

    async def reserve(self, asks: Sequence[Ask], settled: Settled) -> Reservation:
        """Reserve all of *asks* or none.

        Raises:
            BudgetExceededError: One of them does not fit; ``context`` has its limit, what is spent, reserved, asked.
        """
        ...

    def balances(self) -> Mapping[str, Balance]:
        """The balance of each limit that was asked last, by its setting; those of tags are left out."""
        ...


class State(Protocol):
    """What calls share."""

    @property
    def buckets(self) -> Buckets: ...
    @property
    def circuits(self) -> Circuits: ...
    @property
    def reservations(self) -> Reservations: ...

    async def open(self) -> None:
        """Make ready for calls.

        Raises:
            ConfigurationError: The place where it is kept cannot be reached, and ``state`` says to refuse then.
        """
        ...

    async def close(self) -> None:
        """Write what was told and let go of every connection."""
        ...


class Memory:
    """Keeps what calls share in this process; it ends with it. Each part is made when it is first asked for."""

    def __init__(self, settings: Settings, clock: Clock, notices: Notices) -> None:
        self._settings = settings
        self._clock = clock
        self._notices = notices

    @cached_property
    def buckets(self) -> Buckets:
        from claudeprov.state.bucket import MemoryBuckets

        return MemoryBuckets(self._clock)

    @cached_property
    def circuits(self) -> Circuits:
        from claudeprov.state.circuit import MemoryCircuits

        assert self._settings.breaker is not None
        return MemoryCircuits(self._settings.breaker, self._clock, self._notices)

    @cached_property
    def reservations(self) -> Reservations:
        from claudeprov.state.reservation import MemoryReservations

        return MemoryReservations(self._clock)

    async def open(self) -> None:
        """Nothing is to be made ready."""

    async def close(self) -> None:
        """Nothing is to be let go of."""


def open_state(settings: Settings, clock: Clock, notices: Notices) -> State:
    """Make the state that ``settings.state`` names; connects to nothing yet.

    Raises:
        ConfigurationError: It needs an extra that is not installed.
    """
    if settings.state.kind == "memory":
        return Memory(settings, clock, notices)
    try:
        from claudeprov.state.redis import RedisState
    except ModuleNotFoundError as error:
        raise ConfigurationError("state=redis needs an extra: pip install 'claudeprov[redis]'") from error
    return RedisState(settings, clock, notices)
