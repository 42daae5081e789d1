"""A provider that answers from a script: for the tests of layers, and of applications."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, overload

from claudeprov.chain import Call, Middleware, chain
from claudeprov.chunk import MessageChunk, chunks_of
from claudeprov.classify import error_of
from claudeprov.clock import SYSTEM_CLOCK, Clock
from claudeprov.errors import ProviderError
from claudeprov.request import MessageRequest
from claudeprov.snapshot import Snapshot
from claudeprov.stream import MessageStream, Stream

if TYPE_CHECKING:
    from claudeprov.output import OutputStream

WireEvent = Mapping[str, Any]
"""An event of the Messages API, as JSON."""

Step = WireEvent | Sequence[WireEvent] | Exception | float
"""A network read of one event or of several, an error that breaks the stream there, or seconds of silence."""

Answer = str | Exception | Sequence[Step]
"""How one attempt is answered: with a text, with an error instead of a stream, or step by step."""


def text_events(*texts: str, model: str = "scripted", stop_reason: str = "end_turn") -> list[dict[str, Any]]:
    """The events of a message with one text block, with a delta for each of *texts*.

    It uses 1 input token, and an output token a delta.
    """
    message: dict[str, Any] = {
        "id": "msg_scripted",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 0},
    }
    deltas = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}} for text in texts
    ]
    return [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *deltas,
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": stop_reason, "stop_sequence": None},
            "usage": {"output_tokens": len(texts)},
        },
        {"type": "message_stop"},
    ]


class ScriptedProvider:
    """Answers each attempt with the next of *answers*, the last one again and again; opens no connection.

    Put it where an application holds its provider, or call it as the innermost of a chain.

    Args:
        answers: In order. A script that ends before its message does is a truncated stream.
        layers: The layers around it, outermost first.
        clock: Whose seconds its silences are.
    """

    def __init__(self, *answers: Answer, layers: Sequence[Middleware] = (), clock: Clock = SYSTEM_CLOCK) -> None:
        if not answers:
            raise ValueError("a scripted provider needs an answer")
        self.requests: list[MessageRequest] = []
        """What it was asked, an entry an attempt."""
        self.streams: list[Stream] = []
        """What it opened."""
        self._answers = answers
        self._clock = clock
        self._open_stream = chain(layers, self)

    @overload
    def send_message(
        self, request: MessageRequest | Mapping[str, Any], *, tags: Mapping[str, Any] | None = None
    ) -> MessageStream: ...
    @overload
    def send_message(
        self, request: MessageRequest | Mapping[str, Any], *, output: Any, tags: Mapping[str, Any] | None = None
    ) -> OutputStream[Any]: ...
    def send_message(
        self, request: MessageRequest | Mapping[str, Any], *, output: Any = None, tags: Mapping[str, Any] | None = None
    ) -> MessageStream | OutputStream[Any]:
        """Answer *request*, as :meth:`claudeprov.AnthropicClaudeProvider.send_message` does.

        An answer of the shape *output* is asked for as of a model of which nothing is known, and again at most twice.
        """
        if output is not None:
            from claudeprov.output import OutputStream

            send = partial(self.send_message, tags=tags)
            return OutputStream(send, MessageRequest.of(request), output, capabilities=None, max_repairs=2)
        return MessageStream(Call(MessageRequest.of(request), self._clock, dict(tags or {})), self._open_stream)

    async def __call__(self, call: Call) -> Stream:
        """Open a stream, or fail to, as the script says."""
        answer = self._answers[min(len(self.requests), len(self._answers) - 1)]
        self.requests.append(call.request)
        stream = await call.attempt(partial(self._open, _steps(answer)))
        self.streams.append(stream)
        return stream

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass

    async def _open(self, steps: Sequence[Step], call: Call) -> Stream:
        snapshot = Snapshot()
        source = self._play(steps, snapshot)
        first: list[MessageChunk] = []
        while all(chunk.type == "ping" for chunk in first):
            first += await anext(source)
        stream = Stream(call, source, snapshot, first=first)
        stream.first_chunk = self._clock.monotonic()
        return stream

    async def _play(self, steps: Sequence[Step], snapshot: Snapshot) -> AsyncGenerator[Sequence[MessageChunk], None]:
        for step in steps:
            if isinstance(step, Exception):
                raise step
            if isinstance(step, (int, float)):
                await self._clock.sleep(step)
                continue
            events = [step] if isinstance(step, Mapping) else step
            chunks: list[MessageChunk] = []
            try:
                for chunk in chunks_of([_wire(event) for event in events]):
                    if chunk.type == "error":
                        raise error_of(None, chunk.data, now=self._clock.now())
                    snapshot.add(chunk)
                    chunks.append(chunk)
            except ProviderError:
                yield chunks
                raise
            yield chunks
        snapshot.finish()


def _steps(answer: Answer) -> Sequence[Step]:
    if isinstance(answer, str):
        return text_events(answer)
    return [answer] if isinstance(answer, Exception) else answer


def _wire(event: WireEvent) -> bytes:
    return f"event: {event['type']}\ndata: {json.dumps(event)}".encode()
