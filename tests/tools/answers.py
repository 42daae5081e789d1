"""Scripted answers that call tools, and what the tests' tools do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from claudeprov.testing.scripted import text_events

QUESTION = {"messages": [{"role": "user", "content": "What is 1 + 2?"}], "max_tokens": 100}
"""A request."""

Block = Sequence[dict[str, Any]]
"""A content block: how it starts, and its deltas."""


def call(id: str, name: str, arguments: Any = None, **fields: Any) -> Block:
    """A call of a tool; a text as its *arguments* is sent as it is."""
    written = arguments if isinstance(arguments, str) else json.dumps(arguments or {})
    return [
        {"type": "tool_use", "id": id, "name": name, "input": {}, **fields},
        {"type": "input_json_delta", "partial_json": written},
    ]


def thinking(text: str, signature: str) -> Block:
    """A block of thinking."""
    return [
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": text},
        {"type": "signature_delta", "signature": signature},
    ]


def answer(*blocks: Block, stop: str = "tool_use", **message: Any) -> list[dict[str, Any]]:
    """The events of a message that holds *blocks*: 1 input token, 1 output token."""
    start, *_, delta, end = text_events("x", stop_reason=stop)
    events = [start]
    for index, (content, *deltas) in enumerate(blocks):
        events.append({"type": "content_block_start", "index": index, "content_block": content})
        events += ({"type": "content_block_delta", "index": index, "delta": each} for each in deltas)
        events.append({"type": "content_block_stop", "index": index})
    return [*events, delta | {"delta": delta["delta"] | message}, end]


def results(request: Any) -> list[dict[str, Any]]:
    """The blocks of a request's last message."""
    return request.messages[-1]["content"]
