"""Calls with all that metrics are about: they succeed, fail, retry, break off, wait, call tools, trip the breaker."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import httpx2

import claudeprov
from claudeprov.errors import ProviderError
from claudeprov.provider import AnthropicClaudeProvider
from claudeprov.testing import ManualClock
from claudeprov.testing.scripted import text_events

MODEL = "claude-haiku-4-5-20251001"
ROUTE = "anthropic/haiku-4-5"
ALL = (
    *("model=claude-haiku-4-5", "cassette=live", "ledger=off", "telemetry.per_chunk=true", "budget=standard"),
    *("ratelimit=custom", "ratelimit.requests=6", "breaker.failures=2", "retry.max_attempts=2"),
    "resume=off",
)
"""What it takes for every metric to have something to tell."""


class Api(httpx2.AsyncBaseTransport):
    """Answers as a request's first prompt says."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.content)
        said, *further = body["messages"]
        match said["content"]:
            case "refused" if body["model"] == MODEL:
                start, *_, stopped, end = _events(stop_reason="refusal")
                return _stream([start, stopped, end])
            case "refused":
                return _stream(_events(model=body["model"]))
            case "dear" if body["model"] == MODEL:
                return _error(529, "overloaded_error")
            case "plain":
                return httpx2.Response(200, json=_message())
            case "limited" if not getattr(self, "has_limited", False):
                self.has_limited = True
                return _error(429, "rate_limit_error", {"retry-after": "3"})
            case "down":
                return _error(529, "overloaded_error")
            case "cut":
                return _stream(_events()[:4])
            case "tool" if not further:
                tool = {"type": "tool_use", "id": "toolu_1", "name": "clock", "input": {}}
                events = _events(stop_reason="tool_use")
                return _stream(
                    [events[0], {"type": "content_block_start", "index": 0, "content_block": tool}, *events[-3:]]
                )
        return _stream(_events())


def _message() -> dict[str, Any]:
    start, *_ = _events()
    return {**start["message"], "content": [{"type": "text", "text": "abc"}], "stop_reason": "end_turn"}


def _events(stop_reason: str = "end_turn", model: str = MODEL) -> list[dict[str, Any]]:
    events = text_events("a", "b", "c", model=model, stop_reason=stop_reason)
    used = {"input_tokens": 100, "cache_read_input_tokens": 300, "cache_creation_input_tokens": 600, "output_tokens": 1}
    events[0]["message"]["usage"] = used
    events[-2]["usage"] = used | {"output_tokens": 50}
    return events


def _stream(events: list[dict[str, Any]]) -> httpx2.Response:
    told = {
        f"anthropic-ratelimit-requests-{name}": value
        for name, value in (("limit", "50"), ("remaining", "49"), ("reset", "2026-01-01T01:00:00Z"))
    }
    body = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
    return httpx2.Response(200, headers={"content-type": "text/event-stream", **told}, content=body)


def _error(status: int, kind: str, headers: dict[str, str] | None = None) -> httpx2.Response:
    return httpx2.Response(status, headers=headers, json={"type": "error", "error": {"type": kind, "message": "no"}})


class Scenario:
    """A provider on a clock of its own, and calls of it."""

    def __init__(self, *overrides: str) -> None:
        self.clock = ManualClock()
        settings = claudeprov.open_provider([*ALL, *overrides]).settings
        self.provider = AnthropicClaudeProvider(settings, clock=self.clock, transport=Api())

    async def ask(self, prompt: str, **request: Any) -> None:
        """Make a call; it may fail."""
        with suppress(ProviderError):
            await self.clock.run(_read(self.provider.send_message(_request(prompt) | request)))

    async def play(self) -> None:
        """Make all of them."""
        for prompt in ("fine", "fine", "limited", "cut"):
            await self.ask(prompt)

        @claudeprov.tool
        async def clock() -> str:
            """What time it is."""
            await self.clock.sleep(2)
            return "noon"

        await self.clock.run(_read(self.provider.run_tools(_request("tool"), [clock])))
        await self.ask("down")
        await self.ask("fine")


def _request(prompt: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": prompt}], "max_tokens": 200}


async def _read(stream: Any) -> None:
    async for _ in stream:
        pass
