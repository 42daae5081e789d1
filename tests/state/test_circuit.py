"""The breaker's policy, with neither event loop nor network; and what of aiobreaker 1.2.0 it puts right."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

import pytest
from aiobreaker import CircuitBreakerListener, CircuitBreakerState

from claudeprov.compose import compose
from claudeprov.errors import CircuitOpenError, ConfigurationError
from claudeprov.notice import Notices
from claudeprov.settings.breaker import BreakerSettings
from claudeprov.state.circuit import Circuit, MemoryCircuits
from claudeprov.testing import ManualClock


@pytest.fixture
def clock():
    return ManualClock()


def wait(clock, seconds):
    asyncio.run(clock.advance(seconds))


def is_open(circuit):
    try:
        circuit.admit().withdraw()
    except CircuitOpenError:
        return True
    return False


def fail(circuit, times=1):
    for _ in range(times):
        circuit.admit().fail()


def succeed(circuit, times=1):
    for _ in range(times):
        circuit.admit().succeed()


def half_open(clock, **settings):
    circuit = Circuit(BreakerSettings(failures=1, open_for=60, **settings), clock)
    fail(circuit)
    wait(clock, 60)
    return circuit


def test_opens_at_a_time_of_the_clock_that_it_is_given(clock):
    circuit = Circuit(BreakerSettings(failures=1, open_for=60), clock)
    wait(clock, 3)
    fail(circuit)
    with pytest.raises(CircuitOpenError, match="in 60 s"):
        circuit.admit()
    wait(clock, 60)
    circuit.admit()


def test_a_verdict_may_come_in_any_order(clock):
    circuit = Circuit(BreakerSettings(failures=2), clock)
    first, second, third = circuit.admit(), circuit.admit(), circuit.admit()
    third.fail()
    first.succeed()
    second.fail()
    assert is_open(circuit)


def test_a_call_that_is_refused_during_a_trial_is_told_when_to_ask_again(clock):
    circuit = half_open(clock)
    circuit.admit()
    with pytest.raises(CircuitOpenError, match="on trial") as raised:
        circuit.admit()
    assert (raised.value.retry_after, raised.value.retryable) == (1, True)
    assert raised.value.context["state"] == "half_open"


class TestWhatAiobreakerGetsWrong:
    def test_failures_count_within_a_window_and_not_in_a_row(self, clock):
        circuit = Circuit(BreakerSettings(failures=3, window=60), clock)
        for _ in range(3):
            succeed(circuit, 5)
            fail(circuit)
            wait(clock, 20)
        assert is_open(circuit)

    def test_and_are_forgotten_when_they_leave_it(self, clock):
        circuit = Circuit(BreakerSettings(failures=3, window=60), clock)
        for _ in range(20):
            fail(circuit)
            wait(clock, 30)
        assert not is_open(circuit)
        assert circuit.fail_counter == 2

    def test_an_error_that_is_not_counted_is_no_success_and_closes_nothing(self, clock):
        circuit = half_open(clock)
        circuit.admit().withdraw()
        assert circuit.current_state is CircuitBreakerState.HALF_OPEN

    def test_no_more_calls_are_let_through_on_trial_than_are_set(self, clock):
        circuit = half_open(clock, trials=3)
        trials = [circuit.admit() for _ in range(3)]
        assert is_open(circuit)
        trials[0].withdraw()
        assert not is_open(circuit)

    def test_a_trial_that_is_cancelled_gives_its_place_back(self, clock):
        circuit = half_open(clock)
        for _ in range(5):
            circuit.admit().withdraw()
        assert circuit.on_trial == 0

    def test_a_trial_gives_its_place_back_once(self, clock):
        circuit = half_open(clock, trials=2)
        trial = circuit.admit()
        circuit.admit()
        trial.withdraw()
        circuit.admit()
        assert circuit.on_trial == 2

    def test_a_straggler_neither_closes_nor_opens_what_changed_after_it_began(self, clock):
        circuit = Circuit(BreakerSettings(failures=1, open_for=60), clock)
        stragglers = [circuit.admit() for _ in range(4)]
        fail(circuit)
        stragglers[0].succeed()
        assert circuit.current_state is CircuitBreakerState.OPEN
        wait(clock, 60)
        trial = circuit.admit()
        stragglers[1].fail()
        stragglers[2].succeed()
        assert circuit.current_state is CircuitBreakerState.HALF_OPEN
        trial.succeed()
        stragglers[3].fail()
        assert circuit.current_state is CircuitBreakerState.CLOSED
        assert circuit.fail_counter == 0

    @pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/Los_Angeles", "UTC"])
    def test_a_time_zone_changes_nothing(self, monkeypatch, zone):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        try:
            clock = ManualClock(datetime(2026, 11, 22, 12, tzinfo=UTC))
            circuit = Circuit(BreakerSettings(failures=1, open_for=300), clock)
            fail(circuit)
            assert circuit.opens_at == datetime(2026, 11, 22, 12, 5, tzinfo=UTC)
            wait(clock, 299)
            with pytest.raises(CircuitOpenError) as raised:
                circuit.admit()
            assert raised.value.retry_after == 1
            wait(clock, 1)
            assert not is_open(circuit)
        finally:
            monkeypatch.undo()
            time.tzset()

    def test_neither_the_local_time_nor_the_deprecated_utcnow_is_ever_asked(self, clock, monkeypatch):
        class NoClock(datetime):
            @classmethod
            def now(cls, tz=None):
                raise AssertionError("the system's clock was asked")

            utcnow = now

        monkeypatch.setattr("aiobreaker.circuitbreaker.datetime", NoClock)
        monkeypatch.setattr("aiobreaker.state.datetime", NoClock)
        circuit = Circuit(BreakerSettings(failures=2, open_for=60), clock)
        fail(circuit, 2)
        assert is_open(circuit)
        wait(clock, 60)
        fail(circuit)
        wait(clock, 60)
        succeed(circuit)
        assert circuit.current_state is CircuitBreakerState.CLOSED


class TestFailureRate:
    @pytest.fixture
    def circuit(self, clock):
        return Circuit(BreakerSettings(failures=None, failure_rate=0.3, minimum_calls=10, window=60), clock)

    def test_opens_where_a_share_of_the_calls_has_failed(self, circuit):
        succeed(circuit, 7)
        fail(circuit, 2)
        assert not is_open(circuit)
        fail(circuit)
        assert is_open(circuit)

    def test_says_nothing_of_fewer_calls_than_the_minimum(self, circuit):
        fail(circuit, 9)
        assert not is_open(circuit)
        fail(circuit)
        assert is_open(circuit)

    def test_calls_that_were_no_verdict_are_none(self, circuit):
        fail(circuit, 9)
        for _ in range(20):
            circuit.admit().withdraw()
        assert not is_open(circuit)

    def test_many_failures_among_more_successes_do_not_open_it(self, circuit):
        for _ in range(100):
            succeed(circuit, 3)
            fail(circuit)
        assert not is_open(circuit)

    def test_calls_leave_the_window_as_failures_do(self, clock, circuit):
        succeed(circuit, 100)
        wait(clock, 60)
        succeed(circuit, 7)
        fail(circuit, 3)
        assert is_open(circuit)


class TestForced:
    def test_open_refuses_every_call_and_no_time_opens_it(self, clock):
        circuit = Circuit(BreakerSettings(force="open"), clock, name="anthropic/opus")
        wait(clock, 10_000)
        with pytest.raises(CircuitOpenError, match=r"anthropic/opus is forced open by breaker\.force") as raised:
            circuit.admit()
        assert (raised.value.retryable, raised.value.retry_after) == (False, None)

    def test_disabled_lets_every_call_through(self, clock):
        circuit = Circuit(BreakerSettings(force="disabled"), clock)
        fail(circuit, 50)
        assert not is_open(circuit)

    def test_what_is_forced_at_run_time_ends_with_close_and_leaves_nothing_behind(self, clock):
        circuit = Circuit(BreakerSettings(failures=2), clock)
        straggler = circuit.admit()
        circuit.force("disabled")
        fail(circuit, 5)
        circuit.force("open")
        assert is_open(circuit)
        circuit.close()
        straggler.fail()
        fail(circuit)
        assert not is_open(circuit)

    def test_a_call_may_go_on_where_the_breaker_was_disabled_and_not_where_it_was_forced_open(self, clock):
        circuit = Circuit(BreakerSettings(), clock)
        verdict = circuit.admit()
        circuit.force("disabled")
        asyncio.run(verdict.check())
        circuit.force("open")
        with pytest.raises(CircuitOpenError):
            asyncio.run(verdict.check())


class TestListeners:
    def test_each_change_is_told_to_aiobreakers_listeners_when_it_has_happened(self, clock):
        class Listener(CircuitBreakerListener):
            def __init__(self):
                self.told = []

            def state_change(self, breaker, old, new):
                self.told.append((old.state.name, new.state.name, breaker.current_state.name))

        circuit = Circuit(BreakerSettings(failures=1, open_for=60), clock)
        listener = Listener()
        circuit.add_listener(listener)
        fail(circuit)
        wait(clock, 60)
        fail(circuit)
        wait(clock, 60)
        succeed(circuit)
        circuit.force("open")
        circuit.force("disabled")
        circuit.close()
        assert listener.told == [
            ("CLOSED", "OPEN", "OPEN"),
            ("OPEN", "HALF_OPEN", "HALF_OPEN"),
            ("HALF_OPEN", "OPEN", "OPEN"),
            ("OPEN", "HALF_OPEN", "HALF_OPEN"),
            ("HALF_OPEN", "CLOSED", "CLOSED"),
            ("CLOSED", "FORCED_OPEN", "FORCED_OPEN"),
            ("FORCED_OPEN", "DISABLED", "DISABLED"),
            ("DISABLED", "CLOSED", "CLOSED"),
        ]

    async def test_each_change_of_a_route_is_a_notice(self, clock):
        notices, told = Notices(clock), []
        notices.listen(lambda notice: told.append((notice.name, dict(notice.fields))))
        circuits = MemoryCircuits(BreakerSettings(failures=1, open_for=60), clock, notices)
        (await circuits.admit("anthropic/opus")).fail()
        (await circuits.admit("anthropic/haiku")).succeed()
        await clock.advance(60)
        (await circuits.admit("anthropic/opus")).succeed()
        assert told == [
            ("breaker.changed", {"route": "anthropic/opus", "from": "closed", "to": "open"}),
            ("breaker.changed", {"route": "anthropic/opus", "from": "open", "to": "half_open"}),
            ("breaker.changed", {"route": "anthropic/opus", "from": "half_open", "to": "closed"}),
        ]

    async def test_an_open_route_that_nobody_calls_is_told_as_half_open_once_a_trial_is_due(self, clock):
        circuits = MemoryCircuits(BreakerSettings(failures=1, open_for=60), clock, Notices(clock))
        (await circuits.admit("anthropic/haiku")).fail()
        await clock.advance(59)
        assert circuits.states() == {"anthropic/haiku": "open"}
        await clock.advance(1)
        assert circuits.states() == {"anthropic/haiku": "half_open"}
        (await circuits.admit("anthropic/haiku")).fail()
        assert circuits.states() == {"anthropic/haiku": "open"}

    async def test_so_is_one_that_others_opened(self, clock):
        circuits = MemoryCircuits(BreakerSettings(open_for=60), clock, Notices(clock))
        circuits.circuit("anthropic/haiku").follow("open", 20.0)
        await clock.advance(19)
        assert circuits.states() == {"anthropic/haiku": "open"}
        await clock.advance(1)
        assert circuits.states() == {"anthropic/haiku": "half_open"}


@pytest.mark.usefixtures("no_settings")
@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["breaker.window=0"], "breaker.window = 0, from an override: should be greater than 0"),
        (["breaker.open_for=-1"], "breaker.open_for = -1, from an override: should be greater than 0"),
        (["breaker.failures=0"], "breaker.failures = 0, from an override: should be greater than or equal to 1"),
        (["breaker.trials=0"], "breaker.trials = 0, from an override: should be greater than or equal to 1"),
        (
            ["breaker.failure_rate=0.5"],
            "breaker.failure_rate = 0.5, from an override: must be null unless breaker.failures is, which is 5",
        ),
        (
            ["breaker.failures=null"],
            "breaker.failure_rate, from conf/breaker/standard.yaml: must be set where breaker.failures is null",
        ),
        (
            ["breaker=rate", "breaker.failure_rate=50"],
            "breaker.failure_rate = 50, from an override: should be less than or equal to 1",
        ),
        (["breaker.force=closed"], "breaker.force = 'closed', from an override: is none of the values"),
        (["breaker.counts=[teapot]"], "breaker.counts.0 = 'teapot', from an override: is none of the values"),
    ],
)
def test_a_breaker_that_makes_no_sense_is_refused(overrides, told):
    with pytest.raises(ConfigurationError) as caught:
        compose(overrides)
    assert caught.value.message.startswith(told)


@pytest.mark.usefixtures("no_settings")
def test_the_option_rate_opens_at_a_share_of_the_calls():
    settings = compose(["breaker=rate"]).breaker
    assert (settings.failures, settings.failure_rate, settings.minimum_calls) == (None, 0.5, 20)
    assert settings.counts == BreakerSettings().counts
