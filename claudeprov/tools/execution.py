"""One call of a tool: made within its time, its result or its failure put into words for the model."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic_core import to_json

from claudeprov.clock import Clock, within
from claudeprov.tools.result import Content, ToolOutcome
from claudeprov.tools.thread import in_thread
from claudeprov.tools.tool import Arguments, Tool, ToolError

_BLOCKS = frozenset(("text", "image", "document", "search_result", "tool_reference"))
"""Types of the content blocks that a result may hold."""


class _TookTooLongError(Exception):
    """The time of a call is up."""


class Executed(NamedTuple):
    """What came of a call."""

    outcome: ToolOutcome
    content: Content
    error: BaseException | None = None


async def execute(tool: Tool, arguments: Arguments, *, clock: Clock, seconds: float | None) -> Executed:
    """Call what runs *tool* with valid *arguments*.

    A blocking function that is out of time, or cancelled, goes on in its thread, and what it returns is lost.

    Args:
        tool: One that is run here.
        arguments: What its ``parse`` returned.
        clock: Whose seconds count.
        seconds: As many as it may take; ``None``: as many as it takes.
    """
    try:
        if seconds is None:
            value = await _called(tool, arguments)
        else:
            value = await within(clock, seconds, _called(tool, arguments), _TookTooLongError)
        return Executed("ok", _content(value))
    except ToolError as error:
        return Executed("failed", str(error) or "the tool failed, and did not say why", error)
    except _TookTooLongError as error:
        said = f"the tool was stopped, for it took longer than {seconds:g} s; ask it for less, or do without"
        return Executed("timed_out", said, error)
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        return Executed("failed", "the tool was cancelled from within", error)
    except Exception as error:  # it is the user's own code; what it says is not meant for the model
        return Executed("failed", f"the tool failed with {type(error).__name__}", error)


async def _called(tool: Tool, arguments: Arguments) -> Any:
    assert tool.run is not None
    run, arguments = tool.run, {**arguments, **tool.bound}
    if inspect.iscoroutinefunction(run) or inspect.iscoroutinefunction(type(run).__call__):
        return await run(**arguments)
    value = await in_thread(lambda: run(**arguments), tool.name)
    return await value if inspect.isawaitable(value) else value


def _content(value: Any) -> Content:
    if value is None:
        return ""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()  # a lone surrogate could not be sent
    if isinstance(value, list) and value and all(_is_block(item) for item in value):
        return value
    return to_json(value, by_alias=True).decode()


def _is_block(item: Any) -> bool:
    return isinstance(item, Mapping) and item.get("type") in _BLOCKS
