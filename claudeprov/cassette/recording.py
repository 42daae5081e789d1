"""Recording: a transport that writes down what passes through it, and holds nothing back."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Sequence
from pathlib import Path

import httpx2

from claudeprov.cassette.exchange import Exchange
from claudeprov.cassette.file import new_cassette
from claudeprov.cassette.interaction import Interaction
from claudeprov.cassette.merge import merge
from claudeprov.cassette.rules import NO_RULES, Rules
from claudeprov.clock import Clock
from claudeprov.errors import CassetteError
from claudeprov.paths import file_name

_ENCODING_HEADERS = frozenset({b"content-encoding", b"content-length", b"transfer-encoding"})


class RecordingTransport(httpx2.AsyncBaseTransport):
    """Sends requests through *inner* and writes a cassette when it is closed.

    Chunks reach the reader as they come, decompressed. An exchange that breaks, times out, is cancelled or never gets
    an answer is recorded as such. In a file that is there already, a recording takes the place of earlier ones of the
    same requests; :attr:`keeps` says which others stay. Any number of processes and threads may record into one file:
    of two recordings of a request the one written last stays. Where there was no request, none is written.

    Args:
        path: The file to write; or a folder, to get a file for each model asked for, see :func:`file_of`.
        inner: What carries the requests.
        clock: Where time comes from.
        suite: What is being recorded, to be kept in the cassette.
        rules: Which requests are the same, and what is not written.
    """

    _adds = False
    """Whether a recording stands behind earlier ones of its request, not in their place."""

    def __init__(
        self,
        path: Path,
        inner: httpx2.AsyncBaseTransport,
        *,
        clock: Clock,
        suite: str | None = None,
        rules: Rules = NO_RULES,
    ) -> None:
        _check_writable(path)
        self._path = path
        self._inner = inner
        self._clock = clock
        self._suite = suite
        self._rules = rules
        self._exchanges: list[Exchange] = []
        self.keeps: Callable[[Interaction], bool] = self._is_of_another_suite
        """Whether an earlier recording of another request stays in its file: that of another suite does, unless this
        is a test, which has its file to itself."""
        self.written: list[Path] = []
        """The files that closing has written."""

    @property
    def recorded(self) -> int:
        """Requests so far, whatever became of them."""
        return len(self._exchanges)

    @property
    def failed(self) -> set[bytes]:
        """Keys of the requests whose last attempt so far got no whole answer of status 200."""
        last = {exchange.sent(self._rules).key: exchange.answered for exchange in self._exchanges}
        return {key for key, answered in last.items() if not answered}

    def discard(self, keys: Collection[bytes] | None = None) -> None:
        """Forget what was recorded so far of the requests with these *keys*, or of all."""
        self._exchanges = [
            exchange for exchange in self._exchanges if keys is not None and exchange.sent(self._rules).key not in keys
        ]

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        exchange = Exchange(request, self._clock)
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
        """Close the inner transport, then write what was recorded, in a thread.

        Raises:
            CassetteError: A file would hold what looks like a secret, or is no cassette; the others were written.
        """
        await self._inner.aclose()
        files: defaultdict[Path, list[Exchange]] = defaultdict(list)
        for exchange in self._exchanges:
            exchange.leave()
            files[file_of(self._path, self._suite, exchange.model)].append(exchange)
        refused = [error for path, recorded in files.items() if (error := await self._write(path, recorded))]
        if refused:
            told = "; ".join(error.message for error in refused)
            raise CassetteError(told, code=refused[0].code, context=refused[0].context) from refused[0]

    async def _write(self, path: Path, exchanges: Sequence[Exchange]) -> CassetteError | None:
        def write() -> None:
            cassette = new_cassette(path, self._rules.scrub)
            for number, exchange in enumerate(exchanges, start=1):
                if exchange.echoes_its_credential:
                    raise CassetteError(
                        f"{path} was not written: answer {number} of this session holds the credential that was sent",
                        code="secret_found",
                    )
                if self._rules.torn(exchange.body):
                    raise CassetteError(
                        f"{path} was not written: in answer {number} of this session a match of cassette.scrub is torn "
                        "over several deltas",
                        code="not_scrubbed",
                    )
                cassette.append(exchange.vcr_request(), exchange.vcr_response(self._suite))
            merge(cassette, self.keeps, rules=self._rules, add=self._adds)

        try:
            await asyncio.to_thread(write)
        except CassetteError as error:
            return error
        except OSError as error:
            return CassetteError(f"{path} cannot be written: {error.strerror}", context={"path": str(path)})
        self.written.append(path)
        return None

    def _is_of_another_suite(self, earlier: Interaction) -> bool:
        if self._suite is None:
            return True
        return "::" not in self._suite and (earlier.details is None or earlier.details.suite != self._suite)


def _check_writable(path: Path) -> None:
    """Refuse, before anything is sent and paid for, a place that cannot be written to."""
    folder = path.parent if path.suffix in (".yaml", ".yml") else path
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise CassetteError(f"nothing can be recorded into {path}: {there} is no folder that can be written to")


def file_of(path: Path, suite: str | None, model: str | None) -> Path:
    """The file that a request to *model* is recorded in: *path*, or ``SUITE/MODEL.yaml`` where that is a folder.

    ``session`` stands for a suite that is not known, ``none`` for such a model.
    """
    if path.suffix in (".yaml", ".yml"):
        return path
    return path / file_name(suite or "session") / f"{file_name(model or '')}.yaml"


class _RecordedStream(httpx2.AsyncByteStream):
    def __init__(self, response: httpx2.Response, exchange: Exchange) -> None:
        self._response = response
        self._exchange = exchange

    async def __aiter__(self) -> AsyncIterator[bytes]:
        exchange, response = self._exchange, self._response
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        # The stream itself costs half of what the response's iterators do; they undo a compression.
        packed = "content-encoding" in response.headers
        reads = response.aiter_bytes() if packed else aiter(response.stream)
        add = exchange.add
        try:
            async for chunk in reads:
                if chunk:
                    add(chunk)
                    yield chunk
        except Exception as error:
            exchange.fail(error)
            raise
        else:
            exchange.finish()
        finally:
            if isinstance(reads, AsyncGenerator):
                await reads.aclose()

    async def aclose(self) -> None:
        self._exchange.leave()
        await self._response.aclose()
