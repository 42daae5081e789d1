"""Small recordings, made by the tests that read them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vcr.cassette import Cassette
from vcr.request import Request

from claudeprov.cassette.file import new_cassette, save

REQUEST = {"model": "qwen", "max_tokens": 9, "stream": True, "messages": [{"role": "user", "content": "Why?"}]}
TEXT = {"type": "text", "text": ""}
TOOL = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}


def block(start: dict[str, Any], *deltas: dict[str, Any], index: int = 0) -> list[dict[str, Any]]:
    """The events of one content block."""
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def text(*pieces: str, index: int = 0) -> list[dict[str, Any]]:
    """A block of text that comes in *pieces*."""
    return block(TEXT, *({"type": "text_delta", "text": piece} for piece in pieces), index=index)


def answer(
    *blocks: list[dict[str, Any]], stop: str = "end_turn", usage: dict[str, Any] | None = None, **message: Any
) -> list[dict[str, Any]]:
    """The events of a whole stream; *message* are more fields of it."""
    start = {"id": "msg_1", "type": "message", "role": "assistant", "model": "served", "content": []}
    start |= {"stop_reason": None, "usage": {"input_tokens": 3, "output_tokens": 0}}
    return [
        {"type": "message_start", "message": start | message},
        *(event for events in blocks for event in events),
        {"type": "message_delta", "delta": {"stop_reason": stop}, "usage": usage or {"output_tokens": 2}},
        {"type": "message_stop"},
    ]


def exchange(
    body: Sequence[dict[str, Any]] | dict[str, Any] | bytes,
    request: dict[str, Any] = REQUEST,
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
    times: Sequence[int] = (),
    **details: Any,
) -> tuple[Request, dict[str, Any]]:
    """One interaction: a stream of events, a JSON object, or bytes; each event is a chunk, *times* in microseconds."""
    chunks = [b"data: %s\n\n" % json.dumps(event).encode() for event in body] if isinstance(body, list) else [body]
    parts = [json.dumps(part).encode() if isinstance(part, dict) else part for part in chunks if part]
    known = {
        "format": 1,
        "recorded_at": "2026-11-22T10:00:00Z",
        "server": "https://api.anthropic.com",
        "versions": {"claudeprov": "0.1.0", "api": "2026-10-21"},
        "end": "complete",
        "model": "qwen",
        "chunks": " ".join(str(len(part)) for part in parts),
        "times": " ".join(map(str, times or [1000] * (len(parts) + 2))),
    }
    kind = "text/event-stream" if isinstance(body, list) else "application/json"
    response = {
        "status": {"code": status, "message": "OK"},
        "headers": {"content-type": [kind]},
        "claudeprov": known | details,
        "body": {"string": b"".join(parts)},
    }
    return Request("POST", "https://x/v1/messages", json.dumps(request).encode(), headers or {}), response


def recording(*exchanges: tuple[Request, dict[str, Any]], path: Path = Path("x.yaml")) -> Cassette:
    """A cassette that is not written."""
    cassette = new_cassette(path)
    for request, response in exchanges:
        cassette.append(request, response)
    return cassette


def written(path: Path, *exchanges: tuple[Request, dict[str, Any]]) -> Path:
    """A cassette that is written."""
    save(recording(*exchanges, path=path))
    return path
