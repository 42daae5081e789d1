from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel

from claudeprov.clock import SYSTEM_CLOCK
from claudeprov.testing import ManualClock
from claudeprov.testing.clock import settle
from claudeprov.tools.execution import Executed, execute
from claudeprov.tools.tool import Tool, ToolError

ANY = {"type": "object"}


class Point(BaseModel):
    x: int


@dataclass
class Size:
    width: int


def tool(run: Any, **fields: Any) -> Tool:
    return Tool("do", "", ANY, run=run, **fields)


async def done(run: Any, **fields: Any) -> Executed:
    return await execute(tool(run, **fields), {}, clock=SYSTEM_CLOCK, seconds=None)


@pytest.mark.parametrize(
    ("value", "content"),
    [
        ("text", "text"),
        (None, ""),
        (3, "3"),
        ({"a": [1, None]}, '{"a":[1,null]}'),
        ([], "[]"),
        (Point(x=1), '{"x":1}'),
        ([Size(width=2)], '[{"width":2}]'),
        ([{"type": "text", "text": "a"}], [{"type": "text", "text": "a"}]),
        ([{"type": "car"}], '[{"type":"car"}]'),
        ("\ud800", "?"),
        ({"a": ["\ud800"]}, '{"a":["?"]}'),
    ],
)
async def test_what_is_returned_becomes_text_or_blocks(value: Any, content: Any) -> None:
    assert await done(lambda: value) == ("ok", content, None)


async def test_what_cannot_be_written_as_json_is_a_failure_of_the_tool() -> None:
    outcome, content, error = await done(object)
    assert (outcome, content) == ("failed", "the tool failed with PydanticSerializationError")
    assert error is not None


async def test_async_functions_and_objects_are_awaited_and_so_is_what_a_blocking_one_returns() -> None:
    async def run() -> str:
        return "async"

    class Runner:
        async def __call__(self) -> str:
            return "object"

    assert [(await done(each)).content for each in (run, Runner(), lambda: run())] == ["async", "object", "async"]


async def test_bound_arguments_win_over_the_models() -> None:
    run = tool(lambda root: root, bound={"root": "safe"})
    assert (await execute(run, {"root": "/"}, clock=SYSTEM_CLOCK, seconds=None)).content == "safe"


async def test_a_failure_without_a_word_still_says_something() -> None:
    def fail() -> None:
        raise ToolError

    assert (await done(fail)).content == "the tool failed, and did not say why"


async def test_a_tool_that_is_cancelled_from_within_fails() -> None:
    async def run() -> None:
        raise asyncio.CancelledError

    assert (await done(run)).outcome == "failed"


async def test_a_timeout_of_the_tools_own_is_a_failure_and_no_timeout_of_ours() -> None:
    async def run() -> None:
        raise TimeoutError("the database")

    executed = await execute(tool(run), {}, clock=ManualClock(), seconds=5)
    assert (executed.outcome, executed.content) == ("failed", "the tool failed with TimeoutError")


@pytest.mark.parametrize("error", [SystemExit, GeneratorExit])
async def test_a_tool_that_ends_the_program_only_fails(error: type[BaseException]) -> None:
    async def leave() -> None:
        raise error

    outcome, content, raised = await done(leave)
    assert (outcome, content, type(raised)) == ("failed", f"the tool failed with {error.__name__}", error)


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration])
async def test_what_a_tool_raises_in_its_thread_is_a_failure_whatever_it_is(error: type[BaseException]) -> None:
    def leave() -> None:
        raise error

    assert (await done(leave)).outcome == "failed"


async def test_a_tool_that_cancels_its_own_task_fails() -> None:
    async def run() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    assert (await done(run)).content == "the tool was cancelled from within"


class Stubborn:
    """A tool that goes on though it is cancelled, until it is let go."""

    def __init__(self) -> None:
        self.released = asyncio.Event()
        self.ended = asyncio.Event()

    async def __call__(self) -> None:
        while not self.released.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await self.released.wait()
        self.ended.set()


async def test_a_tool_that_swallows_its_cancellation_is_left_behind_when_its_time_is_up() -> None:
    clock, stubborn = ManualClock(), Stubborn()
    executed = await clock.run(execute(tool(stubborn), {}, clock=clock, seconds=5))
    assert executed.outcome == "timed_out"
    assert clock.monotonic() == 6
    assert not stubborn.ended.is_set()
    stubborn.released.set()
    await stubborn.ended.wait()


async def test_a_tool_that_swallows_its_cancellation_does_not_hold_up_who_cancels() -> None:
    clock, stubborn = ManualClock(), Stubborn()
    task = asyncio.create_task(execute(tool(stubborn), {}, clock=clock, seconds=None))
    await settle()
    task.cancel()
    await clock.advance(1)
    assert task.cancelled()
    stubborn.released.set()
    await stubborn.ended.wait()


async def test_a_tool_that_is_out_of_time_ends_what_it_holds_before_its_result_is_there() -> None:
    clock, ended = ManualClock(), []

    async def hang() -> None:
        try:
            await clock.sleep(1000)
        finally:
            await clock.sleep(0.5)
            ended.append(clock.monotonic())

    assert (await clock.run(execute(tool(hang), {}, clock=clock, seconds=5))).outcome == "timed_out"
    assert ended == [5.5]


async def test_blocks_are_cleaned_of_what_could_not_be_sent() -> None:
    blocks = [{"type": "text", "text": "a\ud800", "score": float("nan")}]
    assert (await done(lambda: blocks)).content == [{"type": "text", "text": "a?", "score": None}]
