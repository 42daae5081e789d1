"""A server on loopback whose answers a test scripts, piece by piece."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

Script = Callable[["Answer"], Awaitable[None]]


class Answer:
    """One answer, as the test sends it. Without ``end`` the connection is reset in the middle of the body."""

    def __init__(self, body: bytes, writer: asyncio.StreamWriter) -> None:
        self.request_body = body
        self._writer = writer

    async def start(self, status: int = 200, **headers: str) -> None:
        headers = {"content-type": "text/event-stream", **headers}
        lines = [f"HTTP/1.1 {status} OK", "transfer-encoding: chunked", "connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self._writer.write("\r\n".join([*lines, "", ""]).encode())
        await self._writer.drain()

    async def send(self, data: bytes) -> None:
        self._writer.write(b"%x\r\n%s\r\n" % (len(data), data))
        await self._writer.drain()

    async def end(self) -> None:
        self._writer.write(b"0\r\n\r\n")
        await self._writer.drain()


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Script], Awaitable[str]]]:
    servers: list[asyncio.Server] = []

    async def start(script: Script) -> str:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
            await script(Answer(await reader.readexactly(int(length[1])) if length else b"", writer))
            writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        servers.append(server)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    yield start
    for server in servers:
        server.close()
        await server.wait_closed()
