"""Prompts and answers on spans: none by default, and where they are allowed in the conventions' form."""

from __future__ import annotations

import json
from typing import Any

import pytest

from claudeprov.errors import (
    StreamInterruptedError,
)
from tests.telemetry.desk import OPEN, START, Desk, attributes, text

SECRET = "sk-" + "ant-api03-" + "x" * 40


async def test_none_is_told_by_default() -> None:
    desk = Desk()
    await desk.ask(
        "a hidden answer", system="a hidden rule", stop_sequences=["hidden"], **messages("a hidden question")
    )
    assert "hidden" not in "".join(span.to_json() for span in desk.finished)


async def test_where_it_is_allowed_it_has_the_conventions_form() -> None:
    desk = Desk(content=True)
    question = [
        {"role": "user", "content": "How warm?"},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Ask.", "signature": "s"},
                {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Oslo"}},
            ],
        },
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "4"}, {"type": "image"}],
        },
    ]
    await desk.ask("4 °C", system=[{"type": "text", "text": "Be brief."}], messages=question)
    told = attributes(desk.call)
    assert json.loads(told["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "How warm?"}]},
        {
            "role": "assistant",
            "parts": [
                {"type": "reasoning", "content": "Ask."},
                {"type": "tool_call", "id": "t1", "name": "weather", "arguments": '{"city": "Oslo"}'},
            ],
        },
        {
            "role": "user",
            "parts": [{"type": "tool_call_response", "id": "t1", "response": "4"}, {"type": "anthropic_image"}],
        },
    ]
    assert json.loads(told["gen_ai.system_instructions"]) == [{"type": "text", "content": "Be brief."}]
    assert json.loads(told["gen_ai.output.messages"]) == [
        {"role": "assistant", "parts": [{"type": "text", "content": "4 °C"}], "finish_reason": "stop"}
    ]


async def test_it_is_cut_and_the_latest_of_a_prompt_is_kept() -> None:
    desk = Desk(content=True, content_limit=10)
    turns = [{"role": role, "content": role[0] * 8} for role in ("user", "assistant", "user")]
    await desk.ask("x" * 50, messages=turns)
    told = attributes(desk.call)
    kept = json.loads(told["gen_ai.input.messages"])
    assert [message["parts"][0]["content"] for message in kept] == ["aa…", "uuuuuuuu"]
    assert json.loads(told["gen_ai.output.messages"])[0]["parts"][0]["content"] == "x" * 10 + "…"


async def test_a_secret_in_it_is_masked() -> None:
    desk = Desk(content=True)
    await desk.ask(f"It is {SECRET}", system=SECRET, **messages(f"Is it {SECRET}?"))
    assert SECRET not in "".join(span.to_json() for span in desk.finished)
    assert "**********" in attributes(desk.call)["gen_ai.output.messages"]


async def test_what_there_is_of_a_broken_answer_is_told() -> None:
    desk = Desk(content=True)
    with pytest.raises(StreamInterruptedError):
        await desk.ask([START, OPEN, text("Hel"), StreamInterruptedError("broken off")])
    [said] = json.loads(attributes(desk.call)["gen_ai.output.messages"])
    assert said == {"role": "assistant", "parts": [{"type": "text", "content": "Hel"}], "finish_reason": "error"}


def messages(*texts: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text} for text in texts]}
