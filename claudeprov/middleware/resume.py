"""Going on with a stream that has broken in mid-text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Any

from claudeprov.catalog import Model
from claudeprov.chain import Call, Next
from claudeprov.chunk import MessageChunk, TextDelta
from claudeprov.errors import ProviderError, ServiceError
from claudeprov.middleware.deadline import in_time
from claudeprov.notice import Notices
from claudeprov.request import MessageRequest
from claudeprov.response import Join
from claudeprov.settings.resume import ResumeSettings
from claudeprov.snapshot import Snapshot
from claudeprov.stream import Source, Stream
from claudeprov.tokens import Estimator


class Resume:
    """Goes on, up to ``max_joins`` times, with a stream that a failure of the service breaks in mid-text.

    The reader's stream stays the one that it is: the events of another request, which asks for the rest, follow those
    that he has read, as if they were of one message. A model that takes prefill is given the text so far as the
    beginning of its answer; any other, and any that thinks, in a message of the user's that asks for the rest.

    Only text is gone on with. Where a tool call, or anything else but text and whole thinking blocks, has begun, after
    a stop reason, and where the text has to be JSON of a schema, the error stands. Thinking of a continuation is not
    shown: it belongs to another conversation than the answer will stand in. A continuation that cannot be opened lets
    the error stand as well; its ``context["resume"]`` then says why. Each attempt's usage and cost are in
    ``response.attempts``, each place in ``response.joins``. Posts ``resume.joined``.

    Raises:
        CallTimeoutError: The call's deadline has passed meanwhile; ``code`` is ``deadline_exceeded``.
    """

    def __init__(
        self,
        settings: ResumeSettings,
        *,
        models: Callable[[str], Model | None],
        estimator: Estimator,
        notices: Notices,
    ) -> None:
        self._max_joins = settings.max_joins
        self._models = models
        self._estimator = estimator
        self._notices = notices

    async def __call__(self, call: Call, call_next: Next) -> Stream:
        stream = await call_next(call)
        stream.mend(lambda stream, error: self._rest(stream, call_next, error))
        return stream

    async def _rest(self, stream: Stream, call_next: Next, error: ProviderError) -> Source:
        shown, broken = stream.snapshot, stream
        for _ in range(self._max_joins):
            if not (_may_pass(error) and can_go_on(stream.call.request, shown)):
                break
            seam = Seam(shown)
            inner = await self._reopened(stream, broken, call_next, error)
            stream.on_end(inner.end)
            try:
                while await inner.read():
                    if chunks := seam.join(inner.pending):
                        yield chunks
                shown.completed_at = inner.snapshot.completed_at
                shown.finish()
                return
            except ProviderError as failure:
                broken, error = inner, failure
            finally:
                await inner.close()
        error.partial = None  # for it is of the last request alone
        raise error

    async def _reopened(self, stream: Stream, broken: Stream, call_next: Next, error: ProviderError) -> Stream:
        """Open a stream for the rest of what *stream* has shown, after *broken* gave the latest part of it."""
        call, asked, answered = stream.call, stream.call.request, len(stream.call.attempts) - 1
        text = stream.response.text
        call.request = going_on(asked, text, self._models(asked.model or ""), self._estimator)
        try:
            for check in tuple(call.checks):
                await check()
            inner = await in_time(call, call_next)
        except ProviderError as failure:
            if failure.code == "deadline_exceeded":
                raise
            error.context["resume"] = f"{failure.code}: {failure.message}"
            error.partial = None
            raise error from error.__cause__
        finally:
            call.request = asked
        paid = replace(broken.response, attempts=())
        call.attempts[answered] = replace(
            call.attempts[answered], error_code=error.code, usage=paid.usage, cost=paid.cost
        )
        join = Join(len(text), len(call.attempts), error.code)
        stream.joins += (join,)
        stream.request_id = inner.request_id
        self._notices.post("resume.joined", call.id, at=join.at, attempt=join.attempt, error=join.error_code)
        return inner


def can_go_on(request: MessageRequest, shown: Snapshot) -> bool:
    """Whether what is *shown* of the answer to *request* can be gone on with."""
    message = shown.message()
    blocks = message.get("content", ())
    output = getattr(request, "output_config", None)
    return (
        bool(message)
        and not message.get("stop_reason")
        and all(block["type"] in _PASSED for block in blocks)
        and all(index == len(blocks) - 1 and blocks[index]["type"] == "text" for index in shown.open_blocks)
        and not (isinstance(output, dict) and output.get("format"))
    )


def going_on(request: MessageRequest, text: str, model: Model | None, estimator: Estimator) -> MessageRequest:
    """The request for what follows *text* in the answer to *request*; itself where no text has come yet."""
    text = _whole_end(text).encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # halves of a pair are joined
    if not text:
        return request
    if _thinks(request, model):
        return request.model_copy(update={"messages": [*request.messages, _please_go_on(text)]})
    prefills = model is not None and model.capabilities.prefill
    messages = _prefilled(request.messages, text) if prefills else [*request.messages, _please_go_on(text)]
    changed: dict[str, Any] = {"messages": messages}
    if request.max_tokens is not None:
        changed["max_tokens"] = max(1, request.max_tokens - estimator.text(text, model).input_tokens)
    return request.model_copy(update=changed)


class Seam:
    """Makes of a continuation's events those that go on with what was shown.

    Its ``message_start`` only gives its usage, its blocks are numbered on, and its text goes on with a text block that
    is open. The text so far was sent without the white space, or the half of a character, at its end, with which a
    model begins: it is not repeated. A continuation that comes as plain JSON is made into events.
    """

    def __init__(self, shown: Snapshot) -> None:
        content = shown.message().get("content", [])
        text = "".join(block.get("text") or "" for block in content if block["type"] == "text")
        self._shown = shown
        self._open = next(iter(shown.open_blocks), None)
        self._next = len(content)
        self._drops_thinking = bool(content)
        self._repeated = text[len(_whole_end(text)) :]
        self._indexes: dict[int | None, int | None] = {}

    def join(self, chunks: Iterable[MessageChunk]) -> list[MessageChunk]:
        """What to show for *chunks*, which is added to what was shown."""
        joined = [each for chunk in chunks for each in self._joined(chunk)]
        for chunk in joined:
            self._shown.add(chunk)
        return joined

    def _joined(self, chunk: MessageChunk) -> Iterator[MessageChunk]:
        match chunk.type:
            case "message_start":
                self._shown.renew_usage(chunk)
            case "content_block_start":
                yield from self._begun(chunk, chunk.data["content_block"])
            case "content_block_delta" | "content_block_stop":
                index = self._indexes[chunk.index]
                if index is not None:
                    yield from self._moved(chunk, index)
            case "message_delta":
                yield from self._closed()
                yield chunk
            case "message":
                for each in _events(chunk.data):
                    yield from self._joined(each)
            case _:
                yield chunk

    def _begun(self, chunk: MessageChunk, block: Mapping[str, Any]) -> Iterator[MessageChunk]:
        if self._drops_thinking and block["type"] in _THINKING:
            self._indexes[chunk.index] = None
            return
        if self._open is not None and block["type"] == "text":
            index, self._open = self._open, None
            self._indexes[chunk.index] = index
            if begun := block.get("text"):
                yield from self._moved(MessageChunk("content_block_delta", index, TextDelta(begun)), index)
            return
        yield from self._closed()
        self._indexes[chunk.index] = self._next
        yield _at(chunk, self._next)
        self._next += 1

    def _closed(self) -> Iterator[MessageChunk]:
        if self._open is not None:
            yield MessageChunk("content_block_stop", self._open)
            self._open = None

    def _moved(self, chunk: MessageChunk, index: int) -> Iterator[MessageChunk]:
        if not (self._repeated and type(chunk.piece) is TextDelta):
            yield _at(chunk, index)
            return
        units = _units(chunk.text)
        same = takewhile(lambda pair: pair[0] == pair[1], zip(units, self._repeated, strict=False))
        known = len(list(same))
        self._repeated = self._repeated[known:] if known == len(units) else ""
        if rest := units[known:]:
            text = rest.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
            yield MessageChunk(chunk.type, index, TextDelta(text))


_THINKING = frozenset(("thinking", "redacted_thinking"))
_PASSED = _THINKING | {"text"}


def _may_pass(error: ProviderError) -> bool:
    return isinstance(error, ServiceError) and error.retryable and error.code != "deadline_exceeded"


def _whole_end(text: str) -> str:
    """*text* without the first half of a surrogate pair at its end, and without white space there."""
    return (text[:-1] if "\ud800" <= text[-1:] <= "\udbff" else text).rstrip()


def _units(text: str) -> str:
    """*text* with surrogate pairs in place of what UTF-16 writes as such."""
    return "".join(map(chr, memoryview(text.encode("utf-16", "surrogatepass")[2:]).cast("H")))


def _events(message: Mapping[str, Any]) -> Iterator[MessageChunk]:
    """The events as which a whole message would have come."""
    yield _event("message_start", message={**message, "content": [], "stop_reason": None})
    for index, block in enumerate(message["content"]):
        yield _event("content_block_start", index, content_block=block)
        yield _event("content_block_stop", index)
    delta = {name: message.get(name) for name in ("stop_reason", "stop_sequence", "stop_details")}
    yield _event("message_delta", delta=delta, usage=message.get("usage"))
    yield _event("message_stop")


def _event(kind: str, index: int | None = None, **fields: Any) -> MessageChunk:
    place = {} if index is None else {"index": index}
    return MessageChunk(kind, index, rest={"type": kind, **place, **fields})


def _at(chunk: MessageChunk, index: int) -> MessageChunk:
    return MessageChunk(chunk.type, index, chunk.piece, chunk.rest and {**chunk.rest, "index": index})


def _thinks(request: MessageRequest, model: Model | None) -> bool:
    """Whether the answer comes with thinking: as asked for, or as the model does by itself."""
    thinking = getattr(request, "thinking", None)
    if isinstance(thinking, dict):
        return thinking.get("type") != "disabled"
    return model is not None and bool(model.capabilities.thinking.on_when_omitted)


def _prefilled(messages: Sequence[dict[str, Any]], text: str) -> list[dict[str, Any]]:
    if not messages or messages[-1].get("role") != "assistant":
        return [*messages, {"role": "assistant", "content": text}]
    begun = messages[-1]["content"]  # by the user already
    whole = begun + text if isinstance(begun, str) else [*begun, {"type": "text", "text": text}]
    return [*messages[:-1], {**messages[-1], "content": whole}]


def _please_go_on(text: str) -> dict[str, Any]:
    return {
        "role": "user",
        "content": (
            f"Your previous answer was interrupted. It came this far:\n\n<answer>\n{text}\n</answer>\n\n"
            "Continue from exactly where it ends, in the middle of a word if need be. Write only what is missing, "
            "without repeating any of it and without mentioning the interruption."
        ),
    }
