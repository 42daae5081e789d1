"""Circuit breakers: aiobreaker's state machine and storage interface, with what it gets wrong for us put right.

aiobreaker 1.2.0 counts failures in a row and forgets them at any success, takes an error that it ignores for a success,
lets any number of calls through when half open, knows no call that was cancelled, lets a call that began before the
state changed change it again, and mixes local time with UTC.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from contextlib import suppress
from datetime import datetime, timedelta
from enum import Enum
from math import ceil, inf
from typing import Literal

from aiobreaker import CircuitBreaker, CircuitBreakerError, CircuitBreakerListener, CircuitBreakerState
from aiobreaker.state import CircuitBreakerBaseState
from aiobreaker.storage.base import CircuitBreakerStorage

from claudeprov.clock import Clock
from claudeprov.errors import CircuitOpenError
from claudeprov.notice import Notices
from claudeprov.settings.breaker import BreakerSettings

_ASK_AGAIN = 1.0
"""Seconds after which a call that is refused during a trial may ask again: nobody knows when a trial ends."""


class MemoryCircuits:
    """A circuit for each key, in this process.

    Posts ``breaker.changed`` with ``route``, ``from`` and ``to``, which are ``closed``, ``open`` or ``half_open``.
    """

    def __init__(self, settings: BreakerSettings, clock: Clock, notices: Notices) -> None:
        self._settings = settings
        self._clock = clock
        self._listener = _Posting(notices)
        self._circuits: dict[str, Circuit] = {}

    async def admit(self, key: str) -> CircuitVerdict:
        return self.circuit(key).admit()

    def circuit(self, key: str) -> Circuit:
        """The circuit of *key*; made when it is first asked for."""
        circuit = self._circuits.get(key)
        if circuit is None:
            circuit = self._circuits[key] = Circuit(self._settings, self._clock, name=key)
            circuit.add_listener(self._listener)
        return circuit

    def refusal(self, key: str) -> CircuitOpenError | None:
        """Why a call would be refused now."""
        circuit = self.circuit(key)
        return circuit.refusal() if circuit.refuses else None

    def states(self) -> dict[str, str]:
        """The state that a call of each would find: one that has been open for long enough is ``half_open``."""
        return {
            key: "half_open" if circuit.is_due else circuit.current_state.name.lower()
            for key, circuit in self._circuits.copy().items()
        }


class Circuit(CircuitBreaker):  # type: ignore[misc]  # aiobreaker has no types
    """Whether calls are let through: ``closed``, ``open``, ``half_open``, or forced. Needs neither loop nor network.

    ``add_listener`` takes aiobreaker's ``CircuitBreakerListener``, whose ``state_change`` is told of every change.

    Args:
        settings: When it opens, and for how long.
        clock: Where time comes from; only its monotonic seconds decide.
        name: What errors call it.
    """

    def __init__(self, settings: BreakerSettings, clock: Clock, *, name: str = "the service") -> None:
        self.clock = clock
        self.window = Window(timedelta(seconds=settings.window), clock)
        self.on_trial = 0
        """Calls on trial whose verdict is not given yet."""
        self.rate = settings.failure_rate
        self._settings = settings
        super().__init__(timeout_duration=timedelta(seconds=settings.open_for), state_storage=self.window, name=name)
        if settings.force is not None:
            self.force(settings.force)

    def admit(self) -> CircuitVerdict:
        """Let a call through.

        Raises:
            CircuitOpenError: It is open, or has let enough calls through on trial.
        """
        if self.is_due:
            self.half_open()
        if self.refuses:
            raise self.refusal()
        return CircuitVerdict(self)

    @property
    def is_due(self) -> bool:
        """Whether it is open, but the next call is let through on trial."""
        return self.current_state is CircuitBreakerState.OPEN and self.seconds_open <= 0

    @property
    def refuses(self) -> bool:
        """Whether a call would be refused now."""
        match self.current_state:
            case CircuitBreakerState.OPEN:
                return not self.is_due
            case CircuitBreakerState.HALF_OPEN:
                return self.on_trial >= self._settings.trials
        return self.current_state is Forced.FORCED_OPEN

    def refusal(self) -> CircuitOpenError:
        """Why no call is let through now."""
        context = {"route": self.name, "state": self.current_state.name.lower()}
        if self.current_state is Forced.FORCED_OPEN:
            message = f"the breaker of {self.name} is forced open by breaker.force"
            return CircuitOpenError(message, retryable=False, context=context)
        if self.current_state is CircuitBreakerState.OPEN:
            wait = max(self.seconds_open, 0.0)
            message = f"the breaker of {self.name} is open, for calls kept failing; a trial is due in {wait:.0f} s"
            return CircuitOpenError(message, retry_after=wait, context=context)
        message = f"the breaker of {self.name} is half open, and enough calls are on trial already"
        return CircuitOpenError(message, retry_after=_ASK_AGAIN, context=context)

    @property
    def fail_max(self) -> float:
        """Failures within the window that open it, now."""
        if self.rate is None:
            return self._settings.failures or inf
        if self.window.calls < self._settings.minimum_calls:
            return inf
        return ceil(round(self.rate * self.window.calls, 9))

    @property
    def seconds_open(self) -> float:
        """Seconds until an open breaker lets a trial through."""
        opened_at = self.window.opened_at
        assert opened_at is not None
        return float((opened_at + self.timeout_duration - _now(self.clock)).total_seconds())

    @property
    def opens_at(self) -> datetime:
        """When an open breaker lets a trial through, aware and in UTC."""
        return self.clock.now() + timedelta(seconds=self.seconds_open)

    def open(self) -> None:
        """Refuse calls from now on."""
        self.window.opened_at = _now(self.clock)
        self._turn(CircuitBreakerState.OPEN)

    def half_open(self) -> None:
        """Let calls through on trial from now on."""
        self.on_trial = 0
        self._turn(CircuitBreakerState.HALF_OPEN)

    def close(self) -> None:
        """Let calls through from now on; what they have failed before is forgotten."""
        self.window.clear()
        self._turn(CircuitBreakerState.CLOSED)

    def follow(self, state: str, seconds_open: float) -> None:
        """Take over what was decided elsewhere: the state's name, and how long it still is open."""
        wanted = CircuitBreakerState[state.upper()]
        if self.current_state is not wanted:
            {"open": self.open, "half_open": self.half_open, "closed": self.close}[state]()
        if wanted is CircuitBreakerState.OPEN:
            self.window.opened_at = _now(self.clock) + timedelta(seconds=seconds_open) - self.timeout_duration

    def force(self, state: Literal["open", "disabled"]) -> None:
        """Refuse every call, or let every call through, until :meth:`close`."""
        self._turn(Forced.FORCED_OPEN if state == "open" else Forced.DISABLED)

    def _turn(self, state: CircuitBreakerState | Forced) -> None:
        self.window.state = state  # first, so that a listener sees the state that it is told of
        self.state = state


class CircuitVerdict:
    """Whether an admitted call has succeeded; given once, at its end.

    A call that began before the circuit's state last changed says nothing of the new state: its verdict is void.
    """

    def __init__(self, circuit: Circuit) -> None:
        # aiobreaker judges a generator when it ends, and so leaves the verdict open as long as a stream is.
        self._open: Generator[None, BaseException | None, None] = circuit.call(_pending)
        next(self._open)
        self._circuit = circuit
        self._admitted = circuit.state
        self._is_trial = circuit.current_state is CircuitBreakerState.HALF_OPEN
        if self._is_trial:
            circuit.on_trial += 1

    def succeed(self) -> None:
        """The service did what was asked."""
        self._give(None)

    def fail(self) -> None:
        """The service failed."""
        self._give(_Failure())

    def withdraw(self) -> None:
        """Nothing is known of the service; a call on trial gives its place to another."""
        self._open.close()
        if self._is_trial and not self._is_void:
            self._circuit.on_trial -= 1

    async def check(self) -> None:
        """Ask whether the call may make a further attempt.

        Raises:
            CircuitOpenError: Others have opened the breaker, or are trying whether the service is back.
        """
        if self._is_void and self._circuit.current_state not in (CircuitBreakerState.CLOSED, Forced.DISABLED):
            raise self._circuit.refusal()

    @property
    def _is_void(self) -> bool:
        return self._circuit.state is not self._admitted

    def _give(self, failure: _Failure | None) -> None:
        if self._is_void:
            self._open.close()
            return
        if self._circuit.rate is not None:
            self._circuit.window.note_call()
        # That is how aiobreaker says that it has counted.
        with suppress(StopIteration, CircuitBreakerError, _Failure):
            self._open.send(failure)


class Window(CircuitBreakerStorage):  # type: ignore[misc]  # aiobreaker has no types
    """Keeps when calls ended and failed, for *length*; aiobreaker's own storage has a count that any success resets."""

    state: CircuitBreakerState | Forced = CircuitBreakerState.CLOSED
    opened_at: datetime | None = None
    """In the dates that the clock's monotonic seconds make; only differences mean anything."""

    def __init__(self, length: timedelta, clock: Clock) -> None:
        super().__init__("window")
        self._length = length
        self._clock = clock
        self._calls: deque[datetime] = deque()
        self._failures: deque[datetime] = deque()

    @property
    def counter(self) -> int:
        return len(self._failures)

    @property
    def calls(self) -> int:
        """Calls that were noted, failed ones included."""
        return len(self._calls)

    def note_call(self) -> None:
        """Count a call that has ended, however it did."""
        self._add_to(self._calls)

    def increment_counter(self) -> None:
        """Count a failure."""
        self._add_to(self._failures)

    def reset_counter(self) -> None:
        """Do nothing: a success does not undo failures."""

    def clear(self) -> None:
        """Forget all calls."""
        self._calls.clear()
        self._failures.clear()

    def _add_to(self, times: deque[datetime]) -> None:
        now = _now(self._clock)
        times.append(now)
        while times[0] <= now - self._length:
            times.popleft()


class _ForcedState(CircuitBreakerBaseState):  # type: ignore[misc]  # aiobreaker has no types
    """A state that no call changes."""

    def __init__(self, breaker: Circuit, prev_state: CircuitBreakerBaseState, notify: bool) -> None:
        super().__init__(breaker, Forced(type(self)))
        if notify:
            for listener in breaker.listeners:
                listener.state_change(breaker, prev_state, self)


class _ForcedOpen(_ForcedState):
    pass


class _Disabled(_ForcedState):
    pass


class Forced(Enum):
    """States that are set by hand, and left by hand; made as aiobreaker makes its own."""

    FORCED_OPEN = _ForcedOpen
    DISABLED = _Disabled


class _Posting(CircuitBreakerListener):  # type: ignore[misc]  # aiobreaker has no types
    """Passes on every change of state as a notice."""

    def __init__(self, notices: Notices) -> None:
        self._notices = notices

    def state_change(self, breaker: Circuit, old: CircuitBreakerBaseState, new: CircuitBreakerBaseState) -> None:
        names = {"from": old.state.name.lower(), "to": new.state.name.lower()}
        self._notices.post("breaker.changed", route=breaker.name, **names)


class _Failure(Exception):  # noqa: N818 - never leaves this module
    """What aiobreaker is told of a failed call: not its error, whose traceback would grow by it."""


def _pending() -> Generator[None, BaseException | None, None]:
    error = yield
    if error is not None:
        raise error


_ORIGIN = datetime(1970, 1, 1)


def _now(clock: Clock) -> datetime:
    """The clock's monotonic seconds as aiobreaker wants time: a naive date, of which only differences mean anything."""
    return _ORIGIN + timedelta(seconds=clock.monotonic())
