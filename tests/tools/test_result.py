from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from claudeprov.response import MessageResponse, Timing
from claudeprov.tools.result import ToolResult, ToolRun

AT = Timing(datetime(2026, 11, 1, tzinfo=UTC), 0, 0, None, 1)


def answered(usage: dict[str, Any], model: str = "claude-haiku-5-5", stop: str | None = "end_turn") -> MessageResponse:
    return MessageResponse({"model": model, "usage": usage, "content": [], "stop_reason": stop}, AT)


def run(*responses: MessageResponse) -> ToolRun:
    return ToolRun("end_turn", responses, (), ())


def test_usage_is_summed_over_rounds_by_name_however_deep() -> None:
    one = {"input_tokens": 3, "server_tool_use": {"web_search_requests": 1}, "service_tier": "standard", "cache": None}
    two = {"input_tokens": 4, "server_tool_use": {"web_search_requests": 2}, "iterations": [1], "cache": 5}
    three = {"input_tokens": None, "iterations": [2], "service_tier": "priority"}
    assert run(answered(one), answered(two), answered(three)).usage.raw == {
        "input_tokens": 7,
        "server_tool_use": {"web_search_requests": 3},
        "service_tier": "priority",
        "cache": 5,
        "iterations": [1, 2],
    }


def test_cost_is_summed_over_rounds_and_unknown_where_that_of_a_round_is() -> None:
    known = answered({"input_tokens": 10, "output_tokens": 2})
    assert run(known, known).cost.total_usd == 2 * (known.cost.total_usd or 0) > Decimal(0)
    assert run(known, answered({"input_tokens": 1}, model="nobody")).cost.total_usd is None


def test_a_run_that_has_not_begun_has_used_nothing_and_its_cost_is_unknown() -> None:
    nothing = ToolRun(None, (), (), ())
    assert (nothing.usage.raw, nothing.response, nothing.text, nothing.rounds) == ({}, None, "", 0)
    assert nothing.cost.total_usd is None


def test_only_a_result_that_is_one_says_so() -> None:
    done = ToolResult(1, "id", "name", {}, "ok", "text", 0.1)
    assert done.block() == {"type": "tool_result", "tool_use_id": "id", "content": "text"}
    failed = ToolResult(1, "id", "name", {}, "timed_out", [{"type": "text", "text": "late"}], 0.1)
    assert failed.block()["is_error"] is True
    assert (done.size, failed.size) == (4, len("{'type': 'text', 'text': 'late'}") + 2)
