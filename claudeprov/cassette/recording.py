"""Recording: a transport that writes down what passes through it, and holds nothing back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx2
import msgspec
from vcr.request import Request

from claudeprov import __version__
from claudeprov.cassette.file import UNANSWERED, new_cassette, save
from claudeprov.cassette.interaction import FORMAT, KEY, LOCAL, Details, End, events
from claudeprov.cassette.match import Sent
from claudeprov.cassette.redact import redact_uri
from claudeprov.clock import Clock
from claudeprov.paths import file_name

_ENCODING_HEADERS = frozenset({b"content-encoding", b"content-length", b"transfer-encoding"})


class RecordingTransport(httpx2.AsyncBaseTransport):
    """Sends requests through *inner* and writes a cassette when it is closed.

    Chunks reach the reader as they come, decompressed. An exchange that breaks, is cancelled or never gets an answer
    is recorded as such. A recording replaces the file of an earlier one; where there was no request, none is written.

    Args:
        path: The file to write; or a folder, to get a file ``SUITE/MODEL.yaml`` for each model asked for.
        inner: What carries the requests.
        clock: Where time comes from.
        suite: What is being recorded, to be kept in the cassette; ``session`` stands in its path where it is left out.
    """

    def __init__(self, path: Path, inner: httpx2.AsyncBaseTransport, *, clock: Clock, suite: str | None = None) -> None:
        self._path = path
        self._inner = inner
        self._clock = clock
        self._suite = suite
        self._exchanges: list[_Exchange] = []
        self.written: list[Path] = []
        """The files that closing has written."""

    @property
    def recorded(self) -> int:
        """Requests so far, whatever became of them."""
        return len(self._exchanges)

    def discard(self) -> None:
        """Forget what was recorded so far."""
        self._exchanges.clear()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        exchange = _Exchange(request, self._clock)
        self._exchanges.append(exchange)  # before anything is awaited: the order is that of the requests' starts
        await request.aread()
        try:
            response = await self._inner.handle_async_request(request)
        except BaseException as error:
            exchange.fail(error)
            raise
        exchange.answer(response)
        headers = response.headers.raw
        if "content-encoding" in response.headers:
            headers = [(name, value) for name, value in headers if name.lower() not in _ENCODING_HEADERS]
        return httpx2.Response(
            response.status_code,
            headers=headers,
            stream=_RecordedStream(response, exchange),
            extensions=response.extensions,
        )

    async def aclose(self) -> None:
        """Close the inner transport, then write what was recorded.

        Raises:
            CassetteError: The recording holds what looks like a secret; nothing of its file was written.
        """
        await self._inner.aclose()
        files: defaultdict[Path, list[_Exchange]] = defaultdict(list)
        for exchange in self._exchanges:
            files[self._file(exchange)].append(exchange)
        for path, exchanges in files.items():
            cassette = new_cassette(path)
            for exchange in exchanges:
                cassette.append(exchange.vcr_request(), exchange.vcr_response(self._suite))
            save(cassette)
            self.written.append(path)

    def _file(self, exchange: _Exchange) -> Path:
        if self._path.suffix in (".yaml", ".yml"):
            return self._path
        folder, name = file_name(self._suite or "session"), file_name(exchange.model or "")
        return self._path / folder / f"{name}.yaml"


class _RecordedStream(httpx2.AsyncByteStream):
    def __init__(self, response: httpx2.Response, exchange: _Exchange) -> None:
        self._response = response
        self._exchange = exchange

    async def __aiter__(self) -> AsyncIterator[bytes]:
        exchange = self._exchange
        try:
            async with aclosing(self._response.aiter_bytes()) as reads:
                async for chunk in reads:
                    exchange.add(chunk)
                    yield chunk
        except Exception as error:
            exchange.fail(error)
            raise
        exchange.finish()

    async def aclose(self) -> None:
        self._exchange.leave()
        await self._response.aclose()


class _Exchange:
    """One exchange while it is recorded."""

    def __init__(self, request: httpx2.Request, clock: Clock) -> None:
        self._request = request
        self._clock = clock
        self._recorded_at = clock.now()
        self._moments = [clock.monotonic()]
        self._response: httpx2.Response | None = None
        self._chunks: list[bytes] = []
        self._end: End | None = None
        self._error: str | None = None

    @property
    def model(self) -> str | None:
        """The model asked for."""
        return Sent(self._request.method, str(self._request.url), self._request.content).model

    def answer(self, response: httpx2.Response) -> None:
        self._response = response
        self._moments.append(self._clock.monotonic())

    def add(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self._moments.append(self._clock.monotonic())

    def finish(self) -> None:
        self._close("complete")

    def fail(self, error: BaseException) -> None:
        if not isinstance(error, Exception):
            self._close("cancelled")
            return
        self._error = f"{_error_class(error)}: {error}"
        self._close("unanswered" if self._response is None else "broken")

    def leave(self) -> None:
        """Note that the reader went away: before the end, or once all was said."""
        if self._end is None:
            said = [event and event.get("type") for event in events(b"".join(self._chunks))]
            self._close("complete" if said and said[-1] in ("message_stop", "error") else "cancelled")

    def vcr_request(self) -> Request:
        request = self._request
        return Request(request.method, str(request.url), request.content, dict(request.headers))

    def vcr_response(self, suite: str | None) -> dict[str, Any]:
        self.leave()
        response = self._response
        headers: defaultdict[str, list[str]] = defaultdict(list)
        status, reason = UNANSWERED, "no answer"
        if response is not None:
            status, reason = response.status_code, response.reason_phrase
            for name, value in response.headers.multi_items():
                headers[name].append(value)
        return {
            "status": {"code": status, "message": reason},
            "headers": dict(headers),
            KEY: msgspec.to_builtins(self._details(suite)),
            "body": {"string": b"".join(self._chunks)},
        }

    def _close(self, end: End) -> None:
        if self._end is None:
            self._end = end
            self._moments.append(self._clock.monotonic())

    def _details(self, suite: str | None) -> Details:
        assert self._end is not None
        start = self._moments[0]
        moments = [round((moment - start) * 1_000_000) for moment in self._moments]
        return Details(
            format=FORMAT,
            recorded_at=self._recorded_at.isoformat(timespec="seconds").replace("+00:00", "Z"),
            server=_server(self._request.url),
            versions=dict(_versions(self._request.headers)),
            end=self._end,
            model=self.model,
            served=_served(b"".join(self._chunks)),
            suite=suite,
            error=self._error,
            chunks=" ".join(str(len(chunk)) for chunk in self._chunks),
            times=" ".join(str(later - earlier) for earlier, later in pairwise(moments)),
        )


def _error_class(error: Exception) -> str:
    """The name under which a replay can raise it again: its own, or that of the httpx2 error that it is a kind of."""
    for kind in type(error).__mro__:
        if issubclass(kind, httpx2.RequestError) and hasattr(httpx2, kind.__name__):
            return kind.__name__
    return "ReadError"


def _server(url: httpx2.URL) -> str:
    origin = redact_uri(str(url.join("/"))).removesuffix("/")
    return f"{origin}{LOCAL}" if url.host in ("localhost", "::1") or url.host.startswith("127.") else origin


def _versions(headers: httpx2.Headers) -> Iterator[tuple[str, str]]:
    yield "claudeprov", __version__
    for name, header in ("anthropic", "x-stainless-package-version"), ("api", "anthropic-version"):
        if value := headers.get(header):
            yield name, value


def _served(body: bytes) -> str | None:
    """The model that the answer names, be it a stream or a message."""
    try:
        message = msgspec.json.decode(body)
    except ValueError:
        message = next((event["message"] for event in events(body) if event and "message" in event), None)
    model = message.get("model") if isinstance(message, dict) else None
    return model if isinstance(model, str) else None
