"""The message that a stream's events add up to, and the grammar that they must keep."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import jiter

from claudeprov.chunk import InputJSONDelta, MessageChunk, Piece, TextDelta, ThinkingDelta
from claudeprov.errors import InvalidResponseError, StreamInterruptedError


class _Block:
    """A content block that is being written; its pieces are joined only when somebody looks.

    They are kept as UTF-8 (lone surrogates, which JSON may hold, included): CPython 3.11's StringIO would keep each
    piece as a string of its own, eight times the memory of a long text.
    """

    __slots__ = ("closed", "fields", "json", "text", "thinking")

    def __init__(self, fields: dict[str, Any]) -> None:
        self.fields = dict(fields)
        if fields["type"] == "text" and not isinstance(fields.get("text", ""), str):
            raise TypeError("text that is none")
        self.text: BytesIO | None = None
        self.thinking: BytesIO | None = None
        self.json: BytesIO | None = None
        self.closed = False

    def write(self, piece: Piece) -> None:
        if isinstance(piece, TextDelta):
            if self.text is None:
                self.text = self._writer(TextDelta, self.fields.get("text"))
            self.text.write(piece.text.encode("utf-8", "surrogatepass"))
        elif isinstance(piece, ThinkingDelta):
            self.thinking = self.thinking or self._writer(ThinkingDelta, self.fields.get("thinking"))
            self.thinking.write(piece.thinking.encode("utf-8", "surrogatepass"))
        else:
            self.json = self.json or self._writer(InputJSONDelta)
            self.json.write(piece.partial_json.encode("utf-8", "surrogatepass"))

    def _writer(self, kind: type[Piece], start: str | None = None) -> BytesIO:
        if _PIECES.get(self.fields["type"], kind) is not kind:
            raise TypeError("a piece of another kind than its block")
        writer = BytesIO()
        writer.write((start or "").encode("utf-8", "surrogatepass"))
        return writer

    def add(self, delta: dict[str, Any]) -> None:
        match delta["type"]:
            case "signature_delta":
                self.fields["signature"] = delta["signature"]
            case "citations_delta":
                self.fields["citations"] = [*(self.fields.get("citations") or ()), delta["citation"]]
            case "compaction_delta":
                whole = {"content": None, "encrypted_content": None, **delta}
                self.fields.update({name: value for name, value in whole.items() if name != "type"})
            case "text_delta" | "thinking_delta" | "input_json_delta":
                raise KeyError  # without its text

    def value(self) -> dict[str, Any]:
        fields = dict(self.fields)
        if self.text is not None:
            fields["text"] = _text(self.text)
        if self.thinking is not None:
            fields["thinking"] = _text(self.thinking)
        if self.json is not None and (written := self.json.getvalue()):
            fields["input"] = _partial_json(written)
        return fields


_PIECES: dict[str, type[Piece]] = {
    "text": TextDelta,
    "thinking": ThinkingDelta,
    "tool_use": InputJSONDelta,
    "server_tool_use": InputJSONDelta,
    "mcp_tool_use": InputJSONDelta,
}
"""What blocks of the known kinds are written in; one of another kind takes whatever comes."""


class Snapshot:
    """What has arrived of a message so far.

    Grammar, as the API documents it; a ping or an unknown event may stand anywhere:

        stream := message_start block* message_delta+ message_stop
        block  := content_block_start content_block_delta* content_block_stop
    """

    __slots__ = ("_blocks", "_message", "_usage", "complete", "completed_at")

    def __init__(self) -> None:
        self._message: dict[str, Any] | None = None
        self._usage: dict[str, Any] = {}
        self._blocks: list[_Block] = []
        self.complete = False
        """Whether the message has been told to its end."""
        self.completed_at: float | None = None
        """When it was, in the monotonic seconds of who reads; the body may take longer to end."""

    def add(self, chunk: MessageChunk) -> None:
        """Take in the next event.

        Raises:
            StreamInterruptedError: The event stands where the grammar has no place for it, or lacks a field.
        """
        kind = chunk.type
        try:
            if kind == "content_block_delta":
                block = self._blocks[chunk.index]  # type: ignore[index]
                if block.closed:
                    raise IndexError
                if chunk.piece is not None:
                    block.write(chunk.piece)
                else:
                    block.add(chunk.data["delta"])
            elif kind in _RULES:
                _RULES[kind](self, chunk)
        except (IndexError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise StreamInterruptedError(
                f"the stream left its grammar with a {kind} event that has no place or lacks a field",
                code="out_of_grammar",
                context={"event": kind, "index": chunk.index},
            ) from error

    def finish(self) -> None:
        """Take note of the end of the body.

        Raises:
            StreamInterruptedError: The message is not complete.
        """
        if self.complete:
            return
        if self._message is None:
            what = "before the message began"
        elif self.open_blocks:
            what = f"inside content block {self.open_blocks[0]}"
        elif not self._message.get("stop_reason"):
            what = "without a stop reason"
        else:
            self.complete = True  # a proxy that leaves out message_stop
            return
        raise StreamInterruptedError(f"the stream ended {what}", code="truncated")

    @property
    def open_blocks(self) -> list[int]:
        """The blocks that have begun, but not ended."""
        return [index for index, block in enumerate(self._blocks) if not block.closed]

    def renew_usage(self, start: MessageChunk) -> None:
        """Take the counts of another ``message_start``, which begins the rest of the message."""
        self._usage = _checked(start.data["message"].get("usage"))

    def message(self) -> dict[str, Any]:
        """The message as JSON: what the official SDK would have accumulated from the same events."""
        message = dict(self._message or {})
        if self._message is not None:
            message["content"] = [block.value() for block in self._blocks]
            message["usage"] = dict(self._usage)
        return message

    def tool_json(self) -> dict[int, str]:
        """The input of each tool call as the model wrote it, by block index."""
        return {index: _text(block.json) for index, block in enumerate(self._blocks) if block.json is not None}

    def take(self, message: dict[str, Any]) -> None:
        """Take in the whole message of a plain exchange.

        Raises:
            InvalidResponseError: It is no whole message.
        """
        try:
            if not message["stop_reason"] or not isinstance(message["stop_reason"], str):
                raise TypeError("no reason to stop")
            self._blocks = [_Block(block) for block in message["content"]]
            self._usage = _checked(message.get("usage"))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidResponseError("the answer is JSON, but no whole message of the Messages API") from error
        self._message = message
        self.complete = True

    def _message_start(self, chunk: MessageChunk) -> None:
        if self._message is not None:
            raise IndexError
        message = dict(chunk.data["message"])
        if not isinstance(message.get("stop_reason"), str | None):
            raise TypeError
        self._usage = _checked(message.get("usage"))
        self._message = message

    def _block_start(self, chunk: MessageChunk) -> None:
        block = chunk.data["content_block"]
        if self._message is None or self._message.get("stop_reason") or chunk.index != len(self._blocks):
            raise IndexError
        if self._blocks and not self._blocks[-1].closed:
            raise IndexError
        begun = _Block(block)
        if block["type"] == "fallback":  # names the model that serves from here on
            self._message["model"] = block["to"]["model"]
        self._blocks.append(begun)

    def _block_stop(self, chunk: MessageChunk) -> None:
        block = self._blocks[chunk.index]  # type: ignore[index]
        if block.closed:
            raise IndexError
        block.closed = True

    def _message_delta(self, chunk: MessageChunk) -> None:
        if self._message is None:
            raise IndexError
        delta, usage = chunk.data["delta"], _checked(chunk.data.get("usage"))
        reason = delta.get("stop_reason")
        if reason is not None and (not reason or not isinstance(reason, str) or self.open_blocks):
            raise IndexError
        for name in ("stop_reason", "stop_sequence", "stop_details"):
            self._message[name] = delta.get(name)
        known = {**delta, **chunk.data}
        for name, value in known.items():
            if name not in _DELTA_FIELDS and value is not None:
                self._message[name] = value
        # Counts are cumulative totals: they replace. One that is left out or null leaves the earlier one standing.
        self._usage.update({name: value for name, value in usage.items() if value is not None})

    def _message_stop(self, chunk: MessageChunk) -> None:
        if self._message is None or not all(block.closed for block in self._blocks):
            raise IndexError
        if not self._message.get("stop_reason"):
            raise KeyError("stop_reason")
        self.complete = True


_DELTA_FIELDS = frozenset(("type", "delta", "usage", "stop_reason", "stop_sequence", "stop_details"))
_RULES = {
    "message_start": Snapshot._message_start,
    "content_block_start": Snapshot._block_start,
    "content_block_stop": Snapshot._block_stop,
    "message_delta": Snapshot._message_delta,
    "message_stop": Snapshot._message_stop,
}


def _checked(usage: Any) -> dict[str, Any]:
    """A usage object whose counts are counts, so that whoever adds them up need not ask."""
    counted: dict[str, Any] = dict(usage or {})
    for name, value in counted.items():
        if name.endswith("_tokens") and value is not None and (type(value) is not int or value < 0):
            raise TypeError(f"{name} is no count")
    return counted


def _text(writer: BytesIO) -> str:
    return writer.getvalue().decode("utf-8", "surrogatepass")


def _partial_json(written: bytes) -> Any:
    """As far as it goes. JSON that is none (a tool with eager streaming may write such) is wrapped as the API's
    documentation asks for when it is sent back."""
    try:
        return jiter.from_json(written, partial_mode=True)
    except ValueError:
        return {"INVALID_JSON": written.decode("utf-8", "surrogatepass")}
