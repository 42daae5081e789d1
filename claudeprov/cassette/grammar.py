"""The grammar of the API's answers: the order of a stream's events, and which fields each kind of event has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from claudeprov.cassette.answer import Answer
from claudeprov.cassette.interaction import events

_CHOSEN = frozenset(
    {"ping", "content_block_start", "content_block_delta", "content_block_stop"}
    | {"text", "thinking", "redacted_thinking", "tool_use", "server_tool_use"}
    | {"text_delta", "thinking_delta", "signature_delta", "citations_delta", "input_json_delta"}
)
"""Events, blocks and deltas that one answer has and the next has not, without a change of the API."""

_MODELS_OWN = frozenset({"input", "content"})
"""Fields of a content block whose inner structure is the model's or a tool's."""

_JSON_TYPES = {str: "string", bool: "boolean", int: "number", float: "number", list: "array", dict: "object"}


def stream_problem(body: bytes, *, whole: bool) -> str | None:
    """Say where a streamed *body* leaves the grammar of the Messages API, if it does.

    A stream begins with ``message_start``, has blocks one after another, each started, filled and stopped, then a
    ``message_delta`` or more, and ends with ``message_stop``; an ``error`` ends it anywhere. Events of other types may
    stand anywhere. A body that is not *whole* may stop anywhere, in the middle of an event too.
    """
    state, block = "new", None
    everything = list(events(body))
    for number, event in enumerate(everything, start=1):
        if event is None:
            return None if not whole and number == len(everything) else f"event {number} is no JSON object"
        index = event.get("index")
        match event.get("type"):
            case "message_start":
                right, state = state == "new", "blocks"
            case "content_block_start":
                right, block = state == "blocks" and block is None, index
            case "content_block_delta":
                right = block is not None and block == index
            case "content_block_stop":
                right, block = block is not None and block == index, None
            case "message_delta":
                right, state = state in ("blocks", "deltas") and block is None, "deltas"
            case "message_stop":
                right, state = state == "deltas", "ended"
            case "error":
                right, state = state != "ended", "ended"
            case _:
                right = True
        if not right:
            return f"event {number}, {event['type']}, must not stand there"
    return "the stream ends without message_stop" if whole and state != "ended" else None


def grammar_changes(old: Iterable[Answer], new: Iterable[Answer]) -> Iterator[tuple[str, str]]:
    """Give place and text of each event, block, delta and field that is new, gone or of another type in *new*.

    The answers are whole ones. Left out is what depends on the model's words: which of the known blocks it wrote, the
    input of its tool calls.
    """
    was, now = _shapes(old), _shapes(new)
    for name in sorted({*was, *now}):
        kind, _, what = name.partition(" ")
        if name in was and name in now:
            yield from ((name, change) for change in _field_changes(was[name], now[name], ""))
        elif (what or kind) not in _CHOSEN and not what.endswith("_tool_result"):
            yield name, "is gone" if name in was else "is new"


@dataclass(slots=True)
class _Shape:
    """What values at one place look like, over all of them."""

    types: set[str] = field(default_factory=set)
    fields: dict[str, _Shape] = field(default_factory=dict)
    """Of objects by name; of arrays under ``[]``."""

    def add(self, value: Any, opaque: frozenset[str] = frozenset()) -> None:
        if value is None:
            return  # a field that is null has no type to compare
        self.types.add(_JSON_TYPES[type(value)])
        items = value.items() if isinstance(value, dict) else [("[]", item) for item in _items(value)]
        for name, item in items:
            shape = self.fields.setdefault(name, _Shape())
            if name not in opaque:
                shape.add(item)


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _shapes(answers: Iterable[Answer]) -> dict[str, _Shape]:
    shapes: dict[str, _Shape] = {}
    for answer in answers:
        for name, value in _parts(answer):
            shapes.setdefault(name, _Shape()).add(value, _MODELS_OWN)
    return shapes


def _parts(answer: Answer) -> Iterator[tuple[str, Any]]:
    """The parts of an answer, each with the name of its kind."""
    for event in answer.events:
        kind = str(event.get("type"))
        part = event.get("content_block", event.get("delta"))
        if kind.startswith("content_block_") and isinstance(part, dict):
            yield f"{kind} {part.get('type')}", part
            event = {name: value for name, value in event.items() if value is not part}
        yield kind, event
    if not answer.events and isinstance(answer.document, dict):
        message = answer.document
        if answer.message is not None:
            yield from ((f"block {block.get('type')}", block) for block in answer.blocks)
            message = {name: value for name, value in message.items() if name != "content"}
        yield str(message.get("type", "document")), message


def _field_changes(was: _Shape, now: _Shape, path: str) -> Iterator[str]:
    if was.types and now.types and not was.types & now.types:
        yield f"{path or 'it'} is {_names(now.types)}, was {_names(was.types)}"
    if not (was.fields and now.fields):
        return
    for name in sorted({*was.fields, *now.fields}):
        at = f"{path}{name}" if name == "[]" else f"{path}.{name}".removeprefix(".")
        if name not in now.fields:
            yield f"the field {at} is gone"
        elif name not in was.fields:
            yield f"the field {at} is new"
        else:
            yield from _field_changes(was.fields[name], now.fields[name], at)


def _names(types: set[str]) -> str:
    return " or ".join(sorted(types))
