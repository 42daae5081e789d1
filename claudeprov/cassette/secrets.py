"""What must never stand in a cassette, wherever it hides."""

from __future__ import annotations

import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from claudeprov.cassette.interaction import Interaction
from claudeprov.chunk import InputJSONDelta, MessageChunk, Piece, TextDelta, ThinkingDelta, chunks_of
from claudeprov.errors import StreamInterruptedError
from claudeprov.sse import EventReader

_START = r"(?:(?<![A-Za-z0-9+_-])|(?<=\\[nrt]))"
"""Not in the middle of a word or of base64, but after an escape that was not undone."""


class _Rule(NamedTuple):
    """How one kind of secret looks."""

    kind: str
    marks: tuple[str, ...]
    """One of them stands, in lower case, wherever the pattern matches: looking for them is ten times as fast."""
    pattern: re.Pattern[str]
    """What a group ``random`` holds must look random too."""


_RULES = tuple(
    _Rule(kind, marks, re.compile(_START + pattern))
    for kind, marks, pattern in (
        ("an Anthropic key", ("sk-ant-",), r"sk-ant-[\w-]{16,}"),
        ("an AWS access key", ("akia", "asia"), r"(?:AKIA|ASIA)[0-9A-Z]{16}(?![0-9A-Za-z])"),
        ("a Google API key", ("aiza",), r"AIza[\w-]{35}"),
        ("a Google client secret", ("gocspx-",), r"GOCSPX-[\w-]{20,}"),
        ("a Google access token", ("ya29.",), r"ya29\.[\w-]{20,}"),
        ("a GitHub token", ("gh", "github_pat_"), r"(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{22,})"),
        ("a private key", ("private key",), r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----(?:\\+[rn]|\s)*[\w+/=]{16}"),
        ("a JSON web token", ("eyj",), r"eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"),
        ("an OpenAI key", ("sk-",), r"sk-(?!ant-)(?P<random>[\w-]{20,})"),
    )
)

_RUN = re.compile(r"(?<![\w.~+/-])[\w.~+/-]{20,}", re.ASCII)
"""What may be a secret of no known shape."""

_BEARER = re.compile(r"(?i)\b(?:bearer|basic)\s+$")
_NAME = re.compile(
    r"(?i)(?:(?:api|access|secret|private|account|auth|encryption|signing)[_-]?key|secret|token|passw(?:or)?d|credential)s?"
    r"\\*[\"'`]?\s*(?::|:?=|=>)\s*\\*[\"'`]?$"
)
_BEFORE = 60
"""Characters before a run in which its name may stand."""

_UNNAMED = re.compile(r"(?![a-z]+_0)(?!.*(?:--|__))(?=.*[a-z])(?=.*[A-Z])[A-Za-z0-9_-]{32,128}")
"""A key without a name; neither one of the API's own ids (``msgbatch_01...``), nor a boundary of multipart bodies."""

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
    if not any(_kinds(whole)):  # nearly always; the single lines are many
        lines = [line for line in lines if line.opaque]
    found = {(_masked(line.place), kind): None for line in lines for kind in _kinds(line.text, opaque=line.opaque)}
    return list(found)


def _kinds(text: str, *, opaque: bool = False) -> Iterator[str]:
    lowered = text.lower()
    known = [
        kind
        for kind, marks, pattern in _RULES
        if any(mark in lowered for mark in marks) and any(map(_is_random, pattern.finditer(text)))
    ]
    yield from known
    if not (known or opaque):
        yield from {kind: None for run in _RUN.finditer(text) if (kind := _kind_of_run(run))}


def _kind_of_run(run: re.Match[str]) -> str | None:
    value = run[0].rstrip(".")
    if not _looks_random(value, bits=3.5):
        return None
    before = run.string[max(0, run.start() - _BEFORE) : run.start()]
    if _BEARER.search(before):
        return "a bearer token"
    if _NAME.search(before):
        return "a named secret"
    unnamed = _UNNAMED.fullmatch(value) and len(re.findall("[0-9]+", value)) >= 3 and _looks_random(value, bits=4.3)
    return "a random key" if unnamed else None


def _is_random(match: re.Match[str]) -> bool:
    return "random" not in match.re.groupindex or _looks_random(match["random"], bits=3.5)


def _looks_random(value: str, *, bits: float) -> bool:
    """Whether *value* has letters, digits and at least so many *bits* a character; words and names have not."""
    if not (re.search("[A-Za-z]", value) and re.search("[0-9]", value)):
        return False
    entropy = -sum(count / len(value) * math.log2(count / len(value)) for count in Counter(value).values())
    return entropy >= bits


def _masked(place: str) -> str:
    """A place that holds no secret itself, as the path to a key of JSON may."""
    for rule in _RULES:
        place = rule.pattern.sub("…", place)
    return _RUN.sub(lambda run: "…" if _looks_random(run[0], bits=3.5) else run[0], place)


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
