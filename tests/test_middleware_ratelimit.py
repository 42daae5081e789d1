"""No more than the rate limits allow: who waits, for how long, what is corrected, and what the service's answers do."""

from __future__ import annotations

import asyncio
import math
from datetime import timedelta
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claudeprov.catalog import catalog
from claudeprov.compose import compose
from claudeprov.errors import (
    CallTimeoutError,
    ConfigurationError,
    ConnectionFailedError,
    OverloadedError,
    RateLimitError,
    ServerError,
    SpendLimitError,
    StreamInterruptedError,
)
from claudeprov.middleware import build
from claudeprov.middleware.deadline import Deadline
from claudeprov.middleware.ratelimit import RateLimit
from claudeprov.middleware.retry import Retry
from claudeprov.notice import Notices
from claudeprov.settings.deadline import DeadlineSettings
from claudeprov.settings.ratelimit import RateLimitSettings
from claudeprov.settings.retry import RetrySettings
from claudeprov.state.bucket import MemoryBuckets
from claudeprov.testing import ManualClock, ScriptedProvider, check_middleware, text_events
from claudeprov.testing.clock import settle
from claudeprov.tokens import Estimator

HI = {"messages": [{"role": "user", "content": "Hi"}], "model": "claude-sonnet-5-5", "max_tokens": 100}
ROUTE = "anthropic/sonnet-5-5"


class Recorder(MemoryBuckets):
    """Remembers when what was taken and given back."""

    def __init__(self, clock):
        super().__init__(clock)
        self.taken = []
        self.given = []

    async def take(self, key, wanted, limits):
        wait = await super().take(key, wanted, limits)
        if wait == 0:
            self.taken.append((self._clock.monotonic(), dict(wanted)))
        return wait

    def give(self, key, amounts):
        self.given.append((self._clock.monotonic(), dict(amounts)))
        super().give(key, amounts)


class Service:
    """A service behind a rate limit, which answers as it is told, with the headers that it is told."""

    def __init__(self, *, outer=(), **limits):
        self.clock = ManualClock()
        self.buckets = Recorder(self.clock)
        self.notices = Notices(self.clock)
        self.heard = []
        self.notices.listen(self.heard.append)
        self.layer = RateLimit(
            RateLimitSettings(**limits),
            clock=self.clock,
            buckets=self.buckets,
            estimator=Estimator(),
            models=catalog().get,
            notices=self.notices,
        )
        self.outer = [make(self.clock) for make in outer]
        self.inner = []
        self.headers = {}
        self.sent = []
        """When, and to which model, attempts were sent."""

    def headers_of(self, counter, limit, remaining, seconds):
        reset = (self.clock.now() + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")
        values = {"limit": str(limit), "remaining": str(remaining), "reset": reset}
        return {f"anthropic-ratelimit-{counter}-{name}": value for name, value in values.items()}

    def send(self, answer="Hello", **request):
        async def told(call, call_next):
            self.sent.append((self.clock.monotonic(), call.request.model))
            try:
                return await call_next(call)
            finally:
                call.limits = self.headers

        provider = ScriptedProvider(answer, layers=[*self.outer, self.layer, told, *self.inner], clock=self.clock)
        return provider.send_message({**HI, **request})

    def start(self, answer="Hello", **request):
        return asyncio.ensure_future(whole(self.send(answer, **request)))

    def left(self, counter, route=ROUTE):
        return self.buckets.levels(route)[counter].remaining


async def whole(stream):
    return await stream


def deadline(seconds):
    return lambda clock: Deadline(DeadlineSettings(total=seconds))


def retry(**values):
    return lambda clock: Retry(RetrySettings(**values), clock=clock, random=Random(1))


def used(output=1, **usage):
    """The events of an answer with that usage."""
    events = text_events("Hello")
    start = events[0]["message"]
    delta = {**events[-2], "usage": {"output_tokens": output}}
    return [{**events[0], "message": {**start, "usage": {**start["usage"], **usage}}}, *events[1:-2], delta, events[-1]]


@pytest.mark.parametrize(
    "limits", [{"requests": 60}, {"requests": 6000, "input_tokens": 60, "output_tokens": 60, "burst": 1.0}, {}]
)
async def test_keeps_the_contract(limits):
    service = Service(**limits)
    await check_middleware(lambda: service.layer, clock=service.clock)


class TestWaiting:
    async def test_calls_beyond_the_burst_are_sent_at_the_rate(self):
        service = Service(requests=60, burst=2.0)
        calls = [service.start() for _ in range(5)]
        responses = [await service.clock.run(call) for call in calls]
        assert [when for when, _ in service.sent] == [0, 0, 1, 2, 3]
        assert [response.timing.queue for response in responses] == [0, 0, 1, 2, 3]
        assert responses[-1].timing.backoff == 0

    async def test_first_come_is_first_served_a_large_one_before_a_small_one(self):
        service = Service(requests=600, input_tokens=60_000, burst=10.0)
        words = [{"role": "user", "content": "word " * 7000}]
        order = []
        calls = []
        for name, messages in [("first", words), ("large", words), ("small", HI["messages"])]:
            calls.append(service.start(used(input_tokens=9000), messages=messages))
            calls[-1].add_done_callback(lambda _, name=name: order.append(name))
        for call in calls:
            await service.clock.run(call)
        assert order == ["first", "large", "small"]
        assert 0 < service.sent[1][0] <= service.sent[2][0]

    async def test_one_that_is_cancelled_gives_its_place_to_the_next_and_has_taken_nothing(self):
        service = Service(requests=60, burst=1.0)
        _, first, second, third = (service.start() for _ in range(4))
        await service.clock.advance(0.5)
        second.cancel()
        first.cancel()
        await service.clock.run(third)
        assert [when for when, _ in service.sent] == [0, 1]
        assert len(service.buckets.taken) == 2
        assert service.layer.limits()[ROUTE].queue == 0

    async def test_a_cancelled_call_has_its_waiting_counted_too(self):
        service = Service(requests=60, burst=1.0)
        await service.send()
        stream = service.send()
        waiting = asyncio.ensure_future(whole(stream))
        await service.clock.advance(0.5)
        waiting.cancel()
        await settle()
        assert stream.response.timing.queue == 0.5

    async def test_each_attempt_takes_a_permit(self):
        service = Service(requests=60, burst=1.0, outer=[retry(base=0, cap=0)])
        with pytest.raises(ServerError):
            await service.clock.run(service.send(ServerError("500")))
        assert [when for when, _ in service.sent] == [0, 1, 2, 3]

    async def test_what_others_give_back_is_taken_before_the_wait_that_was_told_is_over(self):
        service = Service(input_tokens=60_000, burst=10.0)
        words = [{"role": "user", "content": "word " * 20_000}]
        slow = [5, *used(input_tokens=10, cache_read_input_tokens=30_000)]
        service.start(slow, messages=words)
        await service.clock.run(service.start(messages=words))
        assert 5 <= service.sent[1][0] <= 6

    async def test_a_call_larger_than_a_burst_waits_until_the_bucket_is_full_and_leaves_a_debt(self):
        service = Service(input_tokens=6000, burst=10.0)
        await service.send(used(input_tokens=1000))
        words = [{"role": "user", "content": "word " * 20_000}]
        await service.clock.run(service.send(used(input_tokens=30_000), messages=words))
        assert service.sent[1][0] == pytest.approx(10, abs=1)
        assert service.left("input_tokens") == pytest.approx(1000 - 30_000)

    async def test_it_is_told_once(self):
        service = Service(requests=60, burst=1.0)
        await service.send()
        calls = [service.start(), service.start()]
        for call in calls:
            await service.clock.run(call)
        told = [(notice.name, notice.fields) for notice in service.heard]
        assert told == [
            ("ratelimit.waiting", {"route": ROUTE, "seconds": 1, "ahead": 0}),
            ("ratelimit.waiting", {"route": ROUTE, "seconds": 2, "ahead": 1}),
        ]


class TestDeadline:
    async def test_a_wait_beyond_it_is_refused_at_once(self):
        service = Service(requests=1, burst=1.0, outer=[deadline(30)])
        await service.send()
        with pytest.raises(RateLimitError) as raised:
            await service.send()
        error = raised.value
        assert (error.code, error.retry_after, error.retryable) == ("queue_too_long", 60, True)
        assert error.context == {"route": ROUTE, "deadline_in": 30}
        assert "would wait 60.0 s for the rate limit of anthropic/sonnet-5-5" in error.message
        assert service.clock.monotonic() == 0
        assert len(service.sent) == 1

    async def test_those_ahead_count(self):
        service = Service(requests=6, burst=1.0, outer=[deadline(25)])
        calls = [service.start() for _ in range(3)]
        await settle()
        with pytest.raises(RateLimitError) as raised:
            await service.send()
        assert raised.value.retry_after == 30
        assert service.clock.monotonic() == 0
        for call in calls:
            await service.clock.run(call)

    async def test_one_that_is_refused_keeps_no_place(self):
        service = Service(requests=1, burst=1.0, outer=[deadline(30)])
        await service.send()
        for _ in range(3):
            with pytest.raises(RateLimitError):
                await service.send()
        await service.clock.advance(60)
        await service.send()
        assert service.layer.limits()[ROUTE].queue == 0

    async def test_retry_does_not_try_what_cannot_be_in_time(self):
        service = Service(requests=1, burst=1.0, outer=[deadline(30), retry()])
        await service.send()
        with pytest.raises(RateLimitError):
            await service.send()
        assert service.clock.monotonic() == 0

    async def test_a_hold_beyond_it_refuses_those_that_wait(self):
        service = Service(requests=6000, outer=[deadline(30)])
        with pytest.raises(RateLimitError):
            await service.send(RateLimitError("429", retry_after=45))
        with pytest.raises(RateLimitError) as raised:
            await service.send()
        assert raised.value.retry_after == 45


class TestTokens:
    async def test_input_is_estimated_and_corrected_when_the_stream_opens(self):
        service = Service(input_tokens=60_000)
        answer = used(input_tokens=7, cache_creation_input_tokens=20, cache_read_input_tokens=5000)
        async with service.send(answer, system="word " * 5000):
            assert 4000 < service.buckets.taken[0][1]["input_tokens"] < 8000
            assert service.left("input_tokens") == 10_000 - 27

    async def test_cache_reads_count_for_haiku_3_5(self):
        service = Service(input_tokens=60_000)
        answer = used(input_tokens=7, cache_creation_input_tokens=20, cache_read_input_tokens=5000)
        await service.send(answer, model="claude-3-5-haiku-20241022")
        assert service.left("input_tokens", "anthropic/claude-3-5-haiku-20241022") == 10_000 - 5027

    async def test_output_is_what_answers_had_on_average_and_no_more_than_max_tokens(self):
        service = Service(output_tokens=60_000)
        await service.send(used(output=200), max_tokens=4096)
        await service.send(used(output=200), max_tokens=4096)
        await service.send(used(output=50), max_tokens=80)
        assert [taken["output_tokens"] for _, taken in service.buckets.taken] == [1000, 200, 80]

    async def test_a_large_max_tokens_costs_nothing(self):
        service = Service(output_tokens=60_000)
        for _ in range(20):
            await service.send(used(output=10), max_tokens=100_000)
        assert service.clock.monotonic() == 0
        assert service.left("output_tokens") == 10_000 - 20 * 10

    async def test_more_output_than_was_taken_is_paid_back_by_those_that_follow(self):
        service = Service(output_tokens=6000)
        await service.send(used(output=3000))
        assert service.left("output_tokens") == -2000
        await service.clock.run(service.send(used(output=10), max_tokens=100))
        assert service.sent[1][0] == 21

    @pytest.mark.parametrize("error", [OverloadedError("529"), ConnectionFailedError("no route")])
    async def test_an_attempt_that_was_refused_gives_its_tokens_back_but_not_its_request(self, error):
        service = Service(requests=60, input_tokens=60_000, output_tokens=60_000)
        with pytest.raises(type(error)):
            await service.send(error)
        assert [service.left(counter) for counter in ("requests", "input_tokens", "output_tokens")] == [
            9,
            10_000,
            10_000,
        ]

    @pytest.mark.parametrize("error", [CallTimeoutError("slow"), KeyError("a bug")])
    async def test_one_whose_answer_never_came_leaves_what_it_took(self, error):
        service = Service(requests=60, output_tokens=60_000)
        with pytest.raises(type(error)):
            await service.send(error)
        assert (service.left("requests"), service.left("output_tokens")) == (9, 10_000 - 100)

    async def test_one_that_is_cancelled_while_it_opens_leaves_what_it_took(self):
        service = Service(requests=60, output_tokens=60_000)
        call = service.start([math.inf, "never"])
        await settle()
        call.cancel()
        await settle()
        assert (service.left("requests"), service.left("output_tokens")) == (9, 10_000 - 100)

    async def test_a_stream_that_breaks_or_is_left_leaves_what_had_arrived(self):
        service = Service(input_tokens=60_000, output_tokens=60_000)
        start = text_events("word " * 100)[:3]
        with pytest.raises(StreamInterruptedError):
            await service.send([*start, StreamInterruptedError("broken", code="truncated")])
        arrived = 10_000 - service.left("output_tokens")
        assert 50 < arrived < 300
        async with service.send(start) as stream:
            async for chunk in stream:
                if chunk.text:
                    break
        assert service.left("output_tokens") == 10_000 - 2 * arrived
        assert service.left("input_tokens") == 10_000 - 2

    async def test_an_answer_that_tells_no_usage_is_not_corrected(self):
        events = used()
        del events[0]["message"]["usage"]["input_tokens"]
        service = Service(input_tokens=60_000)
        await service.send(events)
        assert service.left("input_tokens") == 10_000 - service.buckets.taken[0][1]["input_tokens"]


class TestTooMany:
    """A 429."""

    async def test_holds_back_every_call_of_the_bucket_until_retry_after(self):
        service = Service(requests=6000, burst=1.0)
        slow = service.start([5, RateLimitError("429", retry_after=20)])
        await service.clock.advance(5)
        with pytest.raises(RateLimitError):
            await slow
        calls = [service.start() for _ in range(3)]
        shared = service.start(model="claude-opus-5")
        await service.clock.run(shared)
        for call in calls:
            await service.clock.run(call)
        assert [when for when, model in service.sent if model == HI["model"]] == pytest.approx([0, 25, 25.01, 25.02])
        assert [when for when, model in service.sent if model != HI["model"]] == [5]
        assert ("ratelimit.held", {"route": ROUTE, "seconds": 20}) in [(n.name, n.fields) for n in service.heard]

    async def test_models_of_one_bucket_are_held_together(self):
        service = Service(requests=6000)
        with pytest.raises(RateLimitError):
            await service.send(RateLimitError("429", retry_after=20), model="claude-opus-4-5-20251101")
        await service.clock.run(service.send(model="claude-opus-4-8"))
        assert service.sent[1][0] == 20

    async def test_calls_that_wait_already_are_held_too(self):
        service = Service(requests=60, burst=1.0)
        slow = service.start([0.5, RateLimitError("429", retry_after=20)])
        waiting = service.start()
        with pytest.raises(RateLimitError):
            await service.clock.run(slow)
        await service.clock.run(waiting)
        assert [when for when, _ in service.sent] == [0, 20.5]

    async def test_in_mid_stream_holds_as_well(self):
        service = Service(requests=6000)
        with pytest.raises(RateLimitError):
            await service.send([*text_events("Hello")[:3], RateLimitError("429", retry_after=20)])
        await service.clock.run(service.send())
        assert service.sent[1][0] == 20

    async def test_without_retry_after_it_holds_until_the_reset_of_what_is_used_up(self):
        service = Service(requests=6000)
        service.headers = service.headers_of("requests", 6000, 12, 50) | service.headers_of("input-tokens", 9000, 0, 15)
        with pytest.raises(RateLimitError):
            await service.send(RateLimitError("429"))
        service.headers = {}
        await service.clock.run(service.send())
        assert service.sent[1][0] == 15

    async def test_without_any_word_it_holds_for_a_second(self):
        service = Service(requests=6000)
        with pytest.raises(RateLimitError):
            await service.send(RateLimitError("429"))
        await service.clock.run(service.send())
        assert service.sent[1][0] == 1

    async def test_holds_no_longer_than_five_minutes_and_tells_the_services_number(self):
        service = Service(requests=6000)
        with pytest.raises(RateLimitError) as raised:
            await service.send(RateLimitError("429", retry_after=1e7))
        assert raised.value.retry_after == 1e7
        await service.clock.run(service.send())
        assert service.sent[1][0] == 300
        [held] = [notice.fields["seconds"] for notice in service.heard if notice.name == "ratelimit.held"]
        assert held == 300

    async def test_for_a_spend_limit_holds_nobody(self):
        service = Service(requests=6000)
        with pytest.raises(SpendLimitError):
            await service.send(SpendLimitError("429", code="enforced_spend_limit_reached"))
        await service.send()
        assert service.clock.monotonic() == 0


class TestHeaders:
    async def test_little_that_remains_is_spread_until_the_reset(self):
        service = Service(requests=60)
        service.headers = service.headers_of("requests", 60, 4, 40)
        await service.send()
        service.headers = {}
        for _ in range(5):
            await service.clock.run(service.send())
        assert [when for when, _ in service.sent] == [0, 10, 20, 30, 40, 41]

    async def test_enough_that_remains_is_not(self):
        service = Service(requests=60)
        service.headers = service.headers_of("requests", 60, 30, 30)
        for _ in range(10):
            await service.send()
        assert service.clock.monotonic() == 0

    async def test_tokens_left_by_rounding_are_not_counted_upon(self):
        service = Service(input_tokens=60_000)
        service.headers = service.headers_of("input-tokens", 60_000, 0, 12)
        await service.send()
        service.headers = {}
        await service.clock.run(service.send())
        assert service.sent[1][0] == pytest.approx(12, abs=0.5)

    async def test_a_lower_limit_of_the_service_is_taken_over_and_left_when_it_is_lifted(self):
        service = Service(requests=6000, burst=1.0)
        service.headers = service.headers_of("requests", 60, 59, 1)
        await service.send()
        await service.send()
        await service.clock.run(service.send())
        assert [when for when, _ in service.sent] == [0, 0, 1]
        assert service.layer.limits()[ROUTE].client["requests"].limit == 60
        service.headers = service.headers_of("requests", 600_000, 599_999, 0)
        await service.clock.run(service.send())
        await service.clock.run(service.send())
        assert service.layer.limits()[ROUTE].client["requests"].limit == 6000

    async def test_where_nothing_is_configured_the_services_limits_are_learned(self):
        service = Service()
        await service.send()
        assert service.layer.limits()[ROUTE].client == {}
        service.headers = service.headers_of("requests", 60, 59, 1) | service.headers_of("output-tokens", 600, 600, 0)
        for _ in range(12):
            await service.clock.run(service.send())
        assert service.clock.monotonic() == pytest.approx(1, abs=0.1)
        assert {name: one.limit for name, one in service.layer.limits()[ROUTE].client.items()} == {
            "requests": 60,
            "output_tokens": 600,
        }

    async def test_a_clock_that_is_wrong_delays_nobody_for_more_than_a_minute(self):
        service = Service(requests=60)
        service.headers = service.headers_of("requests", 60, 0, 86_400)
        await service.send()
        service.headers = service.headers_of("requests", 60, 0, -86_400)
        await service.clock.run(service.send())
        assert service.sent[1][0] == 61
        await service.clock.run(service.send())
        assert service.sent[2][0] == 62

    async def test_fast_mode_has_buckets_of_its_own(self):
        service = Service(requests=60, burst=1.0)
        await service.send()
        await service.send(speed="fast")
        assert service.clock.monotonic() == 0
        told = service.headers_of("x", 600, 0, 30)
        service.headers = {name.replace("ratelimit-x", "fast-output-tokens"): value for name, value in told.items()}
        await service.clock.run(service.send(speed="fast"))
        limits = service.layer.limits()
        assert limits.keys() == {ROUTE, f"{ROUTE}/fast"}
        assert "output_tokens" not in limits[ROUTE].client
        await service.clock.run(service.send(speed="fast"))
        assert limits.keys() == {ROUTE, f"{ROUTE}/fast"}
        assert service.layer.limits()[f"{ROUTE}/fast"].client["output_tokens"].limit == 600

    async def test_headers_that_make_no_sense_change_nothing(self):
        service = Service(requests=60)
        service.headers = service.headers_of("requests", 0, 0, 0) | {"anthropic-ratelimit-input-tokens-limit": "many"}
        await service.send()
        assert service.left("requests") == 9


class TestWhatIsTold:
    async def test_limits_what_remains_the_reset_and_the_queue(self):
        service = Service(requests=60, burst=1.0)
        await service.send()
        waiting = [service.start(), service.start()]
        await service.clock.advance(0.75)
        limits = service.layer.limits()[ROUTE]
        [(counter, allowance)] = limits.client.items()
        assert (counter, allowance.limit, allowance.remaining) == ("requests", 60, 0.75)
        assert allowance.reset == service.clock.now() + timedelta(seconds=0.25)
        assert (limits.queue, limits.longest_wait) == (2, 0.75)
        for call in waiting:
            await service.clock.run(call)


STEP = st.one_of(
    st.tuples(st.just("send"), st.integers(0, 3000), st.integers(0, 3000)),
    st.tuples(st.just("cancel"), st.integers(0, 20)),
    st.tuples(st.just("rest"), st.floats(0, 5)),
    st.tuples(st.just("refuse"), st.floats(0, 5)),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(STEP, max_size=40))
async def test_whatever_comes_leaves_and_is_corrected_no_window_holds_more_than_burst_plus_rate(steps):
    limits = {"requests": 60, "input_tokens": 6000, "output_tokens": 6000}
    service = Service(**limits, burst=3.0)
    calls = []
    for kind, *values in steps:
        if kind == "send":
            calls.append(service.start([0.5, *used(input_tokens=values[0], output=values[1])], max_tokens=2000))
        elif kind == "refuse":
            calls.append(service.start(RateLimitError("429", retry_after=values[0])))
        elif kind == "cancel" and values[0] < len(calls):
            calls[values[0]].cancel()
        elif kind == "rest":
            await service.clock.advance(values[0])
        await settle()
    while await service.clock.step():
        pass
    assert all(call.done() for call in calls)
    for call in calls:
        assert call.cancelled() or call.exception() is None or isinstance(call.exception(), RateLimitError)
    assert service.layer.limits().get(ROUTE) is None or service.layer.limits()[ROUTE].queue == 0
    for counter, minute in limits.items():
        taken = [(when, wanted.get(counter, 0.0)) for when, wanted in service.buckets.taken]
        given = [(when, max(amounts.get(counter, 0.0), 0.0)) for when, amounts in service.buckets.given]
        for start, _ in taken:
            for end, _ in taken:
                total = sum(amount for when, amount in taken if start <= when <= end)
                back = sum(amount for when, amount in given if start <= when <= end)
                assert total <= minute / 60 * (3 + max(end - start, 0)) + back + 1e-3


class TestConfiguration:
    @pytest.mark.parametrize(
        ("tier", "most", "fable"),
        [
            ("start", (1000, 2_000_000, 400_000), (1000, 500_000, 100_000)),
            ("build", (5000, 5_000_000, 1_000_000), (2000, 1_500_000, 300_000)),
            ("scale", (10_000, 10_000_000, 2_000_000), (4000, 4_000_000, 800_000)),
        ],
    )
    async def test_the_tiers_are_the_services_with_lower_limits_for_fable(self, tier, most, fable):
        composed = compose([f"ratelimit={tier}"]).ratelimit
        service = Service(**composed.model_dump())
        for model in ("claude-opus-5", "claude-fable-5-2"):
            await service.send(model=model)
        limits = service.layer.limits()
        assert tuple(one.limit for one in limits["anthropic/opus-5"].client.values()) == most
        assert tuple(one.limit for one in limits["anthropic/fable-5"].client.values()) == fable

    @pytest.mark.parametrize(
        "models",
        [
            ["claude-fable-5", "claude-fable-5-1", "claude-fable-5-2"],
            ["claude-mythos-5", "claude-mythos-5-1", "claude-mythos-5-2"],
            ["claude-opus-4-5", "claude-opus-4-6", "claude-opus-4-7", "claude-opus-4-8"],
            ["claude-sonnet-4-5", "claude-sonnet-4-6"],
        ],
    )
    async def test_models_that_share_their_limits_share_a_bucket(self, models):
        service = Service(requests=60)
        for model in models:
            await service.send(model=model)
        assert len(service.layer.limits()) == 1

    async def test_other_models_have_a_bucket_each(self):
        service = Service(requests=60)
        models = ("opus-5", "opus-5-5", "sonnet-5", "sonnet-5-5", "haiku-4-5", "haiku-5-5", "opus-4-8", "fable-5")
        for model in models:
            await service.send(model=f"claude-{model}")
        assert len(service.layer.limits()) == len(models)

    @pytest.mark.parametrize(
        ("override", "told"),
        [
            ("ratelimit.requests=0", "ratelimit.requests = 0, from an override: should be greater than or equal to 1"),
            ("ratelimit.input_tokens=-5", "ratelimit.input_tokens = -5, from an override: should be greater than"),
            (
                "ratelimit.output_tokens=many",
                "ratelimit.output_tokens = 'many', from an override: should be a valid int",
            ),
            ("ratelimit.burst=0", "ratelimit.burst = 0, from an override: should be greater than 0"),
            ("ratelimit.requets=5", "ratelimit.requets"),
            ("ratelimit.buckets.fable-5.requests=0", "ratelimit.buckets.fable-5.requests = 0, from an override"),
            (
                "ratelimit.buckets={fabel: {requests: 1}}",
                "no model has the rate-limit bucket 'fabel'; there are claude-2",
            ),
            ("ratelimit=tier4", "ratelimit"),
        ],
    )
    def test_what_makes_no_sense_is_refused_with_its_key_value_and_what_is_allowed(self, override, told, no_settings):
        with pytest.raises(ConfigurationError) as caught:
            compose(["ratelimit=start", override] if "." in override or "buckets" in override else [override])
        assert told in caught.value.message

    def test_a_replay_has_no_such_layer(self, no_settings):
        composed = compose(["ratelimit=start"])
        assert any(isinstance(layer, RateLimit) for layer in build(composed, ManualClock()))
        assert not any(isinstance(layer, RateLimit) for layer in build(composed, ManualClock(), replay=True))


async def test_a_failure_of_its_own_closes_the_stream_that_it_holds(monkeypatch):
    service = Service(requests=60)
    ends = []

    def steer(*args):
        raise OverflowError("no such number")

    async def remembered(call, call_next):
        stream = await call_next(call)
        stream.on_end(lambda outcome: ends.append(outcome.kind))
        return stream

    monkeypatch.setattr(service.buckets, "steer", steer)
    service.headers = service.headers_of("requests", 60, 50, 30)
    service.inner = [remembered]
    with pytest.raises(OverflowError):
        await service.send()
    assert ends == ["cancelled"]
