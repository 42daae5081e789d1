"""A stream: the chunks of one answer, told once of its end, whatever that is."""

from __future__ import annotations

import asyncio
import logging
import warnings
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from operator import length_hint
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar
from weakref import ref

from claudeprov.chunk import MessageChunk
from claudeprov.errors import ProviderError, ServiceError, StreamInterruptedError
from claudeprov.response import Join, MessageResponse, Timing

if TYPE_CHECKING:
    from claudeprov.chain import Call
    from claudeprov.cost import Cost
    from claudeprov.snapshot import Snapshot

_log = logging.getLogger(__name__)

_T = TypeVar("_T")
_Taps = dict[str, tuple[Callable[[MessageChunk], None], ...]]

Source = AsyncGenerator[Sequence[MessageChunk], None]
"""The chunks of each network read."""

EndKind = Literal["read", "failed", "cancelled", "abandoned"]
"""``read`` to its end; ``failed`` on the way; ``cancelled`` by its reader; ``abandoned`` by a bare ``break``."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a stream ended."""

    kind: EndKind
    error: Exception | None = None
    """What made it fail; for the other kinds ``None``."""


class Stream:
    """An opened stream, as the layers of the chain see it: it ends exactly once.

    Args:
        call: The call that it answers.
        source: Gives the chunks of each network read, and raises :class:`ProviderError` where it breaks.
        snapshot: What *source* has made of the message so far.
        first: The chunks that were read to open it.
        request_id: The service's id of the attempt.
        price: How to price the response.
    """

    def __init__(
        self,
        call: Call,
        source: Source,
        snapshot: Snapshot,
        *,
        first: Sequence[MessageChunk] = (),
        request_id: str | None = None,
        price: Callable[[MessageResponse], Cost] | None = None,
    ) -> None:
        self.call = call
        self.request_id = request_id
        self.snapshot = snapshot
        """What has been made of the message so far."""
        self.joins: tuple[Join, ...] = ()
        """Where it broke, and was gone on with."""
        self.outcome: Outcome | None = None
        """How it ended; ``None`` while it is open."""
        self.pending: Iterator[MessageChunk] = iter(())
        """The chunks that have been read, but not yet handed to the reader."""
        self.first_chunk: float | None = None
        """When the first event other than a ping came, in the clock's monotonic seconds."""
        self._first = first
        self._source = source
        self._price = price
        self._taps: _Taps = {}
        self._ends: list[Callable[[Outcome], None]] = []
        self._go_on: Callable[[Stream, ServiceError], Source] | None = None
        self._inner: tuple[_Taps, int] = ({}, 0)
        self._ended: float | None = None
        self._broken: Exception | None = None
        self._final: MessageResponse | None = None

    @property
    def response(self) -> MessageResponse:
        """What has arrived so far."""
        return response_of(self.call, self)

    def tap(self, kind: str, see: Callable[[MessageChunk], None]) -> None:
        """Call *see* with each chunk of type *kind* before the reader gets it; if it raises, the stream fails so."""
        self._taps[kind] = (*self._taps.get(kind, ()), see)

    def on_end(self, tell: Callable[[Outcome], None]) -> None:
        """Call *tell* once, when the stream ends; at once if it has. An exception of its own is logged."""
        if self.outcome is None:
            self._ends.append(tell)
        else:
            _tell(tell, self.outcome)

    def mend(self, go_on: Callable[[Stream, ServiceError], Source]) -> None:
        """Where the source breaks, read on from *go_on*, which may raise the error after all.

        The hooks and taps so far are those of the layers within: the break is the end that they are told of, and what
        follows is not theirs.
        """
        self._go_on = go_on
        self._inner = dict(self._taps), len(self._ends)

    async def peek(self, enough: Callable[[MessageChunk], bool]) -> MessageChunk | None:
        """Read on until a chunk is *enough*, and return that; ``None`` if none is. The reader still gets all of them.

        Raises:
            ProviderError: The stream broke before.
        """
        read = list(self._first)
        while (found := next(filter(enough, read), None)) is None:
            chunks = await self._next()
            if chunks is None:
                break
            read += chunks
        self._first = read
        return found

    async def read(self) -> bool:
        """Read on: fill ``pending`` with the chunks of the next network read; false at the end.

        Raises:
            ProviderError: The stream broke; ``partial`` holds what arrived.
        """
        if self.outcome is not None:
            if self.outcome.error is not None:
                raise self.outcome.error
            return False
        chunks: Sequence[MessageChunk] | None
        chunks, self._first = self._first or await self._next(), ()
        if chunks is None:
            self.end(Outcome("read"))
            return False
        self.pending = iter(self._tapped(chunks) if self._taps else chunks)
        return True

    async def close(self, kind: Literal["cancelled", "abandoned"] = "cancelled") -> None:
        """End the stream, if it has not ended, and give its connection back."""
        self.end(Outcome(kind))  # before closing, which may hang or be cancelled itself
        self.drop_pending()
        await self._source.aclose()

    def end(self, outcome: Outcome) -> None:
        """Tell of the end, unless it has ended already; a source that is open closes itself when it is collected."""
        if self.outcome is not None:
            return
        self.outcome = outcome
        self._ended = self.call.clock.monotonic()
        ends, self._ends = self._ends, []
        for tell in ends:
            _tell(tell, outcome)

    def drop_pending(self) -> None:
        """Hand no more chunks to the reader, a loop over ``pending`` that has begun included."""
        self._first = ()
        deque(self.pending, maxlen=0)

    async def _next(self) -> Sequence[MessageChunk] | None:
        """The chunks of the source's next network read; ``None`` at its end."""
        try:
            if self._broken is not None:
                raise self._broken
            try:
                return await anext(self._source, None)
            except ServiceError as error:
                if self._go_on is None:
                    raise
                self._source = self._mended(self._go_on, error)
                return await anext(self._source, None)
        except asyncio.CancelledError:
            self.end(Outcome("cancelled"))
            raise
        except Exception as error:
            if isinstance(error, ProviderError) and error.partial is None:
                error.partial = self.response
            self.end(Outcome("failed", error))
            await self._source.aclose()
            raise

    def _mended(self, go_on: Callable[[Stream, ServiceError], Source], error: ServiceError) -> Source:
        taps, ends = self._inner
        self._go_on = None
        inner, self._ends = self._ends[:ends], self._ends[ends:]
        for tell in inner:
            _tell(tell, Outcome("failed", error))
        self._taps = {kind: outer for kind, sees in self._taps.items() if (outer := sees[len(taps.get(kind, ())) :])}
        return go_on(self, error)

    def _tapped(self, chunks: Sequence[MessageChunk]) -> Sequence[MessageChunk]:
        for position, chunk in enumerate(chunks):
            for see in self._taps.get(chunk.type, ()):
                try:
                    see(chunk)
                except Exception as error:  # the reader gets what came before it, then the error
                    self._broken = error
                    return chunks[:position]
        return chunks


def response_of(call: Call, stream: Stream | None) -> MessageResponse:
    """What has arrived of *call*'s answer; *stream* is ``None`` where no attempt has opened one.

    Once a stream has ended it is the same object, so that all who ask for its cost price it once.
    """
    if stream is not None and stream._final is not None:
        return stream._final
    ended = first = None
    if stream is not None:
        first, completed = stream.first_chunk, stream.snapshot.completed_at
        # A message that is complete has ended, though its body may take longer to.
        ended = stream._ended if completed is None else max(completed, first or completed)
    timing = Timing(
        started_at=call.started_at,
        queue=call.queue,
        backoff=call.backoff,
        first_chunk=None if first is None else first - call.started,
        total=(call.clock.monotonic() if ended is None else ended) - call.started,
    )
    if stream is None:
        return MessageResponse({}, timing, tuple(call.attempts))
    snapshot = stream.snapshot
    response = MessageResponse(
        snapshot.message(),
        timing,
        tuple(call.attempts),
        stream.request_id,
        stream._price,
        snapshot.tool_json(),
        stream.joins,
    )
    if stream.outcome is not None:
        stream._final = response
    return response


class MessageStream:
    """The answer to a call, as its reader sees it; nothing is sent before it is used.

    Iterate it for its chunks, await it for the whole response, or enter it to say how long it lives::

        async with provider.send_message(request) as stream:
            async for chunk in stream: ...

    Left early, it is cancelled: the connection is closed, and nothing counts as a failure of the service. A bare
    ``break`` out of ``async for`` abandons it: it is closed when collected, with a ``ResourceWarning``.

    Raises:
        ProviderError: On opening or reading it; see :mod:`claudeprov.errors`.
    """

    def __init__(self, call: Call, open_stream: Callable[[Call], Awaitable[Stream]]) -> None:
        self._call = call
        self._open_stream = open_stream
        self._stream: Stream | None = None
        self._failure: Exception | None = None
        self._entered = False
        self._cancelled = False
        self._free = asyncio.Event()  # a lock would cost a read twice as much, and nobody minds whose turn is next
        self._free.set()
        self._reader: asyncio.Task[Any] | None = None
        self._closing: asyncio.Future[None] | None = None
        self._loop: ref[AsyncGenerator[Any, None]] | None = None

    @property
    def response(self) -> MessageResponse:
        """What has arrived so far, at any time."""
        return response_of(self._call, self._stream)

    @property
    def active(self) -> bool:
        """Whether it is being opened, or open."""
        return self._reader is not None or (self._stream is not None and self._stream.outcome is None)

    @property
    def outcome(self) -> Outcome | None:
        """How it ended; ``None`` while it is open, or not opened."""
        return None if self._stream is None else self._stream.outcome

    @property
    def buffered(self) -> bool:
        """Whether chunks wait that came with the same network read as the latest one."""
        return self._stream is not None and length_hint(self._stream.pending) > 0

    def text(self) -> AsyncIterator[str]:
        """Iterate over the text only."""
        return self._watched(self._text())

    async def _text(self) -> AsyncGenerator[str, None]:
        async with aclosing(self._chunks()) as chunks:
            async for chunk in chunks:
                if chunk.text:
                    yield chunk.text

    def cancel(self) -> Awaitable[None]:
        """Stop the answer, from whichever task: a loop over it ends, awaiting it raises.

        Returns:
            Something to await until the connection is closed; it closes without, too.
        """
        if self._closing is None:
            self._cancelled = True
            if self._reader is not None and self._reader is not asyncio.current_task():
                self._reader.cancel()
            if self._stream is not None:
                self._stream.drop_pending()
            self._closing = asyncio.ensure_future(self._close("cancelled"))
        return asyncio.shield(self._closing)

    def __aiter__(self) -> AsyncGenerator[MessageChunk, None]:
        return self._watched(self._chunks())

    def _watched(self, loop: AsyncGenerator[_T, None]) -> AsyncGenerator[_T, None]:
        """Notice that the reader leaves *loop*: a bare ``break`` has it closed later, and by another task."""
        if not self._entered:
            self._loop = ref(loop, self._call.leave)
        return loop

    async def _chunks(self) -> AsyncGenerator[MessageChunk, None]:
        try:
            stream = await self._opened()
            while stream is not None:
                for chunk in stream.pending:
                    yield chunk
                if not await self._reading(stream.read):
                    return
        except GeneratorExit:
            if not self._entered and self._stream is not None and self._stream.outcome is None:
                try:
                    self._warn()
                finally:  # where warnings are errors
                    await self._close("abandoned")
            raise

    def __await__(self) -> Generator[Any, None, MessageResponse]:
        return self._whole().__await__()

    async def __aenter__(self) -> Self:
        self._entered = True
        await self._opened()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if self.active:
                await self.cancel()
        finally:
            self._call.leave()

    def __del__(self) -> None:
        stream = self._stream
        if stream is not None and stream.outcome is None:  # opened, and then neither read nor left
            stream.end(Outcome("abandoned"))
            self._warn()

    def __repr__(self) -> str:
        state = "not opened" if self._stream is None else self._stream.outcome or "open"
        return f"<MessageStream {self._call.id}: {state.kind if isinstance(state, Outcome) else state}>"

    async def _whole(self) -> MessageResponse:
        stream = await self._opened()
        while stream is not None and await self._reading(stream.read):
            stream.drop_pending()
        kind = "cancelled" if stream is None or stream.outcome is None else stream.outcome.kind
        if kind == "read":
            return self.response
        raise StreamInterruptedError(f"the stream was {kind} before its end", code=kind, partial=self.response)

    async def _opened(self) -> Stream | None:
        """The opened stream; ``None`` if it was cancelled before."""
        if self._failure is not None:
            raise self._failure
        if self._stream is None and not self._cancelled:
            await self._reading(self._open)
        return self._stream

    async def _open(self) -> None:
        if self._stream is not None:
            return
        self._call.start()
        try:
            self._stream = await self._open_stream(self._call)
        except Exception as error:
            self._failure = error
            raise

    async def _reading(self, step: Callable[[], Awaitable[_T]]) -> _T | None:
        """Take *step* as the reader, whom :meth:`cancel` may wake; ``None`` if it did."""
        while not self._free.is_set():
            await self._free.wait()
        if self._cancelled:
            return None
        task = asyncio.current_task()
        assert task is not None
        cancellations = task.cancelling()
        self._free.clear()
        self._reader = task
        try:
            return await step()
        except asyncio.CancelledError:
            if self._cancelled and task.uncancel() <= cancellations:
                return None
            self._cancelled = True  # the call has ended: it is not made again
            raise
        finally:
            self._reader = None
            self._free.set()

    def _warn(self) -> None:
        warnings.warn(
            f"{self!r} was abandoned before its end; use 'async with' or cancel()",
            ResourceWarning,
            stacklevel=3,
            source=self,
        )

    async def _close(self, kind: Literal["cancelled", "abandoned"]) -> None:
        self._cancelled = True
        while not self._free.is_set():
            await self._free.wait()
        if self._stream is not None:
            self._free.clear()
            try:
                await self._stream.close(kind)
            finally:
                self._free.set()


def _tell(tell: Callable[[Outcome], None], outcome: Outcome) -> None:
    try:
        tell(outcome)
    except (Exception, asyncio.CancelledError):
        _log.exception("an end hook failed; the others still run")
