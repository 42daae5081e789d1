"""One recorded exchange: vcrpy's request and response, and what a cassette keeps beyond them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import msgspec
from vcr.cassette import Cassette
from vcr.request import Request

from claudeprov.sse import EventReader, data_of

KEY = "claudeprov"
"""The key inside an interaction's ``response``; plain vcrpy and pytest-recording carry it along unseen."""

FORMAT = 1
"""Version of what stands under :data:`KEY`."""

LOCAL = " (local)"
"""Ends the address of a server on the recorder's own machine."""

End = Literal["complete", "broken", "cancelled", "unanswered"]
"""How an exchange ended: read to its end; broken off within the body; left by its reader; failed before an answer."""


class Details(msgspec.Struct, frozen=True, omit_defaults=True):
    """When, where and how an interaction was recorded."""

    format: int
    """:data:`FORMAT` of the claudeprov that wrote it."""
    recorded_at: str
    """Start of the request: RFC 3339, UTC."""
    server: str
    """Scheme and host of the server, and :data:`LOCAL` where it ran on the recorder's own machine."""
    versions: dict[str, str]
    """Of ``claudeprov``, and where the request told them, of the SDK (``anthropic``) and the ``api``."""
    end: End
    model: str | None = None
    """The model asked for."""
    served: str | None = None
    """The model that answered, by its own word."""
    suite: str | None = None
    """The suite or test that was recorded."""
    error: str | None = None
    """Class and message of the transport's error where the exchange broke off: ``ReadError: ...``."""
    chunks: str = ""
    """Sizes of the chunks, in bytes of the body as saved, separated by spaces."""
    times: str = ""
    """Microseconds from one moment to the next, separated by spaces: the request's start, the answer's headers, each
    chunk, the end. An unanswered request has its end only."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """The chunks' sizes as numbers."""
        return tuple(map(int, self.chunks.split()))

    @property
    def waits(self) -> tuple[int, ...]:
        """The times as numbers, in microseconds."""
        return tuple(map(int, self.times.split()))

    @property
    def answered(self) -> bool:
        """Whether the answer's headers came."""
        return len(self.waits) > 1

    @property
    def first_chunk(self) -> float | None:
        """Seconds from the request's start to the first chunk; ``None`` if none came."""
        return sum(self.waits[:2]) / 1_000_000 if self.chunks else None

    @property
    def total(self) -> float:
        """Seconds from the request's start to the end."""
        return sum(self.waits) / 1_000_000

    def check(self, body: bytes) -> str | None:
        """Say what is wrong with these details of *body*, if anything is."""
        if self.format != FORMAT:
            return f"{KEY}.format is {self.format}; this version reads {FORMAT}"
        try:
            known_when = datetime.fromisoformat(self.recorded_at).tzinfo is not None
        except ValueError:
            known_when = False
        if not known_when:
            return f"{KEY}.recorded_at is {self.recorded_at!r:.40}; RFC 3339 is needed"
        try:
            sizes, waits = self.sizes, self.waits
        except ValueError:
            return f"{KEY}.chunks and {KEY}.times must be whole numbers separated by spaces"
        if min(sizes, default=1) < 1 or sum(sizes) != len(body):
            return f"{KEY}.chunks add up to {sum(sizes)} bytes, the body has {len(body)}"
        needed = 1 if self.end == "unanswered" or (self.end == "cancelled" and not self.answered) else len(sizes) + 2
        if min(waits, default=0) < 0 or len(waits) != needed:
            return f"{KEY}.times has {len(waits)} entries for {len(sizes)} chunks; {needed} are needed, none below 0"
        if (self.error is not None) != (self.end in ("broken", "unanswered")):
            return f"{KEY}.end is {self.end} and {KEY}.error is {'missing' if self.error is None else 'given'}"
        return None


@dataclass(frozen=True, slots=True)
class Interaction:
    """One exchange of a cassette."""

    cassette: Cassette
    index: int
    request: Request
    status: int
    headers: list[tuple[str, str]]
    body: bytes
    details: Details | None
    """``None`` where something else recorded it."""

    @property
    def place(self) -> str:
        """Where it stands, for a person."""
        return f"interaction {self.index + 1} of {self.cassette.path}"


def interactions(cassette: Cassette) -> Iterator[Interaction]:
    """The exchanges of *cassette*, in the order in which their requests started."""
    for index, (request, response) in enumerate(cassette.data):
        yield Interaction(
            cassette,
            index,
            request,
            response["status"]["code"],
            [(name, value) for name, values in response["headers"].items() for value in values],
            response["body"].get("string") or b"",
            msgspec.convert(response.get(KEY), Details | None),
        )


def events(body: bytes) -> Iterator[dict[str, Any] | None]:
    """The events of a streamed *body* as JSON objects, without comments; ``None`` for one that is no JSON object."""
    reader = EventReader()
    for event in (*reader.feed(body), *reader.finish()):
        if data := data_of(event):
            try:
                value = json.loads(data.decode("utf-8", "replace"))
            except (ValueError, RecursionError):
                value = None
            yield value if isinstance(value, dict) else None
