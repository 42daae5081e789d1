"""Random schedules of calls and faults, each told by its seed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx2

from claudeprov.testing import text_events
from claudeprov.testing.faulty import Reply

READERS = ("read", "await", "leave", "raise", "stop", "cancel", "break")
"""How a call's answer is read: iterated to its end; awaited; left early; left by an exception of the reader's; stopped
from another task; with its task cancelled; abandoned by a bare break."""

STATUSES = (400, 401, 402, 403, 404, 408, 409, 412, 413, 422, 429, 431, 499, 500, 501, 503, 504, 529)
TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


@dataclass(frozen=True)
class Planned:
    """One call: when it begins, how it is read, and when its reader loses interest."""

    at: float
    reader: str
    chunks: int
    after: float
    plain: bool


@dataclass
class Schedule:
    """Calls, and what each request of theirs will get.

    Args:
        seed: Decides on everything.
        size: Number of calls.
        faults: Share of requests that meet a fault.
    """

    seed: int
    size: int
    faults: float
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random = Random(self.seed)
        self._fault_by_call = random.random() < 0.2
        span = random.choice((0.0, 5.0, 60.0, 900.0))
        self.calls = [
            Planned(
                round(random.uniform(0, span), 3),
                random.choice(READERS) if random.random() < 0.4 else "read",
                random.randrange(6),
                round(random.choice((0.0, 0.1, 3.0, 40.0)) * random.random(), 3),
                random.random() < 0.15,
            )
            for _ in range(self.size)
        ]

    def reply(self, request: httpx2.Request) -> Reply:
        """What *request* gets."""
        random = self._random
        is_plain = not json.loads(request.content).get("stream")
        fault = random.choice(_FAULTS) if random.random() < self.faults else _answered
        self.told.append(fault.__name__)
        return fault(random, is_plain)


def _events(random: Random) -> list[dict[str, Any]]:
    return text_events(*["word "] * random.randrange(1, 8))


def _wire(events: list[dict[str, Any]]) -> list[bytes]:
    return [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events]


def _body(random: Random, events: list[dict[str, Any]]) -> list[bytes | float]:
    """The events in network reads that know nothing of events, with a silence here and there."""
    data = b"".join(_wire(events))
    cuts = sorted(random.sample(range(1, len(data)), random.choice((0, 0, 1, 3))))
    pieces: list[bytes | float] = []
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        if random.random() < 0.2:
            pieces.append(round(random.uniform(0, 20), 3))
        pieces.append(data[start:end])
    return pieces


def _json(body: object, status: int, random: Random, **headers: str) -> Reply:
    content = json.dumps(body).encode()
    return Reply((content,), status, {"content-type": "application/json", **headers}, after=_delay(random))


def _delay(random: Random) -> float:
    return round(random.choice((0.0, 0.0, 0.2, 5.0)) * random.random(), 3)


def _answered(random: Random, is_plain: bool) -> Reply:
    if not is_plain:
        return Reply(_body(random, _events(random)), after=_delay(random))
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn"}
    message |= {"content": [{"type": "text", "text": "Hi"}], "usage": {"input_tokens": 9, "output_tokens": 4}}
    return _json(message, 200, random)


def _refused(random: Random, is_plain: bool) -> Reply:
    status = random.choice((*STATUSES, 429, 500, 529, 529))
    headers = {"request-id": f"req_{random.randrange(10**6)}"}
    if random.random() < 0.4:
        headers["retry-after"] = str(random.choice((0, 1, 7, 30, 4000)))
    if random.random() < 0.1:
        headers["x-should-retry"] = random.choice(("true", "false"))
    error: dict[str, Any] = {"type": TYPES.get(status, "api_error"), "message": "no"}
    if status == 429 and random.random() < 0.3:
        error["details"] = {"error_code": random.choice(("ramp_limit_exceeded", "enforced_spend_limit_reached"))}
    return _json({"type": "error", "error": error}, status, random, **headers)


def _error_event(random: Random, is_plain: bool) -> Reply:
    events = _events(random)
    kind = random.choice(("overloaded_error", "api_error", "rate_limit_error", "invalid_request_error"))
    events.insert(random.randrange(len(events)), {"type": "error", "error": {"type": kind, "message": "no"}})
    return Reply(_body(random, events))


def _cut(random: Random, is_plain: bool) -> Reply:
    """A body that breaks off anywhere, in the middle of a character included."""
    data = b"".join(_wire(_events(random)))
    end = random.choice(("clean", "short", "reset", "hang"))
    return Reply((data[: random.randrange(len(data))],), end=end)


def _no_answer(random: Random, is_plain: bool) -> Reply:
    end = random.choice(("short", "reset", "hang"))
    return Reply(status=None, end=end, after=_delay(random))


def _stall(random: Random, is_plain: bool) -> Reply:
    pieces: list[bytes | float] = [*_wire(_events(random))]
    pieces.insert(random.randrange(len(pieces)), random.choice((30.0, 119.0, 121.0, 700.0)))
    return Reply(pieces)


def _pings(random: Random, is_plain: bool) -> Reply:
    pieces: list[bytes | float] = [*_wire(_events(random))]
    ping = b'event: ping\ndata: {"type": "ping"}\n\n'
    where = random.randrange(len(pieces))
    pieces[where:where] = [ping, 50.0] * random.randrange(1, 20)
    return Reply(pieces)


def _garbage(random: Random, is_plain: bool) -> Reply:
    events = _wire(_events(random))
    event = b"event: content_block_delta\ndata: {" if random.random() < 0.5 else random.randbytes(40) + b"\n\n"
    events.insert(random.randrange(len(events)), event)
    return Reply((b"".join(events),))


def _disordered(random: Random, is_plain: bool) -> Reply:
    events = _events(random)
    one = random.randrange(len(events))
    if random.random() < 0.5:
        events.insert(one, events[one])
    else:
        events.insert(random.randrange(len(events)), events.pop(one))
    return Reply((b"".join(_wire(events)),))


def _page(random: Random, is_plain: bool) -> Reply:
    return Reply((b"<html>Bad gateway</html>",), random.choice((200, 502)), {"content-type": "text/html"})


_FAULTS: tuple[Callable[[Random, bool], Reply], ...] = (
    _refused,
    _refused,
    _refused,
    _error_event,
    _cut,
    _cut,
    _no_answer,
    _stall,
    _pings,
    _garbage,
    _disordered,
    _page,
)
