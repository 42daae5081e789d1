"""No calls to a service that keeps failing."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from contextlib import suppress
from datetime import datetime, timedelta

from aiobreaker import CircuitBreaker, CircuitBreakerError, CircuitBreakerState
from aiobreaker.storage.base import CircuitBreakerStorage

from claudeprov.chain import Call, Next
from claudeprov.clock import Clock
from claudeprov.errors import CircuitOpenError, ProviderError
from claudeprov.settings.breaker import BreakerSettings
from claudeprov.stream import Outcome, Stream


class Breaker:
    """Refuses calls for ``open_for`` seconds once ``failures`` of them have failed within ``window`` seconds.

    After that it lets ``trials`` calls through at a time: one that succeeds closes it, one that fails opens it again.
    The verdict on a call is given at its stream's end. Only errors whose ``code``, or whose class's, is among
    ``counts`` are failures; other errors, and calls that their reader has cancelled or abandoned, are neither failure
    nor success.

    Raises:
        CircuitOpenError: It is open; ``retry_after`` says for how long, unless enough calls are on trial already.
    """

    def __init__(self, settings: BreakerSettings, *, clock: Clock) -> None:
        self.circuit = Circuit(settings, clock)
        self._counts = frozenset(settings.counts)

    async def __call__(self, call: Call, call_next: Next) -> Stream:
        verdict = self.circuit.admit()

        def end(outcome: Outcome) -> None:
            if outcome.kind == "read":
                verdict.succeed()
            elif self._is_failure(outcome.error):
                verdict.fail()
            else:
                verdict.withdraw()

        try:
            stream = await call_next(call)
        except Exception as error:
            end(Outcome("failed", error))
            raise
        except BaseException:
            end(Outcome("cancelled"))
            raise
        stream.on_end(end)
        return stream

    def _is_failure(self, error: Exception | None) -> bool:
        return isinstance(error, ProviderError) and not self._counts.isdisjoint((error.code, type(error).code))


class Circuit(CircuitBreaker):  # type: ignore[misc]  # aiobreaker has no types
    """aiobreaker's state machine, with the clock handed in and a limit to the calls on trial.

    Needs neither event loop nor network.
    """

    def __init__(self, settings: BreakerSettings, clock: Clock) -> None:
        self.clock = clock
        super().__init__(
            fail_max=settings.failures,
            timeout_duration=timedelta(seconds=settings.open_for),
            state_storage=SlidingWindow(timedelta(seconds=settings.window), clock),
        )
        self.on_trial = 0
        """Calls on trial whose verdict is not given yet."""
        self._trials = settings.trials

    def admit(self) -> Verdict:
        """Let a call through.

        Raises:
            CircuitOpenError: It is open, or has let enough calls through on trial.
        """
        if self.current_state is CircuitBreakerState.OPEN:
            wait = (self.opens_at - _now(self.clock)).total_seconds()
            if wait > 0:
                raise CircuitOpenError(
                    f"the breaker is open, for the service kept failing; it lets a trial through in {wait:.0f} s",
                    retry_after=wait,
                )
            self.half_open()
        if self.current_state is CircuitBreakerState.HALF_OPEN and self.on_trial >= self._trials:
            raise CircuitOpenError("the breaker is open, and enough calls are on trial already")
        return Verdict(self)

    @property
    def opens_at(self) -> datetime:
        """When an open breaker tries again. aiobreaker's own asks the system's clock."""
        opens_at: datetime = self._state_storage.opened_at + self.timeout_duration
        return opens_at

    def open(self) -> None:
        """Refuse calls from now on. aiobreaker's own asks the system's clock."""
        self._state_storage.opened_at = _now(self.clock)
        self._state_storage.state = CircuitBreakerState.OPEN
        self.state = CircuitBreakerState.OPEN

    def half_open(self) -> None:
        """Let calls through on trial from now on."""
        self.on_trial = 0
        super().half_open()


class Verdict:
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
        """Nothing is known of the service."""
        self._open.close()
        if self._is_trial and self._circuit.state is self._admitted:
            self._circuit.on_trial -= 1

    def _give(self, failure: _Failure | None) -> None:
        if self._circuit.state is not self._admitted:
            self._open.close()
            return
        # That is how aiobreaker says that it has counted.
        with suppress(StopIteration, CircuitBreakerError, _Failure):
            self._open.send(failure)


class SlidingWindow(CircuitBreakerStorage):  # type: ignore[misc]  # aiobreaker has no types
    """Keeps the times of failures for *window*; aiobreaker's own storage forgets all of them at any success."""

    def __init__(self, window: timedelta, clock: Clock) -> None:
        super().__init__("sliding window")
        self._window = window
        self._clock = clock
        self._failures: deque[datetime] = deque()
        self._opened_at: datetime | None = None
        self._state = CircuitBreakerState.CLOSED

    @property
    def state(self) -> CircuitBreakerState:
        return self._state

    @state.setter
    def state(self, state: CircuitBreakerState) -> None:
        self._state = state
        if state is CircuitBreakerState.CLOSED:
            self._failures.clear()

    @property
    def counter(self) -> int:
        return len(self._failures)

    def increment_counter(self) -> None:
        now = _now(self._clock)
        self._failures.append(now)
        while self._failures[0] <= now - self._window:
            self._failures.popleft()

    def reset_counter(self) -> None:
        """Do nothing: a success does not undo failures."""

    @property
    def opened_at(self) -> datetime | None:
        return self._opened_at

    @opened_at.setter
    def opened_at(self, opened_at: datetime) -> None:
        self._opened_at = opened_at


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
