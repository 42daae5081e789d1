"""A run of tools, as its reader sees it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Generator
from contextlib import aclosing
from types import TracebackType
from typing import Any, Self

from claudeprov.chain import Call
from claudeprov.chunk import MessageChunk
from claudeprov.errors import StreamInterruptedError
from claudeprov.snapshot import Snapshot
from claudeprov.stream import MessageStream, Stream
from claudeprov.tools.loop import Loop
from claudeprov.tools.result import ToolRun


class ToolStream:
    """The chunks of all rounds of a loop over tools as one stream; nothing is sent before it is used.

    Iterate it, await it for a :class:`ToolRun`, or enter it to say how long it lives, as a
    :class:`claudeprov.MessageStream`. Beside the chunks of the model's answers, each of which begins with a
    ``message_start``, there are chunks of type ``tool_call``, before a call is made (``data``: ``round``, ``id``,
    ``name``, ``input``), and ``tool_result``, in the order in which calls end (``round``, ``id``, ``name``,
    ``outcome``, ``is_error``, ``content``, ``seconds``).

    Raises:
        ProviderError: The service failed, or refused; ``run`` holds what was done before. A budget that is spent in a
            later round raises nothing: the run was ``stopped`` by it.
    """

    def __init__(self, loop: Loop, call: Call) -> None:
        self._loop = loop
        self._chunks = MessageStream(call, self._open)

    @property
    def run(self) -> ToolRun:
        """What has been done so far, at any time."""
        return self._loop.run

    @property
    def active(self) -> bool:
        """Whether it goes on."""
        return self._chunks.active

    async def text(self) -> AsyncIterator[str]:
        """Iterate over the text only."""
        async with aclosing(aiter(self)) as chunks:
            async for chunk in chunks:
                if chunk.text:
                    yield chunk.text

    def cancel(self) -> Awaitable[None]:
        """Stop it, from whichever task, with the calls that are being made: a loop over it ends, awaiting it raises.

        Returns:
            Something to await until all of it has stopped; it stops without, too.
        """
        return self._chunks.cancel()

    async def __aiter__(self) -> AsyncGenerator[MessageChunk, None]:
        async with aclosing(aiter(self._chunks)) as chunks:
            async for chunk in chunks:
                yield chunk
        self._raise_failure()

    def __await__(self) -> Generator[Any, None, ToolRun]:
        return self._whole().__await__()

    async def __aenter__(self) -> Self:
        await self._chunks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._chunks.__aexit__(kind, error, traceback)

    async def _whole(self) -> ToolRun:
        try:
            await self._chunks
        except StreamInterruptedError as error:
            error.partial = self.run.response
            raise
        self._raise_failure()
        return self.run

    async def _open(self, call: Call) -> Stream:
        return Stream(call, self._loop.play(), Snapshot())

    def _raise_failure(self) -> None:
        run = self.run
        if run.error is not None and not (run.stopped == "budget" and run.responses):
            raise run.error
