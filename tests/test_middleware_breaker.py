"""No calls to a service that keeps failing: when it opens, when it closes, and what it does not count."""

from __future__ import annotations

import asyncio
import math
import re
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest

from claudeprov.compose import compose
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
from claudeprov.middleware.breaker import Breaker
from claudeprov.middleware.deadline import Deadline
from claudeprov.middleware.retry import Retry
from claudeprov.notice import Notices
from claudeprov.settings.breaker import BreakerSettings
from claudeprov.settings.deadline import DeadlineSettings
from claudeprov.settings.retry import RetrySettings
from claudeprov.state.circuit import MemoryCircuits
from claudeprov.testing import ManualClock, ScriptedProvider, check_middleware, text_events
from claudeprov.testing.clock import settle

TIMEOUTS = ["connect_timeout", "first_event_timeout", "between_events_timeout", "ping_timeout", "deadline_exceeded"]
MODEL = "claude-haiku-4-5"
HI = {"messages": [{"role": "user", "content": "Hi"}]}
BREAKS = [*text_events("Hel", "lo")[:3], StreamInterruptedError("broken off", code="truncated")]


@pytest.fixture
def clock():
    return ManualClock()


def breaker(clock, **settings):
    settings = BreakerSettings(**settings)
    return Breaker(settings, circuits=MemoryCircuits(settings, clock, Notices(clock)))


class Service:
    """A service behind a breaker, which answers as it is told."""

    def __init__(self, clock, **settings):
        self.clock = clock
        self.breaker = breaker(clock, **settings)

    def send(self, *answers, model=MODEL, within=()):
        provider = ScriptedProvider(*answers or ["Hello"], layers=[self.breaker, *within], clock=self.clock)
        return provider.send_message(HI | {"model": model})

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


class Longest(Random):
    def uniform(self, a, b):
        return b


class Middle(Random):
    def uniform(self, a, b):
        return (a + b) / 2


async def whole(stream):
    return (await stream).text


async def test_keeps_the_contract(clock):
    await check_middleware(lambda: breaker(clock), clock=clock)


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
            await provider.send_message(HI | {"model": MODEL})
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
            *(CallTimeoutError("slow", code=code) for code in TIMEOUTS),
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
        [
            InvalidRequestError("400"),
            CallTimeoutError("408", code="request_timeout"),
            RateLimitError("429"),
            CircuitOpenError("refused by another"),
            ProviderError("refused by a layer"),
        ],
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


class TestTheEndOfTime:
    """A call whose deadline passed: whether the service was what was slow."""

    @staticmethod
    def late(service, *answers, layers=()):
        layers = [Deadline(DeadlineSettings(total=10)), service.breaker, *layers]
        return service.clock.run(whole(ScriptedProvider(*answers, layers=layers, clock=service.clock).send_message(HI)))

    async def test_a_service_that_has_not_begun_to_answer_by_then_has_failed(self, clock):
        service = Service(clock, failures=2)
        for _ in range(2):
            with pytest.raises(CallTimeoutError):
                await self.late(service, [math.inf, "never"])
        with pytest.raises(CircuitOpenError):
            await self.late(service, "Hello")

    async def test_one_that_still_answers_has_not(self, clock):
        service = Service(clock, failures=1)
        error = CallTimeoutError("over", code="deadline_exceeded")
        with pytest.raises(CallTimeoutError):
            await self.late(service, [*text_events("Hel", "lo")[:3], error])
        assert await self.late(service, "Hello") == "Hello"

    async def test_one_that_was_not_even_asked_has_not(self, clock):
        async def slots(call, call_next):
            await clock.sleep(math.inf)

        service = Service(clock, failures=1)
        with pytest.raises(CallTimeoutError):
            await self.late(service, "never", layers=[slots])
        assert await self.late(service, "Hello") == "Hello"

    async def test_a_call_that_somebody_cancels_before_counts_for_nothing(self, clock):
        service = Service(clock, failures=1)
        task = asyncio.ensure_future(self.late(service, [math.inf, "never"]))
        await settle()
        task.cancel()
        await settle()
        assert await self.late(service, "Hello") == "Hello"

    async def test_it_is_counted_under_its_own_code(self, clock):
        service = Service(clock, failures=1, counts=["server_error"])
        with pytest.raises(CallTimeoutError):
            await self.late(service, [math.inf, "never"])
        assert await self.late(service, "Hello") == "Hello"


class TestRoutes:
    async def test_each_group_of_models_has_a_breaker_of_its_own(self, service):
        for _ in range(5):
            with pytest.raises(ServerError):
                await service.send(ServerError("500"), model="claude-opus-4-5")
        with pytest.raises(CircuitOpenError) as raised:
            await service.send(model="claude-opus-4-8")  # shares its limits, and its troubles
        assert raised.value.context == {"route": "anthropic/opus-4", "state": "open"}
        assert (await service.send(model="claude-haiku-4-5")).text == "Hello"

    async def test_a_layer_within_that_changes_the_model_changes_nothing(self, service):
        async def downgrade(call, call_next):
            call.request = call.request.model_copy(update={"model": "claude-haiku-4-5"})
            return await call_next(call)

        for _ in range(5):
            with pytest.raises(ServerError):
                await service.send(ServerError("500"), model="claude-opus-4-5", within=[downgrade])
        with pytest.raises(CircuitOpenError):
            await service.send(model="claude-opus-4-5")
        assert not await service.is_open()


class TestRetries:
    """A call that makes further attempts asks before each of them."""

    @pytest.fixture
    def retry(self, clock):
        return Retry(RetrySettings(max_attempts=9, base=4, cap=4), clock=clock, random=Longest())

    async def test_a_breaker_that_others_open_ends_its_retries_at_once(self, clock, service, retry):
        stream = service.send(ServerError("500"), within=[retry])
        task = asyncio.ensure_future(whole(stream))
        await clock.advance(5)
        await service.fail(5)
        await clock.advance(3)
        assert isinstance(task.exception(), CircuitOpenError)
        assert isinstance(task.exception().__cause__, ServerError)
        assert task.exception().retry_after == 300 - 3
        assert len(stream.response.attempts) == 2

    async def test_a_wait_is_not_even_begun(self, clock, service, retry):
        stream = service.send([2.0, ServerError("500")], within=[retry])
        task = asyncio.ensure_future(whole(stream))
        await clock.advance(1)
        await service.fail(5)
        await clock.advance(1)
        assert isinstance(task.exception(), CircuitOpenError)
        assert task.exception().context["waits"] == []

    async def test_nor_does_it_take_the_place_of_a_trial(self, clock):
        service = Service(clock, open_for=3)
        slow = Retry(RetrySettings(base=10, cap=10), clock=clock, random=Longest())
        task = asyncio.ensure_future(whole(service.send(ServerError("500"), "late", within=[slow])))
        await clock.advance(1)
        await service.fail(5)
        await clock.advance(4)
        async with service.send():
            await clock.advance(10)
            assert "on trial" in task.exception().message

    async def test_a_breaker_that_is_closed_again_lets_it_go_on(self, clock):
        service = Service(clock, open_for=3)
        slow = Retry(RetrySettings(base=10, cap=10), clock=clock, random=Longest())
        task = asyncio.ensure_future(whole(service.send(ServerError("500"), "late", within=[slow])))
        await clock.advance(1)
        await service.fail(5)
        await clock.advance(4)
        await service.send()
        await clock.advance(10)
        assert task.result() == "late"

    async def test_what_it_left_with_the_call_is_gone_afterwards(self, service):
        stream = service.send()
        await stream
        assert stream._call.checks == []
        failed = service.send(ServerError("500"))
        with pytest.raises(ServerError):
            await failed
        assert failed._call.checks == []


@pytest.mark.usefixtures("no_settings")
class TestFiveInSixty:
    """What the documentation says of the breaker with each retry."""

    TABLE = (Path(__file__).parents[1] / "docs" / "resilience.md").read_text()

    @staticmethod
    async def seconds(clock, retry, error, random):
        """How long one failing call lasts whose answers take no time."""
        layers = [Retry(compose([f"retry={retry}"]).retry, clock=clock, random=random)]
        started = clock.monotonic()
        with pytest.raises(ProviderError):
            await clock.run(whole(ScriptedProvider(error, layers=layers, clock=clock).send_message(HI)))
        return clock.monotonic() - started

    @pytest.mark.parametrize("retry", ["aggressive", "standard", "patient"])
    async def test_the_waits_of_a_failing_call_are_those_of_the_table(self, clock, retry):
        row = re.search(rf"^\| `{retry}` \| (\d+) \| (.*?) \| (.*?) \|", self.TABLE, re.MULTILINE)
        settings = compose([f"retry={retry}"]).retry
        assert int(row[1]) == settings.max_attempts
        for told, error in ((row[2], ServerError("500")), (row[3], OverloadedError("529"))):
            mean, most = map(float, re.findall(r"[\d.]+", told))
            assert await self.seconds(clock, retry, error, Middle()) == pytest.approx(mean, abs=0.051)
            assert await self.seconds(clock, retry, error, Longest()) <= most + 1e-9

    @pytest.mark.parametrize(("retry", "opens"), [("aggressive", True), ("standard", True), ("patient", False)])
    @pytest.mark.parametrize("error", [ServerError("500"), OverloadedError("529")])
    async def test_one_caller_opens_it_or_does_not(self, clock, retry, opens, error):
        service = Service(clock)
        within = [Retry(compose([f"retry={retry}", "retry.tokens=null"]).retry, clock=clock, random=Middle())]
        for _ in range(8):
            with pytest.raises(ProviderError):
                await clock.run(whole(service.send([1.0, error], within=within)))
        assert await service.is_open() is opens


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
