"""Another attempt where one has failed, and when there is none."""

from __future__ import annotations

import asyncio
import math
from random import Random

import pytest

from claudeprov.errors import (
    ConnectionFailedError,
    InvalidRequestError,
    OverloadedError,
    ProviderError,
    RateLimitError,
    ServerError,
)
from claudeprov.middleware.deadline import Deadline
from claudeprov.middleware.retry import Retry
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
    await refused(clock, retrying(clock, ServerError("500"), max_attempts=2000, base=0.01, cap=0.01, budget=3600))
    assert clock.monotonic() == pytest.approx(19.99)


async def test_the_last_error_is_raised_and_says_how_many_attempts_there_were(clock):
    last = ServerError("503")
    error = await refused(clock, retrying(clock, ServerError("500"), OverloadedError("529"), last, max_attempts=3))
    assert error is last
    assert error.context["attempts"] == 3


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
    assert error.context == {"attempts": 1, "retry_at": "2026-01-01T01:00:00+00:00"}
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
    assert error.context["attempts"] == 3
    assert clock.monotonic() == 4


async def test_no_wait_outlasts_the_calls_deadline(clock):
    deadline = Deadline(DeadlineSettings(total=10), clock=clock)
    error = await refused(clock, retrying(clock, RateLimitError("429", retry_after=11), layers=[deadline]))
    assert error.code == "rate_limited"
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
