"""One event of a stream, with the wire's own types; nothing of it is dropped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any

import msgspec

from claudeprov.errors import StreamInterruptedError
from claudeprov.sse import data_of, name_of


class TextDelta(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, tag="text_delta"):
    """A piece of text."""

    text: str


class ThinkingDelta(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, tag="thinking_delta"):
    """A piece of thinking."""

    thinking: str


class InputJSONDelta(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, tag="input_json_delta"):
    """A piece of a tool's input, which is JSON once the block is whole."""

    partial_json: str


Piece = TextDelta | ThinkingDelta | InputJSONDelta


class MessageChunk(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """One event, as it came.

    The events of a stream are those of the Messages API (``message_start``, ``content_block_delta`` ...), unknown ones
    included. A plain exchange (``stream: false``) gives one chunk of type ``message`` with the whole message.

    Events that add text, thinking or tool input and hold nothing unknown, nearly all of a stream, are decoded into
    these fields alone; of every other event ``rest`` holds the whole.
    """

    type: str
    """The event's type."""
    index: Annotated[int, msgspec.Meta(ge=0)] | None = None
    """Which content block it belongs to, if any."""
    piece: Piece | None = msgspec.field(name="delta", default=None)
    """The text, thinking or tool input that it adds, if any."""
    rest: dict[str, Any] | None = msgspec.field(name="", default=None)
    """The whole event, where it is more than the fields above."""

    @property
    def data(self) -> dict[str, Any]:
        """The whole event as JSON, unknown fields included."""
        if self.rest is not None:
            return self.rest
        data: dict[str, Any] = {"type": self.type, "index": self.index, "delta": msgspec.to_builtins(self.piece)}
        return {name: value for name, value in data.items() if value is not None}

    @property
    def text(self) -> str:
        """The text that it adds; empty for anything but text."""
        piece = self.piece
        return piece.text if type(piece) is TextDelta else _text_of_message(self)

    @property
    def thinking(self) -> str:
        """The thinking that it adds; empty for anything but thinking."""
        return self.piece.thinking if isinstance(self.piece, ThinkingDelta) else ""

    @property
    def partial_json(self) -> str:
        """The piece of a tool's input that it adds; empty for anything but that."""
        return self.piece.partial_json if isinstance(self.piece, InputJSONDelta) else ""

    @property
    def delta(self) -> dict[str, Any]:
        """What the event adds, as JSON; empty where it adds nothing."""
        delta = self.data.get("delta")
        return delta if isinstance(delta, dict) else {}

    @property
    def delta_type(self) -> str | None:
        """The type of its delta: ``text_delta``, ``input_json_delta`` ..."""
        return self.delta.get("type")


_decode = msgspec.json.Decoder(MessageChunk).decode
_decode_all = msgspec.json.Decoder(list[MessageChunk]).decode
_PIECES: dict[str, tuple[type[Piece], str]] = {
    "text_delta": (TextDelta, "text"),
    "thinking_delta": (ThinkingDelta, "thinking"),
    "input_json_delta": (InputJSONDelta, "partial_json"),
}


def chunks_of(events: Sequence[bytes]) -> Iterable[MessageChunk]:
    """Decode events of the stream; those without data, as comments are, give no chunk.

    Bytes that are no UTF-8 become U+FFFD, as the standard of server-sent events says.

    Raises:
        StreamInterruptedError: An event's data is no JSON object; the chunks before it have been given.
    """
    # Nearly always each event is a name, one line of data, and hot: one call decodes all of them. Whatever is not so
    # makes the text no JSON, or no array of hot events.
    try:
        data = [event.partition(b"\ndata: ")[2] for event in events]
        chunks = _decode_all(b"[%b]" % b",".join(data))
    except ValueError:
        return _one_by_one(events)
    return chunks if len(chunks) == len(events) else _one_by_one(events)


def chunk_of_message(message: dict[str, Any]) -> MessageChunk:
    """The one chunk of a plain exchange."""
    return MessageChunk("message", rest=message)


def _one_by_one(events: Iterable[bytes]) -> Iterator[MessageChunk]:
    for event in events:
        if data := data_of(event):
            try:
                chunk = _decode(data)
            except ValueError:
                chunk = _decode_any(event, data)
            yield chunk


def _decode_any(event: bytes, data: bytes) -> MessageChunk:
    try:
        # The standard library's reader takes what msgspec refuses: lone surrogates, NaN, numbers without end.
        value = json.loads(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        raise StreamInterruptedError(
            f"an event of the stream holds no JSON: {error}", code="invalid_json", context={"bytes": len(data)}
        ) from error
    if not isinstance(value, dict):
        raise StreamInterruptedError("an event of the stream holds no JSON object", code="invalid_json")
    kind, index = value.get("type"), value.get("index")
    return MessageChunk(
        kind if isinstance(kind, str) else name_of(event),
        index if type(index) is int and index >= 0 else None,
        _piece(value.get("delta")),
        value,
    )


def _piece(delta: object) -> Piece | None:
    if not isinstance(delta, dict):
        return None
    cls, field = _PIECES.get(str(delta.get("type")), (TextDelta, ""))
    value = delta.get(field)
    return cls(value) if isinstance(value, str) else None


def _text_of_message(chunk: MessageChunk) -> str:
    if chunk.type != "message" or chunk.rest is None:
        return ""
    return "".join(block.get("text") or "" for block in chunk.rest.get("content") or () if block.get("type") == "text")
