"""What is logged of each call, through structlog, and what it costs when nobody listens."""

from __future__ import annotations

import asyncio
import logging
import math
from random import Random

import pytest
import structlog

from claudeprov.errors import OverloadedError, ServerError
from claudeprov.middleware.retry import Retry
from claudeprov.middleware.telemetry import Telemetry
from claudeprov.settings.retry import RetrySettings
from claudeprov.testing import ManualClock, ScriptedProvider, check_middleware, text_events
from claudeprov.testing.clock import settle

HI = {"messages": [{"role": "user", "content": "a secret question"}], "model": "claude-haiku-4-5"}


@pytest.fixture
def events():
    """What the application's structlog is handed."""
    got = []

    def take(logger, method, event):
        got.append(event | {"level": method, "logger": logger.name})
        raise structlog.DropEvent

    structlog.configure(processors=[structlog.contextvars.merge_contextvars, take])
    yield got
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def listening(caplog):
    caplog.set_level(logging.INFO, logger="claudeprov")


@pytest.fixture
def clock():
    return ManualClock()


async def test_keeps_the_contract():
    await check_middleware(Telemetry)


async def test_a_call_is_told_at_its_start_and_at_its_end(events, clock):
    start, *rest = text_events("a", "b", model="claude-haiku-4-5")
    provider = ScriptedProvider([2, start, 3, *rest], layers=[Telemetry()], clock=clock)
    await clock.run(provider.send_message(HI))
    started, ended = events
    assert started == {
        "event": "call.started",
        "level": "info",
        "logger": "claudeprov",
        "call_id": ended["call_id"],
        "model": "claude-haiku-4-5",
        "tags": {},
    }
    assert str(ended.pop("cost_usd")) == "0.000011"
    assert ended == {
        "event": "call.ended",
        "level": "info",
        "logger": "claudeprov",
        "call_id": started["call_id"],
        "kind": "read",
        "attempts": 1,
        "model": "claude-haiku-4-5",
        "stop_reason": "end_turn",
        "input_tokens": 1,
        "output_tokens": 2,
        "first_chunk": 2,
        "queue": 0,
        "backoff": 0,
        "total": 5,
        "tags": {},
    }


async def test_each_retry_is_told_with_what_made_it_needful(events, clock):
    retry = Retry(RetrySettings(), clock=clock, random=Random(1))
    errors = [OverloadedError("529", retry_after=60), ServerError("500", retry_after=60)]
    provider = ScriptedProvider(*errors, "Hello", layers=[Telemetry(), retry], clock=clock)
    await clock.run(provider.send_message(HI))
    told = [(event["attempt"], event["waited"], event["error"]) for event in events if event["event"] == "call.retried"]
    assert told == [(2, 60, "overloaded"), (3, 60, "server_error")]


@pytest.mark.parametrize(
    "answer", [ServerError("500"), [*text_events("Hel")[:3], ServerError("broken off")]], ids=["opening", "reading"]
)
async def test_a_failure_is_told_with_its_code(events, answer):
    with pytest.raises(ServerError):
        await ScriptedProvider(answer, layers=[Telemetry()]).send_message(HI)
    assert [event["event"] for event in events] == ["call.started", "call.ended"]
    assert events[-1]["kind"] == "failed"
    assert events[-1]["error"] == "server_error"


async def test_a_bug_is_told_by_its_name(events):
    with pytest.raises(KeyError):
        await ScriptedProvider(KeyError("a bug"), layers=[Telemetry()]).send_message(HI)
    assert events[-1]["error"] == "KeyError"


async def test_a_call_that_is_cancelled_while_it_opens_is_told(events, clock):
    provider = ScriptedProvider([math.inf, "never"], layers=[Telemetry()], clock=clock)
    task = asyncio.ensure_future(provider.send_message(HI))
    await settle()
    task.cancel()
    await settle()
    assert events[-1]["kind"] == "cancelled"
    assert "error" not in events[-1]


async def test_the_calls_id_is_bound_while_it_opens_and_not_in_the_readers_code(events):
    async def logging_layer(call, call_next):
        structlog.get_logger().warning("hello", logger=None)
        return await call_next(call)

    class Named:
        name = "application"

        def warning(self, *args, **kwargs):
            pass

    structlog.configure(logger_factory=Named)
    await ScriptedProvider("Hello", layers=[Telemetry(), logging_layer]).send_message(HI)
    assert events[1]["event"] == "hello"
    assert events[1]["call_id"] == events[0]["call_id"]
    assert structlog.contextvars.get_contextvars() == {}


async def test_an_application_without_structlog_gets_lines_of_keys_and_values(caplog, capsys):
    await ScriptedProvider("a secret answer", layers=[Telemetry()]).send_message(HI)
    lines = [record.getMessage() for record in caplog.records if record.name == "claudeprov"]
    assert lines[0].startswith("call_id=call_") or lines[0].startswith("event=call.started")
    assert "event=call.ended" in lines[1]
    assert "output_tokens=1" in lines[1]
    assert capsys.readouterr() == ("", "")


async def test_neither_prompt_nor_answer_is_told(events):
    await ScriptedProvider("a secret answer", layers=[Telemetry()]).send_message(HI)
    assert "secret" not in str(events)


async def test_nothing_is_done_while_nobody_listens(events):
    logging.getLogger("claudeprov").setLevel(logging.WARNING)
    provider = ScriptedProvider("Hello", layers=[Telemetry()])
    async with provider.send_message(HI) as stream:
        assert stream._stream._ends == []
        await stream
    assert events == []
