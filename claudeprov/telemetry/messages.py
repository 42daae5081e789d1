"""Prompts and answers in the form that OpenTelemetry's generative-AI conventions give them: messages with parts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from claudeprov.request import MessageRequest
from claudeprov.response import MessageResponse
from claudeprov.telemetry.scrub import scrubbed, without_secrets_within

_FINISH_REASONS = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "tool_use": "tool_call"}
_TOLD = {"text": "content", "reasoning": "content", "tool_call": "arguments", "tool_call_response": "response"}
"""The field of a part that holds content."""


def finish_reason(stop_reason: str | None) -> str:
    """The conventions' word for why the model stopped, the API's where they have none; ``error`` where it did not."""
    return "error" if stop_reason is None else _FINISH_REASONS.get(stop_reason, stop_reason)


def content_of(request: MessageRequest, response: MessageResponse, limit: int) -> dict[str, str]:
    """The attributes that hold the content of a call, as JSON.

    Args:
        request: What was asked.
        response: What came, if anything.
        limit: Characters that are told of each: what is oldest is left out, all is masked.
    """
    attributes = {"gen_ai.input.messages": json.dumps(_messages(request.messages, limit))}
    if system := getattr(request, "system", None):
        [told] = _messages([{"content": system}], limit)
        attributes["gen_ai.system_instructions"] = json.dumps(told["parts"])
    if response.content:
        [answer] = _messages([{"role": "assistant", "content": response.content}], limit)
        answer["finish_reason"] = finish_reason(response.stop_reason)
        attributes["gen_ai.output.messages"] = json.dumps([answer])
    return attributes


def _messages(messages: Sequence[Mapping[str, Any]], left: int) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = []
    for message in reversed(messages):
        parts: list[dict[str, Any]] = []
        for part in reversed(_parts(message.get("content"))):
            if left <= 0:
                break
            if field := _TOLD.get(part["type"]):
                part[field] = scrubbed(part[field], left)
                left -= len(part[field])
            parts.append(part)
        if left <= 0 and not parts:
            break
        told.append(without_secrets_within({"role": message.get("role"), "parts": parts[::-1]}))
    return told[::-1]


def _parts(content: Any) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "content": content}]
    return [_part(block) for block in content if isinstance(block, Mapping)] if isinstance(content, list) else []


def _part(block: Mapping[str, Any]) -> dict[str, Any]:
    match block.get("type"):
        case "text":
            return {"type": "text", "content": block.get("text")}
        case "thinking":
            return {"type": "reasoning", "content": block.get("thinking")}
        case "tool_use":
            return {
                "type": "tool_call",
                "id": block.get("id"),
                "name": block.get("name"),
                "arguments": block.get("input"),
            }
        case "tool_result":
            return {"type": "tool_call_response", "id": block.get("tool_use_id"), "response": block.get("content")}
        case kind:
            return {"type": f"anthropic_{kind}"}
