"""No calls to a service that keeps failing: when it opens, when it closes, and what it does not count."""

from __future__ import annotations

import asyncio
import math
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest

from claudeprov.errors import (
    CallTimeoutError,
    CircuitOpenError,
    ConnectionFailedError,
    InvalidRequestError,
    InvalidResponseError,
    OverloadedError,
    ProviderError,
    RateLimitError,
    ServerError,
    StreamInterruptedError,
)
from claudeprov.middleware.breaker import Breaker, Circuit
from claudeprov.settings.breaker import BreakerSettings
from claudeprov.testing import ManualClock, ScriptedProvider, check_middleware, text_events
from claudeprov.testing.clock import settle

HI = {"messages": [{"role": "user", "content": "Hi"}]}
BREAKS = [*text_events("Hel", "lo")[:3], StreamInterruptedError("broken off", code="truncated")]


@pytest.fixture
def clock():
    return ManualClock()


class Service:
    """A service behind a breaker, which answers as it is told."""

    def __init__(self, clock, **settings):
        self.clock = clock
        self.breaker = Breaker(BreakerSettings(**settings), clock=clock)

    def send(self, answer="Hello"):
        return ScriptedProvider(answer, layers=[self.breaker], clock=self.clock).send_message(HI)

    async def fail(self, times=1, answer=None):
        for _ in range(times):
            with pytest.raises(ProviderError):
                await self.send(answer or ServerError("500"))

    async def is_open(self):
        """Whether a call is refused; one that is let through is cancelled, and so no verdict."""
        stream = self.send()
        try:
            async with stream:
                return False
        except CircuitOpenError:
            return True


@pytest.fixture
def service(clock):
    return Service(clock)


async def test_keeps_the_contract(clock):
    await check_middleware(lambda: Breaker(BreakerSettings(), clock=clock), clock=clock)


class TestOpening:
    async def test_5_failures_within_60_seconds_open_it_for_300(self, clock, service):
        for _ in range(5):
            assert not await service.is_open()
            await service.fail()
            await clock.advance(14)
        with pytest.raises(CircuitOpenError) as raised:
            await service.send()
        assert raised.value.retry_after == 300 - 14
        assert raised.value.retryable
        await clock.advance(300 - 14 - 1)
        assert await service.is_open()
        await clock.advance(1)
        assert not await service.is_open()

    async def test_failures_that_are_further_apart_do_not(self, clock, service):
        for _ in range(20):
            await service.fail()
            await clock.advance(15)
        assert not await service.is_open()

    async def test_a_success_in_between_undoes_no_failure(self, service):
        for _ in range(5):
            await service.send()
            await service.fail()
        assert await service.is_open()

    @pytest.mark.parametrize("hours", [-1, 1])
    async def test_a_wall_clock_that_is_set_changes_nothing(self, clock, monkeypatch, hours):
        service = Service(clock, open_for=10)
        await service.fail(4)
        wall = clock.now
        monkeypatch.setattr(clock, "now", lambda: wall() + timedelta(hours=hours))
        assert not await service.is_open()
        await service.fail()
        monkeypatch.setattr(clock, "now", wall)
        with pytest.raises(CircuitOpenError) as raised:
            await service.send()
        assert raised.value.retry_after == 10

    async def test_what_is_refused_is_not_sent(self, clock, service):
        await service.fail(5)
        provider = ScriptedProvider("Hello", layers=[service.breaker], clock=clock)
        with pytest.raises(CircuitOpenError):
            await provider.send_message(HI)
        assert provider.requests == []

    async def test_the_reader_gets_the_services_error_untouched(self, service):
        await service.fail(4)
        error = ServerError("500")
        with pytest.raises(ServerError) as raised:
            await service.send(error)
        assert raised.value is error
        assert error.__cause__ is None
        assert not any("aiobreaker" in str(entry.path) for entry in raised.traceback)

    async def test_a_stream_that_breaks_counts_when_it_breaks(self, service):
        await service.fail(4)
        async with service.send(BREAKS) as stream:
            assert not await service.is_open()
            with pytest.raises(StreamInterruptedError):
                await stream
            assert await service.is_open()


class TestWhatCounts:
    @pytest.mark.parametrize(
        "error",
        [
            ServerError("500"),
            ServerError("503", code="service_unavailable"),
            OverloadedError("529"),
            ConnectionFailedError("reset"),
            CallTimeoutError("slow", code="read_timeout"),
            StreamInterruptedError("cut off", code="truncated"),
            InvalidResponseError("no JSON"),
        ],
        ids=lambda error: error.code,
    )
    async def test_failures_of_the_service_and_the_way_to_it(self, service, error):
        await service.fail(5, error)
        assert await service.is_open()

    @pytest.mark.parametrize(
        "error",
        [InvalidRequestError("400"), RateLimitError("429"), ProviderError("refused by a layer")],
        ids=lambda error: error.code,
    )
    async def test_no_errors_of_the_caller(self, service, error):
        await service.fail(20, error)
        assert not await service.is_open()

    async def test_no_bugs(self, service):
        for _ in range(20):
            with pytest.raises(KeyError):
                await service.send(KeyError("a bug"))
        assert not await service.is_open()

    async def test_no_streams_that_their_reader_stopped(self, service):
        for _ in range(20):
            async with service.send(BREAKS) as stream:
                async for _ in stream:
                    break
        assert not await service.is_open()

    async def test_other_codes_if_so_configured(self, clock):
        service = Service(clock, counts=["rate_limited"])
        await service.fail(5)
        assert not await service.is_open()
        await service.fail(5, RateLimitError("429"))
        assert await service.is_open()


class TestTrials:
    @pytest.fixture
    async def service(self, clock):
        service = Service(clock)
        await service.fail(5)
        await clock.advance(300)
        return service

    async def test_one_that_succeeds_closes_it(self, service):
        await service.send()
        await service.fail(4)
        assert not await service.is_open()

    async def test_one_that_fails_opens_it_for_as_long_again(self, clock, service):
        await service.fail()
        await clock.advance(299)
        assert await service.is_open()
        await clock.advance(1)
        assert not await service.is_open()

    async def test_one_whose_stream_breaks_opens_it_again(self, service):
        await service.fail(1, BREAKS)
        assert await service.is_open()

    async def test_only_one_is_let_through_until_its_stream_has_ended(self, service):
        async with service.send() as stream:
            assert await service.is_open()
            await stream
            assert not await service.is_open()

    async def test_as_many_are_let_through_at_a_time_as_configured(self, clock):
        service = Service(clock, trials=2)
        await service.fail(5)
        await clock.advance(300)
        async with service.send(), service.send():
            assert await service.is_open()

    async def test_one_with_an_error_of_the_caller_gives_its_slot_back_and_is_no_success(self, service):
        await service.fail(1, InvalidRequestError("400"))
        await service.fail()
        assert await service.is_open()

    async def test_one_that_is_cancelled_while_it_opens_gives_its_slot_back(self, service):
        task = asyncio.ensure_future(service.send([math.inf, "never"]))
        await settle()
        assert await service.is_open()
        task.cancel()
        await settle()
        assert not await service.is_open()

    async def test_one_whose_reader_stops_gives_its_slot_back(self, service):
        async with service.send():
            assert await service.is_open()
        assert not await service.is_open()


class TestStragglers:
    """Calls that began before the state changed say nothing of the state that it changed to."""

    async def test_a_late_failure_does_not_open_a_breaker_that_was_closed_meanwhile(self, clock, service):
        async with AsyncExitStack() as streams:
            stragglers = [await streams.enter_async_context(service.send(BREAKS)) for _ in range(5)]
            await service.fail(5)
            await clock.advance(300)
            await service.send()
            for straggler in stragglers:
                with pytest.raises(StreamInterruptedError):
                    await straggler
        assert not await service.is_open()

    async def test_a_late_success_does_not_close_an_open_breaker(self, service):
        async with service.send() as straggler:
            await service.fail(5)
            await straggler
        assert await service.is_open()

    async def test_a_late_success_does_not_stand_for_the_trial(self, clock, service):
        async with service.send() as straggler:
            await service.fail(5)
            await clock.advance(300)
            async with service.send():
                await straggler
                assert await service.is_open()

    async def test_a_trial_from_an_earlier_half_open_state_frees_no_slot_of_this_one(self, clock):
        service = Service(clock, trials=2)
        await service.fail(5)
        await clock.advance(300)
        async with service.send() as early:
            await service.fail()
            await clock.advance(300)
            async with service.send(), service.send():
                await early.cancel()
                assert await service.is_open()


class TestCircuit:
    """The policy itself, with neither event loop nor network."""

    def test_opens_at_a_time_of_the_clock_that_it_is_given(self, clock):
        circuit = Circuit(BreakerSettings(failures=1, open_for=60), clock)
        asyncio.run(clock.advance(3))
        circuit.admit().fail()
        with pytest.raises(CircuitOpenError, match="in 60 s"):
            circuit.admit()
        asyncio.run(clock.advance(60))
        circuit.admit()

    def test_a_verdict_may_come_in_any_order(self, clock):
        circuit = Circuit(BreakerSettings(failures=2), clock)
        first, second, third = circuit.admit(), circuit.admit(), circuit.admit()
        third.fail()
        first.succeed()
        second.fail()
        with pytest.raises(CircuitOpenError):
            circuit.admit()

    def test_says_that_a_trial_is_under_way(self, clock):
        circuit = Circuit(BreakerSettings(failures=1, open_for=0.001), clock)
        circuit.admit().fail()
        asyncio.run(clock.advance(1))
        circuit.admit()
        with pytest.raises(CircuitOpenError, match="on trial") as raised:
            circuit.admit()
        assert raised.value.retry_after is None
