"""Structured output: an answer of a shape is asked for, checked, and asked for again where it does not fit."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Self, TypeVar

from claudeprov.errors import OutputError
from claudeprov.question import Question
from claudeprov.response import MessageResponse, Timing, Usage
from claudeprov.shape import MisfitError, Shape

if TYPE_CHECKING:
    from pydantic import TypeAdapter
    from typing_extensions import TypeForm

    from claudeprov.catalog import Capabilities
    from claudeprov.chunk import MessageChunk
    from claudeprov.cost import Cost
    from claudeprov.request import MessageRequest
    from claudeprov.stream import MessageStream

T = TypeVar("T")

_STOPPED = ("end_turn", "stop_sequence", "tool_use")
"""Stop reasons of a message that the model has ended."""
_UNFINISHED = {
    "max_tokens": "raise max_tokens, which is {max_tokens} and counts thinking",
    "model_context_window_exceeded": "shorten the conversation, it leaves too little of the context window",
    "pause_turn": "send the conversation again, with the message so far at its end",
    "tool_use": "send the conversation again, with the message so far and the results of its calls",
}
"""What to do where it has not."""


@dataclass(frozen=True)
class OutputResponse(MessageResponse, Generic[T]):
    """The answer, and all it took to get it.

    ``usage``, ``cost``, ``timing`` and ``attempts`` are those of all messages together; the rest is the last one's.
    """

    parsed: T = field(kw_only=True)
    """The answer itself; ``None`` only where there is none, in an error's ``partial``."""
    responses: tuple[MessageResponse, ...] = field(kw_only=True)
    """Each message that was answered, in order: the last one fits, after those before it a repair was asked for."""

    @classmethod
    def of(cls, responses: Sequence[MessageResponse], parsed: T) -> Self:
        """Put together what *responses* have told."""
        first, last = responses[0], responses[-1]
        timing = Timing(
            first.timing.started_at,
            queue=sum(response.timing.queue for response in responses),
            backoff=sum(response.timing.backoff for response in responses),
            first_chunk=first.timing.first_chunk,
            total=sum(response.timing.total for response in responses),
        )
        return cls(
            last.message,
            timing,
            tuple(attempt for response in responses for attempt in response.attempts),
            last.request_id,
            tool_json=last.tool_json,
            joins=last.joins,
            parsed=parsed,
            responses=tuple(responses),
        )

    @property
    def usage(self) -> Usage:
        """What all messages used."""
        return sum((response.usage for response in self.responses), start=Usage())

    @cached_property
    def cost(self) -> Cost:
        """What all messages cost."""
        first, *others = (response.cost for response in self.responses)
        return sum(others, start=first)


class OutputStream(Generic[T]):
    """The answer to a call with ``output``, used as a :class:`~claudeprov.MessageStream` is.

    Iterate it for its chunks, :meth:`objects` for the answer as it comes, or await it for the response, whose
    ``parsed`` is the answer. Where that does not fit, the model is told why and asked again; the chunks of its next
    message follow.

    Args:
        send: Makes a call.
        request: What is asked, its defaults filled in.
        output: The shape of the answer, as of :class:`~claudeprov.shape.Shape`.
        capabilities: What the model can do; ``None`` where nothing is known.
        max_repairs: Most times that it is asked again.

    Raises:
        InvalidRequestError: ``output`` cannot be asked for.
        OutputError: On reading it: no answer fits, or it was refused or not finished, which is not repaired.
        ProviderError: On opening or reading it, as of a ``MessageStream``.
    """

    def __init__(
        self,
        send: Callable[[MessageRequest], MessageStream],
        request: MessageRequest,
        output: TypeForm[T] | TypeAdapter[T] | Mapping[str, Any],
        *,
        capabilities: Capabilities | None,
        max_repairs: int,
    ) -> None:
        self._send = send
        self._question: Question[T] = Question.of(request, Shape(output), capabilities)
        self._max_repairs = max_repairs
        self._streams = [send(self._question.request)]
        self._result: OutputResponse[T] | None = None
        self._entered = False

    @property
    def response(self) -> MessageResponse:
        """What has arrived so far, at any time; its usage and cost are those of all messages."""
        return self._result or self._partial

    @property
    def active(self) -> bool:
        """Whether it is being opened, or open."""
        return self._streams[-1].active

    async def objects(self) -> AsyncIterator[Any]:
        """Iterate over the answer as far as it has come, once after each network read that brought more of it.

        It is given as plain JSON values, not validated yet; what comes last in it may be cut. A repair begins anew.
        """
        seen: Any = None
        is_new = False
        async with aclosing(aiter(self)) as chunks:
            async for chunk in chunks:
                is_new = is_new or bool(chunk.text or chunk.partial_json or chunk.type == "message")
                stream = self._streams[-1]
                if not is_new or stream.buffered:
                    continue
                is_new = False
                draft = self._question.shape.draft(self._question.written(stream.response))
                if draft is not None and draft != seen:
                    seen = draft
                    yield draft

    def cancel(self) -> Awaitable[None]:
        """Stop the answer, from whichever task: a loop over it ends, awaiting it raises.

        Returns:
            Something to await until the connection is closed; it closes without, too.
        """
        return self._streams[-1].cancel()

    async def __aiter__(self) -> AsyncGenerator[MessageChunk, None]:
        stream: MessageStream | None = self._streams[0]
        while stream is not None:
            if self._entered:
                await stream.__aenter__()
            async with aclosing(aiter(stream)) as chunks:
                async for chunk in chunks:
                    yield chunk
            stream = self._after(stream)

    def __await__(self) -> Generator[Any, None, OutputResponse[T]]:
        return self._whole().__await__()

    async def __aenter__(self) -> Self:
        self._entered = True
        await self._streams[0].__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.active:
            await self.cancel()

    async def _whole(self) -> OutputResponse[T]:
        stream: MessageStream | None = self._streams[0]
        while stream is not None:
            await stream
            stream = self._after(stream)
        assert self._result is not None
        return self._result

    def _after(self, stream: MessageStream) -> MessageStream | None:
        """What is to be read after *stream*: the answer to a repair, or nothing."""
        if stream.outcome is None or stream.outcome.kind != "read":
            return None
        place = self._streams.index(stream) + 1
        if place == len(self._streams) and self._result is None:
            self._judge(stream.response)
        return self._streams[place] if place < len(self._streams) else None

    def _judge(self, response: MessageResponse) -> None:
        """Take *response* for the answer, or ask again."""
        question, reason = self._question, response.stop_reason or ""
        if reason == "refusal":
            category = (response.stop_details or {}).get("category")
            self._fail(f"the model refused to answer{f' ({category})' if category else ''}", "output_refused")
        if len(question.calls(response)) < len(response.tool_calls):
            self._fail_unfinished("tool_use")
        try:
            parsed = question.shape.parse(question.written(response))
        except MisfitError as misfit:
            if reason not in _STOPPED:
                self._fail_unfinished(reason)
            if len(self._streams) > self._max_repairs:
                first, *others = misfit.problems
                more = f", and {len(others)} more" if others else ""
                self._fail(f"the answer does not fit: {first}{more}", "output_invalid", misfit.problems)
            self._question = question.again(response, misfit.problems)
            self._streams.append(self._send(self._question.request))
        else:
            self._result = OutputResponse.of(self._responses, parsed)

    def _fail_unfinished(self, reason: str) -> NoReturn:
        todo = _UNFINISHED.get(reason, "see what it is").format(max_tokens=self._question.request.max_tokens)
        self._fail(f"the model stopped with {reason} before its answer was whole: {todo}", "output_unfinished")

    def _fail(self, message: str, code: str, problems: Sequence[str] = ()) -> NoReturn:
        partial = self._partial
        context = {
            "problems": list(problems),
            "text": self._question.written(partial),
            "stop_reason": partial.stop_reason,
            "repairs": len(self._streams) - 1,
        }
        raise OutputError(message, code=code, context=context, request_id=partial.request_id, partial=partial)

    @property
    def _responses(self) -> list[MessageResponse]:
        return [stream.response for stream in self._streams]

    @property
    def _partial(self) -> OutputResponse[Any]:
        return OutputResponse.of(self._responses, None)
