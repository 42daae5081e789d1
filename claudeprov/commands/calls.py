"""Calls of tools, as ``claudeprov chat`` tells of them, and asks for them."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from typing import Any

from claudeprov.commands.terminal import printable
from claudeprov.tools.permission import PermissionRequest
from claudeprov.tools.result import ToolResult, ToolRun

_LONGEST = 100
"""Characters of a call's arguments that are shown."""


async def ask_on_terminal(request: PermissionRequest) -> bool:
    """Ask the user whether a call may be made; anything but yes is no."""
    effects = ", ".join(sorted(request.effects))
    sys.stderr.write(printable(f"run {_call(request.name, request.arguments)} ({effects})? [y/N] ", sys.stderr))
    sys.stderr.flush()
    return (await _typed_line()).strip().lower() in ("y", "yes")


async def _typed_line() -> str:
    """Read a line from the terminal once there is one; no thread, which would take the next line if it were left."""
    loop, typed = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin, typed.set)
    try:
        await typed.wait()
    finally:
        loop.remove_reader(sys.stdin)
    return sys.stdin.readline()


def told(result: Mapping[str, Any], arguments: Mapping[str, Any] | None) -> str:
    """Tell of a call, by the data of its ``tool_result`` chunk, in one line."""
    content = result["content"]
    size = f"{len(content):,} characters" if isinstance(content, str) else f"{len(content):,} blocks"
    came = size if result["outcome"] == "ok" else f"{result['outcome']}: {_line(str(content))}"
    return f"{_call(result['name'], arguments)}: {came}, {result['seconds']:.2f} s"


def summary(run: ToolRun) -> str:
    """How many rounds and calls it took, and why it stopped where the model was not done."""
    failed = sum(result.is_error for result in run.calls)
    calls = f"{_count(len(run.calls), 'call')} of tools" + (f", {failed} in vain" if failed else "")
    stopped = "" if run.stopped == "end_turn" else f"; stopped: {run.stopped}"
    return f"{_count(run.rounds, 'round')}, {calls}{stopped}"


def document(run: ToolRun) -> dict[str, Any]:
    """The run as JSON."""
    return {
        "stopped": run.stopped,
        "error": None if run.error is None else run.error.code,
        "rounds": run.rounds,
        "calls": [_document(result) for result in run.calls],
        "messages": run.messages,
        "usage": run.usage.raw,
    }


def _document(result: ToolResult) -> dict[str, Any]:
    names = ("round", "id", "name", "arguments", "outcome", "is_error", "content", "seconds", "size")
    return {name: getattr(result, name) for name in names}


def _call(name: str, arguments: Mapping[str, Any] | None) -> str:
    return f"{name}({_line(', '.join(f'{key}={json.dumps(value)}' for key, value in (arguments or {}).items()))})"


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
