"""Calls of every kind: answered, refused, retried, broken off, and with tools, to a service on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import claudeprov
from claudeprov.errors import ProviderError
from claudeprov.testing import text_events
from tests.server import Answer, Asked, Server

MODELS = ("claude-sonnet-5-5", "claude-haiku-5-5")

OVERRIDES = (
    *("cassette=live", "endpoint=compatible", "model=sonnet", "retry=standard", "retry.base=0.001"),
    *("retry.overloaded_base=0.001", "breaker.failures=3", "breaker.open_for=300", "ratelimit=custom"),
    *("ratelimit.requests=1200", "ratelimit.burst=1", "budget=standard", "budget.day.tokens=1000000"),
    *("telemetry=prometheus", "telemetry.per_chunk=true"),
)


@claudeprov.tool
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


class Service(Server):
    """Answers by what the request says: ``tools``, or how it fails, ``twice`` and ``limited`` only at first."""

    def __init__(self) -> None:
        super().__init__()
        self.choose = self._by_text
        self.left = 500
        """Requests of the limit that its answers tell of."""
        self._refused: set[str] = set()

    def _by_text(self, asked: Asked) -> Answer:
        text = asked.body["messages"][-1]["content"]
        word = text.partition(" ")[0] if isinstance(text, str) else ""
        model = asked.body["model"]
        if word == "overloaded":
            return _refusal(529, "overloaded_error")
        if word == "limited" and text not in self._refused:
            self._refused.add(text)
            return _refusal(429, "rate_limit_error", {"retry-after-ms": "20"})
        if word == "twice" and text not in self._refused:
            self._refused.add(text)
            return _refusal(500, "api_error")
        if word == "invalid":
            return _refusal(400, "invalid_request_error")
        events = _tool_call() if word == "tools" else text_events(*["Hello, ", "how ", "are ", "you?"], model=model)
        events = [_with_usage(event) for event in events]
        if word == "broken":
            return Answer(_sse(events[:4]), end="short")
        self.left -= 1
        reset = (datetime.now(UTC) + timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        limits = {
            "anthropic-ratelimit-requests-limit": "1000",
            "anthropic-ratelimit-requests-remaining": str(self.left),
            "anthropic-ratelimit-requests-reset": reset,
        }
        return Answer([_sse([event]) for event in events], headers=limits)


async def calls(provider: claudeprov.AnthropicClaudeProvider, number: int) -> int:
    """Make some of each kind, and return how many they were; *number* is the round's."""
    await _send(provider, "hello", MODELS[1])  # closes the breaker
    plan = [("hello", model) for model in MODELS for _ in range(12)]
    plan += [(f"twice {number}", MODELS[0]), (f"limited {number}", MODELS[0])]
    plan += [("invalid", MODELS[1]), ("broken", MODELS[1])]
    await asyncio.gather(*(_send(provider, text, model) for text, model in plan))
    async with provider.send_message(asks("hello", MODELS[0])) as stream:
        await anext(aiter(stream))
    run = await provider.run_tools(asks("tools", MODELS[0]), [add])
    return len(plan) + 2 + run.rounds


async def break_service(provider: claudeprov.AnthropicClaudeProvider) -> int:
    """Fail until the breaker opens."""
    for _ in range(3):
        await _send(provider, "overloaded", MODELS[1])
    return 3


async def _send(provider: claudeprov.AnthropicClaudeProvider, text: str, model: str) -> None:
    with contextlib.suppress(ProviderError):  # it is what is counted
        await provider.send_message(asks(text, model))


def asks(text: str, model: str) -> dict[str, Any]:
    """A request."""
    return {"model": model, "max_tokens": 100, "messages": [{"role": "user", "content": text}]}


def _refusal(status: int, kind: str, headers: Mapping[str, str] | None = None) -> Answer:
    body = json.dumps({"type": "error", "error": {"type": kind, "message": "No."}})
    return Answer(body.encode(), status, {"content-type": "application/json", **(headers or {})})


def _tool_call() -> list[dict[str, Any]]:
    start, *_, delta, end = text_events("x", stop_reason="tool_use")
    block = {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {}}
    written = {"type": "input_json_delta", "partial_json": '{"a": 1, "b": 2}'}
    return [
        start,
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "content_block_delta", "index": 0, "delta": written},
        {"type": "content_block_stop", "index": 0},
        delta,
        end,
    ]


def _with_usage(event: dict[str, Any]) -> dict[str, Any]:
    if event["type"] != "message_start":
        return event
    usage = {
        "input_tokens": 400,
        "cache_read_input_tokens": 1500,
        "cache_creation_input_tokens": 100,
        "output_tokens": 1,
    }
    return event | {"message": event["message"] | {"usage": usage}}


def _sse(events: Sequence[Mapping[str, Any]]) -> bytes:
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events).encode()
