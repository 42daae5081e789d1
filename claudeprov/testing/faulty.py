"""A network that fails as it is told: for tests of what an application, or a layer, makes of faults."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import httpx2

from claudeprov.clock import Clock

End = Literal["clean", "short", "reset", "hang"]
"""How an answer ends: whole; cut off; with its connection reset; never."""


@dataclass(frozen=True)
class Reply:
    """What one request gets; a number among ``pieces`` is a silence of so many seconds."""

    pieces: Sequence[bytes | float] = ()
    """The body, a network read each."""
    status: int | None = 200
    """``None``: no answer at all, once ``after`` has passed; ``end`` says what the connection does then."""
    headers: Mapping[str, str] = field(default_factory=lambda: {"content-type": "text/event-stream"})
    end: End = "clean"
    after: float = 0.0
    """Seconds until the headers come."""


class FaultyTransport(httpx2.AsyncBaseTransport):
    """Carries requests nowhere: each gets the reply that *reply* makes of it, at the pace of *clock*.

    Hand it to :class:`claudeprov.AnthropicClaudeProvider` as ``transport``.

    Args:
        reply: Called with each request, in the order in which they are sent.
        clock: Whose seconds the silences are.
    """

    def __init__(self, reply: Callable[[httpx2.Request], Reply], clock: Clock) -> None:
        self._reply = reply
        self._clock = clock
        self.asked = 0
        """Requests that were sent."""
        self.open = 0
        """Connections that are in use."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer *request*.

        Raises:
            httpx2.TransportError: The reply says so.
        """
        self.asked += 1
        reply = self._reply(request)
        self.open += 1
        try:
            if reply.after:
                await self._clock.sleep(reply.after)
            if reply.status is None:
                await self._finish(reply.end, request)
                raise httpx2.RemoteProtocolError("the server disconnected without an answer", request=request)
            return httpx2.Response(
                reply.status, headers=reply.headers, stream=_Body(self, reply, request), request=request
            )
        except BaseException:
            self.open -= 1
            raise

    async def _finish(self, end: End, request: httpx2.Request) -> None:
        match end:
            case "short":
                raise httpx2.RemoteProtocolError("the body ended early", request=request)
            case "reset":
                raise httpx2.ReadError("the connection was reset", request=request)
            case "hang":
                await asyncio.Event().wait()


class _Body(httpx2.AsyncByteStream):
    def __init__(self, transport: FaultyTransport, reply: Reply, request: httpx2.Request) -> None:
        self._transport = transport
        self._reply = reply
        self._request = request
        self._closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._reply.pieces:
            if isinstance(piece, bytes):
                yield piece
            else:
                await self._transport._clock.sleep(piece)
        await self._transport._finish(self._reply.end, self._request)

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            self._transport.open -= 1
