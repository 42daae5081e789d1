"""A fake Messages API on loopback: what it answers is rendered once, so that a client's own cost stands out.

A request's prompt says what to answer: ``burst 10000`` is 10,000 text deltas in one write, each event in an HTTP chunk
of its own; ``paced 1000`` writes an event every millisecond. Run as a program it prints its port, and serves until it
is stopped.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

MODEL = "claude-haiku-4-5-20251001"
INPUT_TOKENS = 25
_WORDS = (
    "The",
    " quick",
    " brown fox",
    " jumps over",
    " a lazy",
    " naïve",
    " dog;\n\n",
    ' "then"',
    " 走る",
    " and so on",
)
_SSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
_LAST_HTTP_CHUNK = b"0\r\n\r\n"


@cache
def text(count: int) -> str:
    """What *count* deltas add up to."""
    return "".join(deltas(count))


def deltas(count: int) -> list[str]:
    return [_WORDS[number % len(_WORDS)] for number in range(count)]


class Server(asyncio.Protocol):
    """One connection, kept alive; one request at a time."""

    def __init__(self) -> None:
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        if not end or length is None or len(body) < int(length[1]):
            return
        self._received = b""
        request = json.loads(body)
        pace, count = request["messages"][0]["content"].split()
        if not request.get("stream"):
            self._transport.write(_plain(int(count)))
        elif pace == "burst":
            self._transport.write(_burst(int(count)))
        else:
            self._transport.write(_SSE)
            self._write_on(iter((*_framed(int(count)), _LAST_HTTP_CHUNK)))

    def _write_on(self, parts: Iterator[bytes]) -> None:
        part = next(parts, None)
        if part is not None and not self._transport.is_closing():
            self._transport.write(part)
            asyncio.get_running_loop().call_later(0.001, self._write_on, parts)


@cache
def events(count: int) -> tuple[bytes, ...]:
    """The events of a stream of so many deltas, as they are sent."""
    values: list[dict[str, Any]] = [
        {"type": "message_start", "message": _message([], None, 1)},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": delta}}
            for delta in deltas(count)
        ),
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": count},
        },
        {"type": "message_stop"},
    ]
    return tuple(f"event: {value['type']}\ndata: {_json(value)}\n\n".encode() for value in values)


@cache
def _framed(count: int) -> tuple[bytes, ...]:
    """The events, each as an HTTP chunk."""
    return tuple(b"%x\r\n%b\r\n" % (len(event), event) for event in events(count))


@cache
def _burst(count: int) -> bytes:
    return b"".join((_SSE, *_framed(count), _LAST_HTTP_CHUNK))


@cache
def _plain(count: int) -> bytes:
    body = _json(_message([{"type": "text", "text": text(count)}], "end_turn", count)).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def _message(content: list[dict[str, Any]], stop_reason: str | None, output_tokens: int) -> dict[str, Any]:
    return {
        "id": "msg_fake",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": {"input_tokens": INPUT_TOKENS, "output_tokens": output_tokens},
    }


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


async def serve() -> None:
    """Serve on a free port, and print it."""
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve())
