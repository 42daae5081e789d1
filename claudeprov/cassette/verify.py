"""What a cassette must be before it is committed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from vcr.cassette import Cassette
from vcr.record_mode import RecordMode

from claudeprov.cassette.answer import is_stream
from claudeprov.cassette.file import load
from claudeprov.cassette.grammar import stream_problem
from claudeprov.cassette.interaction import Interaction, interactions
from claudeprov.cassette.redact import REQUEST_HEADERS, RESPONSE_HEADERS
from claudeprov.cassette.secrets import find_secrets
from claudeprov.cassette.staleness import API_VERSION, stale
from claudeprov.clock import SYSTEM_CLOCK, Clock
from claudeprov.errors import CassetteError

if TYPE_CHECKING:
    from claudeprov.cassette.users import Project


def verify(
    path: Path, *, project: Project | None = None, max_age: float | None = None, clock: Clock = SYSTEM_CLOCK
) -> list[str]:
    """Say what is wrong with the cassette *path*: no line, nothing wrong.

    Checked are its format, the details of each interaction, headers and secrets, the grammar of every stream, whether
    it is stale (see :func:`~claudeprov.cassette.staleness.stale`) or an orphan, and that plain vcrpy replays the same
    bytes.

    Args:
        path: The file.
        project: Whose cassettes must have a user each; orphans are not looked for if it is left out.
        max_age: Days after which a recording is stale; any age will do if left out.
        clock: Tells how old it is.
    """
    try:
        recorded = list(interactions(load(path)))
    except CassetteError as error:
        return [error.message]
    problems = [f"interaction {item.index + 1}: {problem}" for item in recorded for problem in _problems(item)]
    reasons = {stale(item, now=clock.now(), api=API_VERSION, max_age=max_age) for item in recorded if item.details}
    problems += sorted(f"stale: {reason}" for reason in reasons if reason)
    suites = {item.details.suite: None for item in recorded if item.details and item.details.suite}
    if project is not None and project.owns(path) and not project.users(path, suites):
        given = f"; it was recorded for {', '.join(suites)}" if suites else ""
        problems.append(f"orphan: no suite, test or file of the project uses it{given}")
    return [*problems, *_problems_of_plain_vcrpy(path, recorded)]


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
    if is_stream(interaction):
        if problem := stream_problem(interaction.body, whole=whole):
            yield problem
    elif whole and "json" in kind:
        try:
            json.loads(interaction.body)
        except (ValueError, RecursionError) as error:
            yield f"the body is no JSON: {error}"


def _problems_of_plain_vcrpy(path: Path, recorded: list[Interaction]) -> Iterator[str]:
    # It plays equal requests in the order of the file; having it look for each would take time by the square.
    plain = Cassette.load(path=path, record_mode=RecordMode.NONE)
    for item, answer in zip(recorded, plain.responses, strict=True):
        if (answer["status"]["code"], answer["body"].get("string") or b"") != (item.status, item.body):
            yield f"interaction {item.index + 1}: plain vcrpy replays another answer"
