"""A server on loopback that answers as it is told, faults included."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self

End = Literal["clean", "short", "reset", "hang"]
"""How a body ends: as HTTP wants it; closed too early; with a reset; never."""


@dataclass
class Answer:
    """One answer; ``status`` 0 is none at all: the connection just ends."""

    body: bytes | Iterable[bytes] = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    end: End = "clean"


@dataclass
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


class Server:
    """Gives the n-th request the n-th of *answers*, and the last one to all that follow."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = answers
        self.asked: list[Asked] = []
        self.choose: Callable[[Asked], Answer] = self._next
        """Which answer a request gets."""
        self.hanging = asyncio.Event()
        """Set when an answer has come to where it hangs."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        self._connections: set[asyncio.Task[None]] = set()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while await self._answer(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client is gone
        finally:
            self._connections.discard(task)
            writer.close()

    def _next(self, asked: Asked) -> Answer:
        return self.answers[min(len(self.asked), len(self.answers) - 1)]

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; whether the connection can serve another."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        asked = Asked(method, path, headers, json.loads(body) if body else None)
        answer = self.choose(asked)
        self.asked.append(asked)
        if answer.status:
            writer.write(_head(answer))
            for piece in [answer.body] if isinstance(answer.body, bytes) else answer.body:
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b"")
                await writer.drain()
        if answer.end == "hang":
            self.hanging.set()
            await reader.read()
        elif answer.end == "reset":
            _reset_on_close(writer)
        elif answer.end == "clean" and answer.status:
            writer.write(b"0\r\n\r\n")
            await writer.drain()
            return True
        return False


def _head(answer: Answer) -> bytes:
    headers = {"content-type": "text/event-stream", "transfer-encoding": "chunked", **answer.headers}
    lines = [f"HTTP/1.1 {answer.status} Said", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join((*lines, "", "")).encode("latin-1")


def _reset_on_close(writer: asyncio.StreamWriter) -> None:
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
