"""What must never stand in a cassette, wherever it hides."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from claudeprov.cassette.interaction import Interaction
from claudeprov.chunk import InputJSONDelta, MessageChunk, Piece, TextDelta, ThinkingDelta, chunks_of
from claudeprov.errors import StreamInterruptedError
from claudeprov.secret import kinds_of_secrets, without_random_words
from claudeprov.sse import EventReader

_OPAQUE = re.compile(r"data|signature|encrypted_\w+|(?:\w+_)?id")
"""Fields of the API whose values look random and are not secret."""


class _Line(NamedTuple):
    """A piece of text, and where it stands."""

    place: str
    text: str
    opaque: bool = False


def find_secrets(interaction: Interaction) -> list[tuple[str, str]]:
    """Give place and kind of everything in *interaction* that looks like a secret, never the secret itself.

    Bodies are searched with their JSON decoded, streams with the text of their deltas joined; base64 is not decoded.
    """
    lines = list(_lines(interaction))
    whole = "\n".join(line.text for line in lines if not line.opaque)
    if not any(kinds_of_secrets(whole)):  # nearly always; the single lines are many
        lines = [line for line in lines if line.opaque]
    found = {
        (without_random_words(line.place), kind): None
        for line in lines
        for kind in kinds_of_secrets(line.text, opaque=line.opaque)
    }
    return list(found)


def _lines(interaction: Interaction) -> Iterator[_Line]:
    request, details = interaction.request, interaction.details
    yield _Line("request address", request.uri)
    yield from (_Line(f"request header {name}", f"{name}: {value}") for name, value in request.headers.items())
    yield from _lines_of_body("request body", request.body or b"")
    yield from (_Line(f"response header {name}", f"{name}: {value}") for name, value in interaction.headers)
    yield from _lines_of_body("response body", interaction.body)
    yield _Line("error", (details and details.error) or "")
    yield _Line("name of the suite or test", (details and details.suite) or "")


def _lines_of_body(place: str, body: bytes) -> Iterable[_Line]:
    document = _json(body)
    return _lines_of_stream(place, body) if document is None else _lines_of_json(place, document)


def _lines_of_json(place: str, document: Any) -> Iterator[_Line]:
    """Every value that is neither object nor array, after its name; however deep it is nested."""
    waiting = [("$", "", document)]
    while waiting:
        path, name, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [(f"{path}.{key}", key, value[key]) for key in reversed(value)]
        elif isinstance(value, list):
            waiting += [(f"{path}[{index}]", name, value[index]) for index in reversed(range(len(value)))]
        else:
            text = f"{name}: {value}" if name else str(value)
            yield _Line(f"{place} at {path}", text, opaque=bool(_OPAQUE.fullmatch(name)))


def _lines_of_stream(place: str, body: bytes) -> Iterator[_Line]:
    """The text of deltas joined, every text in all other events, and whatever is no event."""
    joined: defaultdict[tuple[str, int | None], list[str]] = defaultdict(list)
    loose: set[bytes] = set()
    for event, chunk in _events(body):
        if chunk is None:
            loose.add(event)
            continue
        loose.add(event.partition(b"data:")[0])
        if chunk.rest is None:
            name, text = _piece(chunk.piece)
            joined[name, chunk.index].append(text)
            continue
        yield from _lines_of_json(f"{place}, event {chunk.type}", chunk.rest)
        for name, text in chunk.delta.items():
            if isinstance(text, str) and name != "type":
                joined[name, chunk.index].append(text)
    yield from (_Line(place, text.decode("utf-8", "replace")) for text in loose)
    for (name, index), texts in joined.items():
        where, text = f"{place}, joined {name} of block {index}", "".join(texts)
        document = _json(text) if name == "partial_json" else None
        if document is None:
            yield _Line(where, text, opaque=bool(_OPAQUE.fullmatch(name)))
        else:
            yield from _lines_of_json(where, document)


def _events(body: bytes) -> Iterable[tuple[bytes, MessageChunk | None]]:
    """The events of a stream, each with its chunk: ``None`` for one that has no data, or data that are no JSON."""
    reader = EventReader()
    events = [event for event in (*reader.feed(body), *reader.finish()) if event]
    with suppress(StreamInterruptedError):
        chunks = list(chunks_of(events))
        if len(chunks) == len(events):
            return zip(events, chunks, strict=True)
    return ((event, _chunk(event)) for event in events)


def _piece(piece: Piece | None) -> tuple[str, str]:
    match piece:
        case TextDelta():
            return "text", piece.text
        case ThinkingDelta():
            return "thinking", piece.thinking
        case InputJSONDelta():
            return "partial_json", piece.partial_json
    return "", ""


def _chunk(event: bytes) -> MessageChunk | None:
    try:
        return next(iter(chunks_of([event])), None)
    except StreamInterruptedError:
        return None


def _json(text: bytes | str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
