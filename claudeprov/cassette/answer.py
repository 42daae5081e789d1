"""What an interaction's answer says: its events, and the message that they add up to."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from claudeprov.cassette.interaction import Interaction, events
from claudeprov.chunk import chunks_of
from claudeprov.errors import StreamInterruptedError
from claudeprov.response import Usage
from claudeprov.snapshot import Snapshot
from claudeprov.sse import EventReader


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as its reader got it."""

    events: tuple[dict[str, Any], ...]
    """The events of a stream, those left out that are no JSON objects; empty where there was no stream."""
    document: Any
    """The message that the events add up to, as far as they go; or the whole body as JSON; ``None`` if it is none."""

    @property
    def message(self) -> dict[str, Any] | None:
        """The document, where it is a message."""
        return self.document if isinstance(self.document, dict) and self.document.get("type") == "message" else None

    @property
    def blocks(self) -> list[dict[str, Any]]:
        """The content blocks of a message."""
        content = (self.message or {}).get("content")
        return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []

    @property
    def usage(self) -> Usage:
        """What a message used."""
        usage = (self.message or {}).get("usage")
        return Usage(usage if isinstance(usage, dict) else None)

    def text(self, kind: str = "text") -> str:
        """The text of all blocks of that *kind*, ``text`` or ``thinking``, joined."""
        return "".join(str(block.get(kind) or "") for block in self.blocks if block.get("type") == kind)


def answer_of(interaction: Interaction) -> Answer:
    """Read the answer of *interaction*; where its stream leaves the grammar, the message ends there."""
    if is_stream(interaction):
        told = tuple(event for event in events(interaction.body) if event is not None)
        error = next((event for event in told if event.get("type") == "error"), None)
        return Answer(told, _accumulated(interaction.body) or error)
    try:
        return Answer((), json.loads(interaction.body))
    except (ValueError, RecursionError):
        return Answer((), None)


def is_stream(interaction: Interaction) -> bool:
    """Whether the answer is a stream of events, by its own word."""
    return any(name.lower() == "content-type" and "event-stream" in value for name, value in interaction.headers)


def call_text(block: dict[str, Any]) -> str:
    """Write the tool call of a content *block* as ``name(argument=value)``."""
    given = block.get("input")
    arguments = (f"{name}={value!r}" for name, value in given.items()) if isinstance(given, dict) else [repr(given)]
    return f"{block.get('name')}({', '.join(arguments)})"


def _accumulated(body: bytes) -> dict[str, Any]:
    reader, snapshot = EventReader(), Snapshot()
    try:
        for chunk in chunks_of([*reader.feed(body), *reader.finish()]):
            snapshot.add(chunk)
    except StreamInterruptedError:
        pass  # what came before stands
    return snapshot.message()
