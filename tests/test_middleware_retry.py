"""Another attempt where one has failed, and when there is none."""

from __future__ import annotations

import asyncio
import gc
import math
from random import Random
from weakref import ref

import pytest

from claudeprov.chain import Call
from claudeprov.compose import compose
from claudeprov.errors import (
    CircuitOpenError,
    ConfigurationError,
    ConnectionFailedError,
    InvalidRequestError,
    OverloadedError,
    ProviderError,
    RateLimitError,
    ServerError,
)
from claudeprov.middleware import build
from claudeprov.middleware.deadline import Deadline
from claudeprov.middleware.retry import Credit, Retry
from claudeprov.notice import Notices
from claudeprov.request import MessageRequest
from claudeprov.settings.deadline import DeadlineSettings
from claudeprov.settings.retry import RetrySettings
from claudeprov.testing import ManualClock, ScriptedProvider, check_middleware, text_events
from claudeprov.testing.clock import settle

HI = {"messages": [{"role": "user", "content": "Hi"}]}


class Longest(Random):
    """Draws the upper bound, so that waits can be told beforehand."""

    def uniform(self, a, b):
        return b


@pytest.fixture
def clock():
    return ManualClock()


def retrying(clock, *answers, random=None, layers=(), **settings):
    retry = Retry(RetrySettings(**settings), clock=clock, random=random or Longest())
    return ScriptedProvider(*answers, layers=[*layers, retry], clock=clock)


async def refused(clock, provider):
    with pytest.raises(ProviderError) as raised:
        await clock.run(provider.send_message(HI))
    return raised.value


async def test_keeps_the_contract(clock):
    await check_middleware(lambda: Retry(RetrySettings(), clock=clock, random=Random(1)), clock=clock)


async def test_no_error_no_retry(clock):
    response = await clock.run(retrying(clock, "Hello").send_message(HI))
    assert len(response.attempts) == 1
    assert response.timing.backoff == 0


async def test_an_attempt_that_failed_is_made_again(clock):
    provider = retrying(clock, ServerError("500"), ConnectionFailedError("reset"), "Hello", base=0.5)
    response = await clock.run(provider.send_message(HI))
    assert response.text == "Hello"
    assert [(attempt.number, attempt.waited, attempt.error_code) for attempt in response.attempts] == [
        (1, 0, "server_error"),
        (2, 0.5, "connection_failed"),
        (3, 1, None),
    ]
    assert response.timing.backoff == response.timing.total == 1.5


async def test_waits_double_up_to_a_cap(clock):
    provider = retrying(clock, ServerError("500"), max_attempts=6, base=0.5, cap=3)
    await refused(clock, provider)
    assert clock.monotonic() == 0.5 + 1 + 2 + 3 + 3


async def test_waits_are_drawn_from_nothing_to_their_bound(clock):
    waits = []

    class Drawing(Random):
        def uniform(self, a, b):
            waits.append((a, b))
            return super().uniform(a, b)

    await refused(clock, retrying(clock, ServerError("500"), base=1, cap=8, random=Drawing(7)))
    assert waits[:3] == [(0, 1), (0, 2), (0, 4)]
    again = Random(7)
    assert clock.monotonic() == pytest.approx(sum(again.uniform(0, bound) for bound in (1, 2, 4)))


async def test_an_overloaded_service_is_given_longer(clock):
    await refused(clock, retrying(clock, OverloadedError("529"), base=0.5, overloaded_base=2, overloaded_cap=5))
    assert clock.monotonic() == 2 + 4 + 5


async def test_bounds_do_not_overflow_after_very_many_attempts(clock):
    await refused(clock, retrying(clock, ServerError("500"), max_attempts=2000, base=0.01, cap=0.01, tokens=None))
    assert clock.monotonic() == pytest.approx(19.99)


async def test_the_last_error_is_raised_and_says_how_many_attempts_there_were(clock):
    last = ServerError("503")
    error = await refused(clock, retrying(clock, ServerError("500"), OverloadedError("529"), last, max_attempts=3))
    assert error is last
    assert error.context == {"attempts": 3, "waits": [0.5, 4], "gave_up": "retry.max_attempts"}


async def test_an_error_that_another_attempt_cannot_mend_is_raised_at_once(clock):
    error = await refused(clock, retrying(clock, InvalidRequestError("400")))
    assert error.context["attempts"] == 1
    assert clock.monotonic() == 0


async def test_an_error_that_is_marked_otherwise_than_its_class_is_taken_by_its_mark(clock):
    error = await refused(clock, retrying(clock, ServerError("501", retryable=False)))
    assert error.context["attempts"] == 1


async def test_retry_after_is_waited_out_even_if_it_is_longer_than_the_backoff(clock):
    provider = retrying(clock, RateLimitError("429", retry_after=20), "Hello", base=0.5)
    await clock.run(provider.send_message(HI))
    assert clock.monotonic() == 20


async def test_a_short_retry_after_does_not_shorten_the_backoff(clock):
    provider = retrying(clock, RateLimitError("429", retry_after=0.1), "Hello", base=0.5)
    await clock.run(provider.send_message(HI))
    assert clock.monotonic() == 0.5


async def test_a_retry_after_beyond_the_ceiling_ends_it_and_says_when_to_come_back(clock):
    error = await refused(clock, retrying(clock, RateLimitError("429", retry_after=3600), max_wait=60))
    assert clock.monotonic() == 0
    assert error.context == {
        "attempts": 1,
        "waits": [],
        "gave_up": "retry.max_wait",
        "retry_at": "2026-01-01T01:00:00+00:00",
    }
    assert error.retry_after == 3600


async def test_a_backoff_may_be_longer_than_the_ceiling_of_retry_after(clock):
    await clock.run(retrying(clock, ServerError("500"), "Hello", base=8, max_wait=1).send_message(HI))
    assert clock.monotonic() == 8


async def test_a_stream_that_breaks_after_no_more_than_a_ping_is_retried(clock):
    provider = retrying(clock, [{"type": "ping"}, OverloadedError("busy")], "Hello")
    assert (await clock.run(provider.send_message(HI))).text == "Hello"
    assert len(provider.requests) == 2


async def test_no_attempt_starts_after_the_budget(clock):
    error = await refused(clock, retrying(clock, ServerError("500"), max_attempts=9, base=2, cap=2, budget=5))
    assert (error.context["attempts"], error.context["gave_up"]) == (3, "retry.budget")
    assert clock.monotonic() == 4


@pytest.mark.parametrize("retry_after", [10, 11])
async def test_no_wait_outlasts_the_calls_deadline(clock, retry_after):
    deadline = Deadline(DeadlineSettings(total=10))
    error = await refused(clock, retrying(clock, RateLimitError("429", retry_after=retry_after), layers=[deadline]))
    assert (error.code, error.context["gave_up"]) == ("rate_limited", "deadline.total")
    assert clock.monotonic() == 0


async def test_a_stream_that_breaks_after_it_opened_is_not_retried(clock):
    provider = retrying(clock, [*text_events("Hel", "lo")[:3], ServerError("broken off")], "Hello")
    error = await refused(clock, provider)
    assert error.partial.text == "Hel"
    assert len(provider.requests) == 1


async def test_a_call_that_is_cancelled_while_it_waits_counts_what_it_waited(clock):
    stream = retrying(clock, ServerError("500"), base=8).send_message(HI)
    task = asyncio.ensure_future(stream)
    await clock.advance(3)
    task.cancel()
    await settle()
    assert task.cancelled()
    assert stream.response.timing.backoff == 3


async def test_a_call_that_is_cancelled_in_an_attempt_is_not_retried(clock):
    provider = retrying(clock, [math.inf, "never"])
    task = asyncio.ensure_future(provider.send_message(HI))
    await settle()
    task.cancel()
    await settle()
    assert task.cancelled()
    assert len(provider.requests) == 1


async def test_a_bug_is_not_retried(clock):
    with pytest.raises(KeyError):
        await clock.run(retrying(clock, KeyError("a bug"), "Hello").send_message(HI))


async def test_calls_that_run_at_once_have_attempts_of_their_own(clock):
    provider = retrying(clock, *[ServerError("500")] * 3, "Hello", max_attempts=3)
    tasks = [asyncio.ensure_future(provider.send_message(HI)) for _ in range(3)]
    await clock.advance(60)
    assert [[attempt.number for attempt in task.result().attempts] for task in tasks] == [[1, 2]] * 3


async def test_a_wait_is_told_before_it_begins(clock):
    notices, told = Notices(clock), []
    notices.listen(lambda notice: told.append((notice.at, notice.name, notice.call_id, dict(notice.fields))))
    retry = Retry(RetrySettings(base=2), clock=clock, random=Longest(), notices=notices)
    stream = ScriptedProvider(ServerError("500"), "Hello", layers=[retry], clock=clock).send_message(HI)
    start = clock.now()
    await clock.run(stream)
    fields = {"attempt": 1, "seconds": 2, "error": "server_error"}
    assert told == [(start, "retry.waiting", stream._call.id, fields)]


class TestChecks:
    """What others have left with the call is asked before every further attempt."""

    @staticmethod
    def checked(check):
        async def layer(call, call_next):
            call.checks.append(check)
            return await call_next(call)

        return layer

    async def test_before_and_after_each_wait_and_not_before_the_first_attempt(self, clock):
        asked = []

        async def check():
            asked.append(clock.monotonic())

        provider = retrying(clock, ServerError("1"), ServerError("2"), "Hello", base=2, layers=[self.checked(check)])
        await clock.run(provider.send_message(HI))
        assert asked == [0, 2, 2, 6]

    async def test_one_that_raises_ends_it_for_the_reason_that_it_gives(self, clock):
        async def check():
            if clock.monotonic() == 6:
                raise CircuitOpenError("open", retry_after=9)

        failures = [ServerError("1"), ServerError("2")]
        provider = retrying(clock, *failures, base=2, layers=[self.checked(check)])
        error = await refused(clock, provider)
        assert (error.code, error.retry_after) == ("circuit_open", 9)
        assert error.__cause__ is failures[1]
        assert (error.context["attempts"], error.context["waits"]) == (2, [2, 4])
        assert len(provider.requests) == 2


class TestCredit:
    """An outage does not multiply the load."""

    async def test_where_every_call_fails_all_of_them_together_make_no_more_retries_than_there_are_tokens(self, clock):
        retry = Retry(RetrySettings(max_attempts=4, tokens=10), clock=clock, random=Longest())
        provider = ScriptedProvider(*[ServerError("500") for _ in range(110)], layers=[retry], clock=clock)
        errors = [await refused(clock, provider) for _ in range(100)]
        assert len(provider.requests) == 100 + 10
        assert [error.context["gave_up"] for error in errors] == ["retry.max_attempts"] * 3 + ["retry.tokens"] * 97

    async def test_calls_that_are_answered_earn_new_ones(self, clock):
        retry = Retry(RetrySettings(max_attempts=2, tokens=1, refill=0.25), clock=clock, random=Longest())
        service = ScriptedProvider(ServerError("500"), layers=[retry], clock=clock)
        healthy = ScriptedProvider("Hello", layers=[retry], clock=clock)
        for _ in range(3):
            await refused(clock, service)
            for _ in range(4):
                await clock.run(healthy.send_message(HI))
        assert len(service.requests) == 3 + 3

    async def test_there_are_never_more_of_them_than_at_first(self):
        credit = Credit(2, 1.0)
        for _ in range(10):
            credit.give()
        assert [credit.take() for _ in range(3)] == [True, True, False]

    async def test_a_rate_limit_costs_none(self, clock):
        provider = retrying(clock, *[RateLimitError("429", retry_after=1)] * 9, "Hello", max_attempts=10, tokens=1)
        await clock.run(provider.send_message(HI))
        assert len(provider.requests) == 10

    async def test_there_may_be_no_bound(self):
        credit = Credit(None, 0)
        assert all(credit.take() for _ in range(1000))


class TestReplay:
    @pytest.fixture
    def settings(self, no_settings):
        return compose(["retry=standard", "chain=[retry]"])

    @pytest.mark.parametrize(("speed", "seconds"), [(0, 0), (1, 20)])
    async def test_waits_take_no_time_unless_the_pace_is_kept(self, clock, settings, speed, seconds):
        settings = settings.model_copy(update={"cassette": settings.cassette.model_copy(update={"speed": speed})})
        layers = build(settings, clock, replay=True)
        provider = ScriptedProvider(RateLimitError("429", retry_after=20), "Hello", layers=layers, clock=clock)
        assert (await clock.run(provider.send_message(HI))).text == "Hello"
        assert clock.monotonic() == seconds


@pytest.mark.usefixtures("no_settings")
@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("retry.base=-1", "retry.base = -1, from an override: should be greater than or equal to 0"),
        ("retry.max_wait=-0.5", "retry.max_wait = -0.5, from an override: should be greater than or equal to 0"),
        ("retry.budget=-1", "retry.budget = -1, from an override: should be greater than or equal to 0"),
        ("retry.max_attempts=0", "retry.max_attempts = 0, from an override: should be greater than or equal to 1"),
        ("retry.tokens=0", "retry.tokens = 0, from an override: should be greater than or equal to 1"),
        ("retry.refill=2", "retry.refill = 2, from an override: should be less than or equal to 1"),
    ],
)
def test_a_retry_that_makes_no_sense_is_refused(override, told):
    with pytest.raises(ConfigurationError) as caught:
        compose([override])
    assert caught.value.message.startswith(told)


async def test_a_call_that_succeeds_at_once_leaves_nothing_to_the_garbage_collector(clock):
    async def answer(call):
        return call.id

    retry = Retry(RetrySettings(), clock=clock, random=Random(1))
    call = Call(MessageRequest.of(HI), clock)
    gone = ref(call)
    gc.disable()
    try:
        assert await retry(call, answer) == call.id
        del call
        assert gone() is None
    finally:
        gc.enable()
