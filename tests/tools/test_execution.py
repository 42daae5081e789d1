from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel

from claudeprov.clock import SYSTEM_CLOCK
from claudeprov.testing import ManualClock
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
