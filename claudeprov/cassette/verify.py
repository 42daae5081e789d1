"""What a cassette must be before it is committed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from vcr.cassette import Cassette
from vcr.record_mode import RecordMode

from claudeprov.cassette.file import load
from claudeprov.cassette.interaction import Interaction, events, interactions
from claudeprov.cassette.redact import REQUEST_HEADERS, RESPONSE_HEADERS
from claudeprov.cassette.secrets import find_secrets
from claudeprov.errors import CassetteError


def verify(path: Path) -> list[str]:
    """Say what is wrong with the cassette *path*: no line, nothing wrong.

    Checked are its format, the details of each interaction, headers and secrets, the grammar of every stream, and that
    plain vcrpy replays the same bytes.
    """
    try:
        recorded = list(interactions(load(path)))
    except CassetteError as error:
        return [error.message]
    problems = [f"interaction {item.index + 1}: {problem}" for item in recorded for problem in _problems(item)]
    return [*problems, *_problems_of_plain_vcrpy(path, recorded)]


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


def _problems(interaction: Interaction) -> Iterator[str]:
    details = interaction.details
    if details is None:
        yield "not recorded by claudeprov: it has no details"
    elif not (details.server and "claudeprov" in details.versions):
        yield "its details lack the server or the version of claudeprov"
    for name in interaction.request.headers:
        if not REQUEST_HEADERS.fullmatch(name):
            yield f"the request header {name} must not be kept"
    for name, _ in interaction.headers:
        if not RESPONSE_HEADERS.fullmatch(name):
            yield f"the response header {name} must not be kept"
    yield from (f"{secret} in {place}" for place, secret in find_secrets(interaction))
    whole = details is None or details.end == "complete"
    kind = next((value for name, value in interaction.headers if name.lower() == "content-type"), "")
    if "text/event-stream" in kind:
        if problem := stream_problem(interaction.body, whole=whole):
            yield problem
    elif whole and "json" in kind:
        try:
            json.loads(interaction.body)
        except ValueError as error:
            yield f"the body is no JSON: {error}"


def _problems_of_plain_vcrpy(path: Path, recorded: list[Interaction]) -> Iterator[str]:
    plain = Cassette.load(path=path, record_mode=RecordMode.NONE)
    for item in recorded:
        answer = plain.play_response(item.request)
        if (answer["status"]["code"], answer["body"]["string"]) != (item.status, item.body):
            yield f"interaction {item.index + 1}: plain vcrpy replays another answer"
