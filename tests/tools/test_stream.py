"""A run of tools keeps to what a stream promises its reader."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any

import pytest

import claudeprov
from claudeprov.errors import StreamInterruptedError
from claudeprov.settings.tools import ToolsSettings
from claudeprov.testing import ManualClock, ScriptedProvider
from claudeprov.testing.scripted import text_events
from claudeprov.tools.run import run_tools
from tests.tools.answers import QUESTION, answer, call

HALF = [*text_events("begun")[:3], 1000.0]
"""An answer that stops in the middle of its text."""
CALL = answer(call("1", "quick"), call("2", "hang"))


class Hanging:
    """A tool that hangs until it is cancelled."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.cancelled = False

    async def hang(self) -> None:
        """Hang."""
        self.begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise


@claudeprov.tool
async def quick() -> str:
    """Be quick."""
    return "quick"


async def test_nothing_is_sent_before_it_is_used() -> None:
    provider = ScriptedProvider("hi")
    stream = run_tools(provider, QUESTION)
    assert (provider.requests, stream.run.stopped, stream.active) == ([], None, False)
    assert (await stream).text == "hi"


async def test_it_can_be_read_as_text() -> None:
    provider = ScriptedProvider(answer(call("1", "quick")), text_events("o", "k"))
    assert [text async for text in run_tools(provider, QUESTION, [quick]).text()] == ["o", "k"]


async def test_what_was_done_is_there_at_any_time() -> None:
    provider = ScriptedProvider(answer(call("1", "quick")), "done")
    async with run_tools(provider, QUESTION, [quick]) as stream:
        async for chunk in stream:
            if chunk.type == "tool_result":
                assert stream.run.stopped is None
                assert (stream.run.rounds, stream.active) == (1, True)
    assert (stream.run.stopped, stream.active) == ("end_turn", False)


@pytest.mark.parametrize("how", ["cancel", "task"])
async def test_cancelled_while_tools_run_it_stops_them_and_tells_what_was_done(how: str) -> None:
    hanging = Hanging()
    stream = run_tools(ScriptedProvider(CALL), QUESTION, [quick, claudeprov.tool(hanging.hang)])
    task = asyncio.ensure_future(_awaited(stream))
    await hanging.begun.wait()
    if how == "cancel":
        await stream.cancel()
        with pytest.raises(StreamInterruptedError, match="cancelled before its end") as caught:
            await task
        assert caught.value.partial == stream.run.response
    else:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert hanging.cancelled
    run = stream.run
    assert (run.stopped, [result.outcome for result in run.calls]) == ("cancelled", ["ok", "cancelled"])
    assert [block.get("is_error") for block in run.messages[-1]["content"]] == [None, True]


async def test_a_loop_over_it_ends_where_it_is_cancelled_in_the_middle_of_an_answer() -> None:
    clock = ManualClock()
    provider = ScriptedProvider(HALF, clock=clock)
    stream = run_tools(provider, QUESTION, [quick], clock=clock)
    async for chunk in stream:
        if chunk.text:
            await stream.cancel()
    run = stream.run
    assert (run.stopped, run.text, run.messages) == ("cancelled", "begun", tuple(QUESTION["messages"]))
    assert provider.streams[0].outcome is not None
    assert provider.streams[0].outcome.kind == "cancelled"


async def test_left_early_it_is_cancelled() -> None:
    hanging = Hanging()
    async with run_tools(ScriptedProvider(CALL), QUESTION, [quick, claudeprov.tool(hanging.hang)]) as stream:
        async for chunk in stream:
            if chunk.type == "tool_result":
                break
    assert hanging.cancelled
    assert stream.run.stopped == "cancelled"


async def test_abandoned_by_a_bare_break_it_is_closed_with_a_warning() -> None:
    provider = ScriptedProvider(text_events("a", "b"))
    stream = run_tools(provider, QUESTION)
    chunks = aiter(stream)
    await anext(chunks)
    with pytest.warns(ResourceWarning, match="abandoned"):
        await chunks.aclose()
    gc.collect()
    assert stream.run.stopped == "cancelled"
    assert provider.streams[0].outcome is not None


async def test_a_stream_that_another_cancels_ends_the_run() -> None:
    clock = ManualClock()

    class Kept(ScriptedProvider):
        def send_message(self, *arguments: Any, **keywords: Any) -> claudeprov.MessageStream:
            self.sent = super().send_message(*arguments, **keywords)
            return self.sent

    provider = Kept(HALF, clock=clock)
    stream = run_tools(provider, QUESTION, clock=clock)
    async for chunk in stream:
        if chunk.text:
            await provider.sent.cancel()
    assert (stream.run.stopped, stream.run.text) == ("cancelled", "begun")


async def test_a_blocking_function_runs_in_a_thread_and_nobody_waits_for_one_that_is_stuck() -> None:
    release = threading.Event()

    @claudeprov.tool
    def stuck() -> str:
        """Be stuck."""
        assert threading.current_thread() is not threading.main_thread()
        release.wait()
        return "too late"

    clock = ManualClock()
    provider = ScriptedProvider(answer(call("1", "stuck")), "I see", clock=clock)
    stream = run_tools(provider, QUESTION, [stuck], settings=ToolsSettings(timeout=3), clock=clock)
    run = await clock.run(_awaited(stream))
    release.set()
    assert (run.calls[0].outcome, run.text) == ("timed_out", "I see")


async def _awaited(stream: claudeprov.ToolStream) -> claudeprov.ToolRun:
    return await stream
