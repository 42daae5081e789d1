"""State that all processes share which name the same namespace of one Redis server (5.0 or later, no cluster).

Each decision is one run of a Lua script, by the server's clock. The policies of this process follow what was decided,
so that each can go on by itself from there while Redis is away, where ``state.when_away`` is ``open``.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any

from aiobreaker import CircuitBreakerState

from claudeprov.clock import Clock
from claudeprov.errors import CircuitOpenError
from claudeprov.notice import Notices
from claudeprov.settings.breaker import BreakerSettings
from claudeprov.state import Ask, Balance, Counter, Level, Limit, Reservation, Settled, Verdict
from claudeprov.state.bucket import Pool
from claudeprov.state.circuit import Circuit, MemoryCircuits
from claudeprov.state.link import Link, Script, Value
from claudeprov.state.reservation import MemoryReservations, exceeded

if TYPE_CHECKING:
    from claudeprov.settings import Settings


class RedisState:
    """Keeps what calls share in Redis."""

    def __init__(self, settings: Settings, clock: Clock, notices: Notices) -> None:
        self._settings = settings
        self._clock = clock
        self._notices = notices
        self.link = Link(settings.state, clock, notices)

    @cached_property
    def buckets(self) -> RedisBuckets:
        return RedisBuckets(self.link, self._clock)

    @cached_property
    def circuits(self) -> RedisCircuits:
        assert self._settings.breaker is not None
        return RedisCircuits(self.link, self._settings.breaker, self._clock, self._notices)

    @cached_property
    def reservations(self) -> RedisReservations:
        return RedisReservations(self.link, self._clock)

    async def open(self) -> None:
        await self.link.open()

    async def close(self) -> None:
        await self.link.close()


class RedisBuckets:
    """The pools of all routes. ``levels`` shows them as they were when this process last took from them."""

    def __init__(self, link: Link, clock: Clock) -> None:
        self._link = link
        self._clock = clock
        self._script = Script("bucket.lua")
        self._pools: dict[str, Pool] = {}

    async def take(self, key: str, wanted: Mapping[Counter, float], limits: Mapping[Counter, Limit]) -> float:
        args: list[Value] = ["take"]
        for counter, limit in limits.items():
            args += counter, wanted.get(counter, 0.0), limit.rate, limit.burst
        answer = await self._link.ask(self._script, [self._name(key)], args)
        pool, now = self._pool(key), self._clock.monotonic()
        if answer is None:
            return pool.take(wanted, limits, now)
        wait, *levels = map(float, answer)
        pool.follow(limits, dict(zip(limits, levels, strict=True)), now)
        return wait

    def give(self, key: str, amounts: Mapping[Counter, float]) -> None:
        self._pool(key).give(amounts, self._clock.monotonic())
        self._tell(key, "give", *(value for pair in amounts.items() for value in pair))

    def hold(self, key: str, seconds: float) -> None:
        self._pool(key).hold(seconds, self._clock.monotonic())
        self._tell(key, "hold", seconds)

    def steer(self, key: str, remaining: Mapping[Counter, float], reset: Mapping[Counter, float]) -> None:
        self._pool(key).steer(remaining, reset, self._clock.monotonic())
        known = [counter for counter in remaining if counter in reset]
        self._tell(key, "steer", *(value for name in known for value in (name, remaining[name], reset[name])))

    def levels(self, key: str) -> Mapping[Counter, Level]:
        return self._pool(key).levels(self._clock.monotonic())

    def _tell(self, key: str, *args: Value) -> None:
        self._link.tell(self._script, [self._name(key)], args)

    def _pool(self, key: str) -> Pool:
        return self._pools.setdefault(key, Pool())

    def _name(self, key: str) -> str:
        return self._link.name("bucket", key)


class RedisCircuits:
    """A circuit for each key; the circuits of this process follow what was decided, and tell of it."""

    def __init__(self, link: Link, settings: BreakerSettings, clock: Clock, notices: Notices) -> None:
        self._link = link
        self._settings = settings
        self._script = Script("circuit.lua")
        self._followers = MemoryCircuits(settings, clock, notices)
        rate = "" if settings.failure_rate is None else settings.failure_rate
        self._options: tuple[Value, ...] = (
            *(settings.open_for, settings.trials, settings.window),
            *(settings.failures or "", rate, settings.minimum_calls),
        )

    async def admit(self, key: str) -> Verdict:
        circuit = self._followers.circuit(key)
        if self._settings.force is not None:
            return circuit.admit()
        verdict = RedisVerdict(self, circuit)
        passes = await self.ask(circuit, verdict, "admit")
        if passes is None:
            return circuit.admit()
        if not passes:
            raise circuit.refusal()
        return verdict

    def refusal(self, key: str) -> CircuitOpenError | None:
        return self._followers.refusal(key)

    def states(self) -> Mapping[str, str]:
        return self._followers.states()

    async def ask(self, circuit: Circuit, verdict: RedisVerdict, action: str) -> bool | None:
        """Whether a call may go on; ``None`` where Redis is away."""
        keys, args = self._message(circuit, verdict, action)
        answer = await self._link.ask(self._script, keys, args, undo=verdict.withdraw if action == "admit" else None)
        if answer is None:
            return None
        verdict.turn = answer[2] if action == "admit" else verdict.turn
        _follow(circuit, answer)
        return bool(answer[0])

    def tell(self, circuit: Circuit, verdict: RedisVerdict, action: str) -> None:
        """Give a verdict."""
        keys, args = self._message(circuit, verdict, action)
        self._link.tell(self._script, keys, args, lambda answer: _follow(circuit, answer), keep=True)

    def _message(self, circuit: Circuit, verdict: RedisVerdict, action: str) -> tuple[Sequence[str], Sequence[Value]]:
        keys = [self._link.name("circuit", circuit.name, *part) for part in _PARTS]
        return keys, (*self._options, action, verdict.id, verdict.turn)


_PARTS: tuple[tuple[str, ...], ...] = ((), ("failures",), ("calls",), ("on_trial",))


class RedisVerdict:
    """Whether an admitted call has succeeded. It is void once the state has changed since the call was admitted."""

    def __init__(self, circuits: RedisCircuits, circuit: Circuit) -> None:
        self.id = uuid.uuid4().hex
        self.turn = ""
        """The turn of the circuit in which the call was admitted."""
        self._circuits = circuits
        self._circuit = circuit

    def succeed(self) -> None:
        self._circuits.tell(self._circuit, self, "succeed")

    def fail(self) -> None:
        self._circuits.tell(self._circuit, self, "fail")

    def withdraw(self) -> None:
        self._circuits.tell(self._circuit, self, "withdraw")

    async def check(self) -> None:
        passes = await self._circuits.ask(self._circuit, self, "check")
        if passes is None:
            passes = self._circuit.current_state is CircuitBreakerState.CLOSED
        if not passes:
            raise self._circuit.refusal()


def _follow(circuit: Circuit, answer: Sequence[Any]) -> None:
    circuit.follow(answer[1], float(answer[3]))


class RedisReservations:
    """The accounts of all processes. What a process that ended has set aside stays so until the period is over."""

    def __init__(self, link: Link, clock: Clock) -> None:
        self._link = link
        self._clock = clock
        self._script = Script("reservation.lua")
        self._follower = MemoryReservations(clock)

    async def reserve(self, asks: Sequence[Ask], settled: Settled) -> Reservation:
        reservation = RedisReservation(self, asks, settled)
        names = self._names(asks)
        openings: list[Value] = ["0" if ask.opening is None else "" for ask in asks]
        while True:
            args: list[Value] = ["reserve", reservation.id]
            for ask, opening in zip(asks, openings, strict=True):
                amount, limit = _whole(ask.amount, ask, ROUND_CEILING), _whole(ask.limit, ask, ROUND_FLOOR)
                args += amount, limit, opening, self._seconds(ask)
            answer = await self._link.ask(self._script, names, args, undo=reservation.drop)
            match answer:
                case None:
                    reservation.local = await self._follower.reserve(asks, settled)
                    return reservation
                case ["new", *places]:
                    for place in places:
                        ask = asks[place - 1]
                        assert ask.opening is not None
                        openings[place - 1] = _whole(await ask.opening(), ask)
                case ["exceeded", place, spent, reserved]:
                    ask = asks[place - 1]
                    self._follow(ask, spent, reserved)
                    raise exceeded(ask, _amount(spent, ask), _amount(reserved, ask))
                case [_, *figures]:
                    for ask, spent, reserved in zip(asks, figures[::2], figures[1::2], strict=True):
                        self._follow(ask, spent, reserved)
                    return reservation

    def balances(self) -> Mapping[str, Balance]:
        return self._follower.balances()

    def settle(self, reservation: RedisReservation, cost: Mapping[str, Decimal], settled: Settled | None) -> None:
        """Tell what a reservation came to."""
        asks = reservation.asks
        args: list[Value] = ["settle", reservation.id]
        for ask in asks:
            # Nothing is set aside for a call that was let through while Redis was away. An account that is not there
            # yet is opened with what its opening says, which knows of the call.
            otherwise = "" if reservation.local is None else "open" if ask.opening is None else "add"
            args += _whole(cost[ask.unit], ask), otherwise, self._seconds(ask)

        def then(figures: Sequence[str]) -> None:
            for ask, spent, reserved in zip(asks, figures[::2], figures[1::2], strict=True):
                if spent:
                    self._follow(ask, spent, reserved)
                    after = _amount(spent, ask)
                    if settled is not None:
                        settled(ask, after - cost[ask.unit], after)

        self._link.tell(self._script, self._names(asks), args, then, keep=True)

    def _names(self, asks: Sequence[Ask]) -> list[str]:
        return [self._link.name("account", ask.account) for ask in asks]

    def _seconds(self, ask: Ask) -> int:
        if ask.ends is None:
            return _KEPT_RUN
        return max(int((ask.ends - self._clock.now()).total_seconds()), 0) + _KEPT

    def _follow(self, ask: Ask, spent: str, reserved: str) -> None:
        self._follower.follow(ask, _amount(spent, ask), _amount(reserved, ask))


class RedisReservation:
    """What is set aside for one call."""

    def __init__(self, reservations: RedisReservations, asks: Sequence[Ask], settled: Settled) -> None:
        self.id = uuid.uuid4().hex
        self.asks = asks
        self.local: Reservation | None = None
        """Where Redis was away: what is set aside in this process."""
        self._reservations = reservations
        self._settled = settled
        self._open = True

    def settle(self, usd: Decimal, tokens: int) -> None:
        if not self._open:
            return
        self._open = False
        if self.local is not None:
            self.local.settle(usd, tokens)
        told = self._settled if self.local is None else None
        self._reservations.settle(self, {"usd": usd, "tokens": Decimal(tokens)}, told)

    def drop(self) -> None:
        """Give back what may have been set aside for a call that nobody waits for."""
        self._reservations.settle(self, {"usd": _NOTHING, "tokens": _NOTHING}, None)


_NOTHING = Decimal(0)
_DIGITS = {"usd": 12, "tokens": 0}
"""Decimal places of what a unit is counted in."""
_KEPT = 86_400
"""Seconds for which an account outlives its period: a clock that is set back must not open it anew."""
_KEPT_RUN = 30 * 86_400
"""Seconds for which an account without a period is kept after it was last used."""


def _whole(amount: Decimal, ask: Ask, rounding: str = ROUND_HALF_EVEN) -> str:
    return str(int(amount.scaleb(_DIGITS[ask.unit]).to_integral_value(rounding)))


def _amount(whole: str, ask: Ask) -> Decimal:
    return Decimal(whole).scaleb(-_DIGITS[ask.unit])
