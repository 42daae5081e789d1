"""One call of a tool: made within its time, its result or its failure put into words for the model."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from pydantic_core import to_jsonable_python

from claudeprov.clock import Clock, within
from claudeprov.thread import in_thread
from claudeprov.tools.result import Content, ToolOutcome
from claudeprov.tools.tool import Arguments, Tool, ToolError

_BLOCKS = frozenset(("text", "image", "document", "search_result", "tool_reference"))
"""Types of the content blocks that a result may hold."""
_GRACE = 1.0
"""Seconds in which an async tool that is stopped may end what it holds."""
_left: set[asyncio.Task[Executed]] = set()
"""Tools that were stopped and go on; the event loop would forget them halfway."""


class _TookTooLongError(Exception):
    """The time of a call is up."""


class Executed(NamedTuple):
    """What came of a call."""

    outcome: ToolOutcome
    content: Content
    error: BaseException | None = None


async def execute(tool: Tool, arguments: Arguments, *, clock: Clock, seconds: float | None) -> Executed:
    """Call what runs *tool* with valid *arguments*.

    A blocking function that is out of time, or cancelled, goes on in its thread, and what it returns is lost; so is
    that of an async one that has not ended a second after it was cancelled.

    Args:
        tool: One that is run here.
        arguments: What its ``parse`` returned.
        clock: Whose seconds count.
        seconds: As many as it may take; ``None``: as many as it takes.
    """
    task = asyncio.create_task(_executed(tool, arguments))
    try:
        if seconds is None:
            await asyncio.wait([task])
        else:
            await within(clock, seconds, asyncio.wait([task]), _TookTooLongError)
        return task.result()
    except _TookTooLongError as error:
        said = f"the tool was stopped, for it took longer than {seconds:g} s; ask it for less, or do without"
        return Executed("timed_out", said, error)
    finally:
        if not task.done():
            await _stop(task, clock)


async def _stop(task: asyncio.Task[Executed], clock: Clock) -> None:
    """Cancel *task*, and leave it behind if it does not end."""
    _left.add(task)
    task.add_done_callback(_left.discard)
    task.cancel()
    with suppress(_TookTooLongError):
        await within(clock, _GRACE, asyncio.wait([task]), _TookTooLongError)


async def _executed(tool: Tool, arguments: Arguments) -> Executed:
    try:
        return Executed("ok", _content(await _called(tool, arguments)))
    except ToolError as error:
        return Executed("failed", str(error) or "the tool failed, and did not say why", error)
    except asyncio.CancelledError as error:
        return Executed("failed", "the tool was cancelled from within", error)
    except KeyboardInterrupt:  # no tool's: those in threads get none
        raise
    except BaseException as error:  # it is the user's own code; what it says is not meant for the model
        return Executed("failed", f"the tool failed with {type(error).__name__}", error)


async def _called(tool: Tool, arguments: Arguments) -> Any:
    assert tool.run is not None
    run, arguments = tool.run, {**arguments, **tool.bound}
    if inspect.iscoroutinefunction(run) or inspect.iscoroutinefunction(type(run).__call__):
        return await run(**arguments)
    value = await in_thread(lambda: run(**arguments), f"tool {tool.name}")
    return await value if inspect.isawaitable(value) else value


def _content(value: Any) -> Content:
    if value is None:
        return ""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()  # a lone surrogate could not be sent
    if isinstance(value, list) and value and all(_is_block(item) for item in value):
        blocks: list[dict[str, Any]] = sendable(value)
        return blocks
    written = json.dumps(to_jsonable_python(value, by_alias=True), ensure_ascii=False, separators=(",", ":"))
    return written.encode("utf-8", "replace").decode()


def sendable(value: Any) -> Any:
    """Copy the JSON *value*, without what could not be sent: a lone surrogate becomes ``?``, no number ``null``."""
    written = json.dumps(value, ensure_ascii=False, default=dict).encode("utf-8", "replace")
    return json.loads(written, parse_constant=lambda _: None)


def _is_block(item: Any) -> bool:
    return isinstance(item, Mapping) and item.get("type") in _BLOCKS
