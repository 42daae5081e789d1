"""The names of a call in its reader's own logs: while he opens and reads it, and no longer."""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import re
import warnings
from contextvars import copy_context
from pathlib import Path
from random import Random

import pytest
import structlog
from structlog.contextvars import bind_contextvars, clear_contextvars, get_contextvars

from claudeprov.errors import OverloadedError, ServerError
from claudeprov.middleware.retry import Retry
from claudeprov.middleware.telemetry import Telemetry
from claudeprov.notice import Notices
from claudeprov.settings.retry import RetrySettings
from claudeprov.telemetry.names import Names
from claudeprov.testing import ManualClock, ScriptedProvider, text_events
from claudeprov.testing.clock import settle
from claudeprov.tools.run import run_tools
from claudeprov.tools.signature import tool
from tests.tools.answers import answer, call

HI = {"messages": [{"role": "user", "content": "Hi"}], "model": "haiku"}
DOCUMENT = Path(__file__).parents[2] / "docs" / "telemetry.md"
TAGS = {"run": "nightly", "task": "sort", "user": "u1"}
EVENTS = text_events("a", "b", "c")


@pytest.fixture(autouse=True)
def _nothing_bound():
    clear_contextvars()


@pytest.fixture
def clock():
    return ManualClock()


def provider_of(*answers, layers=(), **options):
    return ScriptedProvider(*answers, layers=[Telemetry([Names()]), *layers], **options)


def drop_into(got):
    def drop(logger, method, event):
        got.append(event)
        raise structlog.DropEvent

    return drop


def send(answer="Hello", tags=TAGS):
    return provider_of(answer).send_message(HI, tags=tags)


async def test_they_stand_in_the_readers_context_while_he_reads():
    stream = send(EVENTS)
    async for _ in stream:
        if stream.outcome is None:
            named = {"call_id": stream._call.id, "model": "haiku", "attempt": 1, "run": "nightly", "task": "sort"}
            assert get_contextvars() == named
    assert get_contextvars() == {}


async def test_they_stand_in_the_applications_own_events():
    got = []
    log = structlog.wrap_logger(None, processors=[structlog.contextvars.merge_contextvars, drop_into(got)])
    async with send() as stream:
        log.info("mine")
    log.info("mine again")
    assert [event.get("call_id") for event in got] == [stream._call.id, None]


async def test_what_the_application_had_bound_stands_again_at_the_end():
    bind_contextvars(task="its own", user="u1")
    async with send():
        assert get_contextvars()["task"] == "sort"
    assert get_contextvars() == {"task": "its own", "user": "u1"}


async def test_what_the_application_binds_meanwhile_stays():
    async with send(EVENTS) as stream:
        bind_contextvars(task="another", step=1)
        await stream
    assert get_contextvars() == {"task": "another", "step": 1}


async def test_attempt_and_request_id_are_those_of_the_latest_attempt(clock):
    seen = []

    async def look(call, call_next):
        seen.append({name: get_contextvars().get(name) for name in ("attempt", "request_id")})
        return await call_next(call)

    async def sleep(seconds):
        seen.append({name: get_contextvars().get(name) for name in ("attempt", "request_id")})

    class Peeping(ScriptedProvider):
        async def _open(self, steps, call):
            seen.append({name: get_contextvars().get(name) for name in ("attempt", "request_id")})
            return await super()._open(steps, call)

    retry = Retry(RetrySettings(), clock=clock, random=Random(1), sleep=sleep)
    failed = OverloadedError("529", request_id="req_1")
    await Peeping(failed, "Hello", layers=[Telemetry([Names()]), look, retry], clock=clock).send_message(HI)
    assert seen == [
        {"attempt": None, "request_id": None},
        {"attempt": 1, "request_id": None},
        {"attempt": 1, "request_id": "req_1"},
        {"attempt": 2, "request_id": None},
    ]


async def test_a_stream_within_another_has_its_own_names_and_gives_them_back():
    async with send(tags={"task": "outer"}) as outer:
        async with send(tags={}) as inner:
            assert get_contextvars()["call_id"] == inner._call.id
            assert "task" not in get_contextvars()
            await inner
        assert get_contextvars()["call_id"] == outer._call.id
        assert get_contextvars()["task"] == "outer"
    assert get_contextvars() == {}


async def test_streams_that_overlap_end_in_any_order():
    bind_contextvars(task="its own")
    first, second, third = (send(tags={"task": name}) for name in ("1", "2", "3"))
    loops = [aiter(stream) for stream in (first, second, third)]
    for loop in loops:
        await anext(loop)
    for stream, left in ((second, "3"), (third, "1"), (first, "its own")):
        await stream
        assert get_contextvars()["task"] == left
    assert get_contextvars() == {"task": "its own"}
    for loop in loops:
        await loop.aclose()


async def test_tasks_that_read_at_once_see_their_own():
    async def read(name):
        async with send(EVENTS, {"task": name}) as stream:
            async for _ in stream:
                await asyncio.sleep(0)
                assert get_contextvars()["call_id"] == stream._call.id
                assert get_contextvars()["task"] == name
        assert get_contextvars() == {}

    await asyncio.gather(*(read(str(number)) for number in range(20)))
    assert get_contextvars() == {}


async def test_a_stream_can_be_opened_in_one_task_and_read_in_another():
    bound = []

    async def read():
        bound.extend([get_contextvars().get("call_id") async for _ in stream])
        bound.append(get_contextvars())

    async with send() as stream:
        await asyncio.create_task(read())
    assert get_contextvars() == {}
    assert bound == [*[stream._call.id] * (len(bound) - 1), {}]


async def test_a_reader_who_is_no_child_of_the_opener_reads_without_names():
    before = copy_context()
    async with send() as stream:
        await asyncio.create_task(stream._whole(), context=before)
        assert get_contextvars()["call_id"] == stream._call.id
    assert before.run(get_contextvars) == {}
    assert get_contextvars() == {}


@pytest.mark.parametrize(
    "answer", [ServerError("500"), [*EVENTS[:3], ServerError("broken off")]], ids=["opening", "reading"]
)
async def test_they_are_gone_when_it_fails(answer):
    with pytest.raises(ServerError):
        await send(answer)
    assert get_contextvars() == {}


async def test_they_are_gone_when_its_task_is_cancelled(clock):
    seen = []

    async def read():
        try:
            async for _ in provider.send_message(HI):
                seen[:] = [get_contextvars().keys()]
        finally:
            seen.append(get_contextvars())

    provider = provider_of([*EVENTS[:3], math.inf], clock=clock)
    task = asyncio.create_task(read())
    await settle()
    task.cancel()
    await settle()
    assert seen[0] == {"call_id", "model", "attempt"}
    assert seen[-1] == {}


async def test_they_are_gone_when_another_task_cancels_it(clock):
    async def read():
        async for _ in stream:
            pass
        return get_contextvars()

    stream = provider_of([*EVENTS[:3], math.inf], clock=clock).send_message(HI)
    task = asyncio.create_task(read())
    await settle()
    await stream.cancel()
    assert await task == {}


async def test_they_are_gone_after_a_block_that_is_left_early():
    async with send(EVENTS) as stream:
        async for _ in stream:
            break
        assert get_contextvars()["task"] == "sort"
    assert get_contextvars() == {}


@pytest.mark.parametrize("loop", [aiter, lambda stream: stream.text()], ids=["chunks", "text"])
async def test_they_are_gone_after_a_bare_break(loop):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        async for _ in loop(send([EVENTS[:3], EVENTS[3:]])):
            assert get_contextvars()["task"] == "sort"
            break
        assert get_contextvars() == {}
        await settle()


async def test_names_that_nobody_could_take_back_are_gone_with_the_next_call():
    stream = send(EVENTS)
    loop = aiter(stream)
    await anext(loop)

    async def cancel():
        await stream.cancel()

    await asyncio.create_task(cancel())
    assert get_contextvars()["task"] == "sort"
    await send(tags={})
    assert get_contextvars() == {}
    await loop.aclose()


async def test_no_context_keeps_a_call_alive():
    stream = send(EVENTS)
    loop = aiter(stream)
    await anext(loop)
    snapshot = copy_context()
    await stream
    await loop.aclose()
    call = stream._call.id
    del stream, loop
    gc.collect()
    assert call not in str(get_contextvars())
    assert snapshot.run(get_contextvars)["call_id"] == call
    await asyncio.create_task(send(tags={})._whole(), context=snapshot)
    assert snapshot.run(get_contextvars) == {}


async def test_the_filter_of_the_docs_names_the_call_in_records_of_the_standard_library(capsys):
    root = logging.getLogger()
    before = list(root.handlers)
    [example] = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    exec(example, {})
    try:
        async with send() as stream:
            logging.getLogger("application").warning("mine")
        logging.getLogger("application").warning("mine again")
    finally:
        root.handlers = before
    assert capsys.readouterr().err.splitlines() == [f"WARNING {stream._call.id} mine", "WARNING - mine again"]


@pytest.mark.parametrize("kind", ["async", "blocking"])
async def test_in_a_tool_they_are_those_of_the_run_that_called_it(clock, kind):
    seen = []

    async def look() -> str:
        """Look."""
        seen.append(get_contextvars())
        return "seen"

    def look_blocking() -> str:
        """Look."""
        seen.append(get_contextvars())
        return "seen"

    notices = Notices(clock)
    told = []
    notices.listen(told.append)
    layers = [Telemetry([Names()], notices)]
    sender = ScriptedProvider(answer(call("t1", "look", {})), "Done", layers=layers, clock=clock)
    tools = [tool(look) if kind == "async" else tool(name="look")(look_blocking)]
    stream = run_tools(sender, HI | {"max_tokens": 100}, tools, clock=clock, notices=notices, tags=TAGS)
    async for _ in stream:
        pass
    [run_id] = {notice.call_id for notice in told if notice.name == "tool.started"}
    assert seen == [{"call_id": run_id, "run": "nightly", "task": "sort"}]
    assert [(notice.fields["run"], notice.fields["task"]) for notice in told if notice.name.startswith("tool.")] == [
        ("nightly", "sort"),
        ("nightly", "sort"),
    ]
    assert get_contextvars() == {}
