"""The time limit of a whole call."""

from __future__ import annotations

import asyncio
import errno
import math

import pytest

from claudeprov.compose import compose
from claudeprov.errors import CallTimeoutError, ConfigurationError
from claudeprov.middleware.deadline import Deadline
from claudeprov.settings.deadline import DeadlineSettings
from claudeprov.testing import ManualClock, ScriptedProvider, check_middleware, text_events
from claudeprov.testing.clock import settle

HI = {"messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture
def clock():
    return ManualClock()


def deadline(clock, total=10.0):
    return Deadline(DeadlineSettings(total=total))


async def test_keeps_the_contract(clock):
    await check_middleware(lambda: deadline(clock), clock=clock)


async def test_a_call_whose_stream_does_not_open_in_time_fails(clock):
    provider = ScriptedProvider([math.inf, "never"], layers=[deadline(clock)], clock=clock)
    with pytest.raises(CallTimeoutError) as raised:
        await clock.run(provider.send_message(HI))
    assert raised.value.code == "deadline_exceeded"
    assert raised.value.retryable
    assert clock.monotonic() == 10


async def test_time_spent_in_outer_layers_counts(clock):
    async def slow(call, call_next):
        await clock.sleep(7)
        return await call_next(call)

    provider = ScriptedProvider([math.inf, "never"], layers=[slow, deadline(clock)], clock=clock)
    with pytest.raises(CallTimeoutError):
        await clock.run(provider.send_message(HI))
    assert clock.monotonic() == 10


async def test_the_endpoint_is_told_until_when_it_may_read(clock):
    await clock.advance(5)
    stream = ScriptedProvider("Hello", layers=[deadline(clock)], clock=clock).send_message(HI)
    await stream
    assert stream._call.deadline == 15


async def test_an_earlier_deadline_stays(clock):
    async def hurry(call, call_next):
        call.deadline = 2
        return await call_next(call)

    provider = ScriptedProvider([math.inf, "never"], layers=[hurry, deadline(clock)], clock=clock)
    with pytest.raises(CallTimeoutError):
        await clock.run(provider.send_message(HI))
    assert clock.monotonic() == 2


async def test_a_timeout_of_an_attempt_keeps_its_code(clock):
    error = CallTimeoutError("no connection", code="connect_timeout")
    with pytest.raises(CallTimeoutError) as raised:
        await ScriptedProvider(error, layers=[deadline(clock)]).send_message(HI)
    assert raised.value is error


@pytest.mark.parametrize("make_error", [TimeoutError, lambda: OSError(errno.ETIMEDOUT, "timed out")])
async def test_a_timeout_that_is_not_the_deadlines_goes_on_as_it_is(clock, make_error):
    error = make_error()
    with pytest.raises(TimeoutError) as raised:
        await ScriptedProvider(error, layers=[deadline(clock)], clock=clock).send_message(HI)
    assert raised.value is error


async def test_a_call_that_is_out_of_time_says_how_many_attempts_it_made(clock):
    provider = ScriptedProvider([math.inf, "never"], layers=[deadline(clock)], clock=clock)
    with pytest.raises(CallTimeoutError) as raised:
        await clock.run(provider.send_message(HI))
    assert raised.value.context == {"total": 10, "attempts": 1}


async def test_no_total_is_no_limit(clock):
    answer = [3600, *text_events("Hello")]
    stream = ScriptedProvider(answer, layers=[deadline(clock, None)], clock=clock).send_message(HI)
    response = await clock.run(stream)
    assert response.timing.total == 3600
    assert stream._call.deadline is None


async def test_an_attempt_that_it_cuts_short_says_so(clock):
    stream = ScriptedProvider([math.inf, "never"], layers=[deadline(clock)], clock=clock).send_message(HI)
    with pytest.raises(CallTimeoutError):
        await clock.run(stream)
    assert [attempt.error_code for attempt in stream.response.attempts] == ["deadline_exceeded"]


async def test_an_attempt_that_its_reader_gives_up_says_so(clock):
    stream = ScriptedProvider([math.inf, "never"], layers=[deadline(clock)], clock=clock).send_message(HI)
    task = asyncio.ensure_future(stream)
    await clock.advance(9)
    task.cancel()
    await settle()
    assert [attempt.error_code for attempt in stream.response.attempts] == ["cancelled"]


@pytest.mark.usefixtures("no_settings")
@pytest.mark.parametrize("key", ["total", "connect", "first_event", "between_events", "pings"])
@pytest.mark.parametrize("value", [0, -1])
def test_a_limit_of_no_time_is_refused(key, value):
    with pytest.raises(ConfigurationError) as caught:
        compose([f"deadline.{key}={value}"])
    assert caught.value.message.startswith(f"deadline.{key} = {value}, from an override: should be greater than 0")
