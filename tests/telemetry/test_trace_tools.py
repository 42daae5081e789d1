"""The spans of runs of tools, and of each call of a tool within them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

import claudeprov
from claudeprov.errors import (
    ServerError,
)
from claudeprov.settings.tools import ToolsSettings
from claudeprov.testing.clock import settle
from claudeprov.tools.run import run_tools
from tests.telemetry.desk import HI, MODEL, Desk, attributes, collect, identity, parent
from tests.tools.answers import answer, call


class TestTools:
    async def run(self, desk: Desk, *answers: Any, with_content: bool = False, **options: Any) -> Any:
        clock = desk.clock

        @claudeprov.tool
        async def wait(seconds: float) -> str:
            """Wait."""
            self.current = trace.get_current_span()
            await clock.sleep(seconds)
            return "waited"

        @claudeprov.tool(effects={"write"})
        def delete(path: str) -> str:
            """Delete."""
            return path

        @claudeprov.tool
        def fail() -> str:
            """Fail."""
            raise ZeroDivisionError

        stream = run_tools(
            desk.provider(*answers),
            HI,
            [wait, delete, fail],
            clock=clock,
            notices=desk.notices,
            with_content=with_content,
            **options,
        )
        return await clock.run(collect(stream))

    async def test_a_run_is_an_internal_span_around_its_calls_and_its_tools(self) -> None:
        desk = Desk()
        await self.run(desk, answer(call("t1", "wait", {"seconds": 3})), "done")
        [run], [tool] = desk.named("invoke_agent"), desk.named("execute_tool")
        assert run.kind is tool.kind is SpanKind.INTERNAL
        assert {parent(span) for span in (*desk.named("chat"), tool)} == {identity(run)}
        assert run.parent is None
        assert dict(attributes(run)) == {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.request.model": MODEL,
            "claudeprov.tools.stopped": "end_turn",
            "claudeprov.tools.rounds": 2,
            "claudeprov.tools.calls": 1,
        }
        assert tool.name == "execute_tool wait"
        assert dict(attributes(tool)) == {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "wait",
            "gen_ai.tool.type": "function",
            "gen_ai.tool.call.id": "t1",
            "claudeprov.tool.round": 1,
            "claudeprov.tool.outcome": "ok",
            "claudeprov.tool.size": 6,
        }
        assert desk.at(tool.end_time) - desk.at(tool.start_time) == pytest.approx(3)
        assert desk.at(run.end_time) == pytest.approx(3)
        assert desk.spans._runs == desk.spans._tools == {}

    async def test_what_a_tool_does_is_within_its_span(self) -> None:
        desk = Desk()
        await self.run(desk, answer(call("t1", "wait", {"seconds": 1}), call("t2", "fail")), "done")
        tool = desk.named("execute_tool wait")[0]
        assert self.current.get_span_context().span_id == identity(tool)
        assert not trace.get_current_span().get_span_context().is_valid

    @pytest.mark.parametrize(
        ("asked", "outcome", "error"),
        [
            (call("t1", "fail"), "failed", "ZeroDivisionError"),
            (call("t1", "delete", {"path": "x"}), "denied", "denied"),
            (call("t1", "nothing"), "unknown", "unknown"),
            (call("t1", "wait", {"seconds": "x"}), "invalid", "invalid"),
            (call("t1", "wait", {"seconds": 99}), "timed_out", "timed_out"),
        ],
    )
    async def test_each_execution_is_there_whatever_came_of_it(self, asked: Any, outcome: str, error: str) -> None:
        desk = Desk()
        await self.run(desk, answer(asked), "done", settings=ToolsSettings(timeout=9))
        [tool] = desk.named("execute_tool")
        told = attributes(tool)
        assert (told["claudeprov.tool.outcome"], told["error.type"]) == (outcome, error)
        assert told["claudeprov.tool.size"] > 0
        assert tool.status.status_code is StatusCode.ERROR
        assert desk.named("invoke_agent")[0].status.status_code is StatusCode.UNSET

    async def test_a_name_or_an_argument_that_is_no_unicode_can_still_be_exported(self) -> None:
        desk = Desk(content=True)
        odd = [
            call("t\ud8001", "no\ud800thing"),
            call("t2", "wait", {"seconds": 1, "odd\ud800": 1}),
        ]
        await self.run(desk, answer(*odd), "do\ud800ne", with_content=True)
        for span in desk.finished:
            (span.name + span.to_json() + str(dict(attributes(span)))).encode()

    async def test_a_run_that_is_cancelled_ends_its_spans_and_none_is_an_error(self) -> None:
        desk = Desk()
        task = asyncio.ensure_future(self.run(desk, answer(call("t1", "wait", {"seconds": 99})), "done"))
        await settle()
        task.cancel()
        await settle()
        [run], [tool] = desk.named("invoke_agent"), desk.named("execute_tool")
        assert (attributes(run)["claudeprov.tools.stopped"], attributes(tool)["claudeprov.tool.outcome"]) == (
            "cancelled",
            "cancelled",
        )
        assert {span.status.status_code for span in desk.finished} == {StatusCode.UNSET}

    async def test_a_run_that_fails_is_an_error_by_its_code(self) -> None:
        desk = Desk()
        with pytest.raises(ServerError):
            await self.run(desk, ServerError("500"))
        [run] = desk.named("invoke_agent")
        assert (run.status.status_code, attributes(run)["error.type"]) == (StatusCode.ERROR, "server_error")

    @pytest.mark.parametrize("allowed", [False, True])
    async def test_arguments_and_results_are_told_only_where_content_is_allowed(self, allowed: bool) -> None:
        desk = Desk(content=allowed, content_limit=5)
        await self.run(desk, answer(call("t1", "wait", {"seconds": 1})), "done", with_content=allowed)
        [tool] = desk.named("execute_tool")
        told = {name: value for name, value in attributes(tool).items() if name.startswith("gen_ai.tool.call.")}
        content = {"gen_ai.tool.call.arguments": '{"sec…', "gen_ai.tool.call.result": "waite…"} if allowed else {}
        assert told == {"gen_ai.tool.call.id": "t1", **content}
