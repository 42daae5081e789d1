"""Cassettes: real sessions with the API, recorded once and replayed."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import httpx2

    from claudeprov.clock import Clock


def open_transport(
    mode: Literal["live", "replay", "record"],
    path: Path,
    inner: Callable[[], httpx2.AsyncBaseTransport],
    *,
    clock: Clock,
    speed: float = 0.0,
    suite: str | None = None,
    new_only: bool = False,
    ignore: Sequence[str] = (),
    scrub: Sequence[str] = (),
) -> httpx2.AsyncBaseTransport:
    """Give the transport for a mode: *inner*'s own, one that records it, or one that replays.

    Args:
        mode: ``live`` uses no cassette; ``replay`` makes no inner transport, so that no connection can be opened.
        path: File or folder of cassettes; see :class:`~claudeprov.cassette.recording.RecordingTransport` for the files
            that a recording makes in a folder.
        inner: Makes what carries the requests where they are really sent.
        clock: Where time comes from.
        speed: Pace of a replay: 0 at once, 1 as recorded, 2 twice as fast.
        suite: What is being recorded.
        new_only: Of a recording: what is recorded already is replayed, and only the rest is sent.
        ignore: What does not count when requests are compared; see :class:`~claudeprov.cassette.rules.Rules`.
        scrub: What is written as a pseudonym; see there.

    Raises:
        CassetteError: What should be replayed is not there; or it, or the file to be recorded into, is no cassette.
    """
    if mode == "live":
        return inner()
    # vcrpy costs half a second to import
    from claudeprov.cassette.file import files_below, load
    from claudeprov.cassette.rules import Rules

    rules = Rules(ignore, scrub)
    if mode == "replay":
        from claudeprov.cassette.replay import ReplayTransport

        cassettes = [load(file) for file in files_below(path)]
        return ReplayTransport(cassettes, clock=clock, speed=speed, suite=suite, rules=rules)
    if new_only:
        from claudeprov.cassette.extension import ExtendingTransport

        return ExtendingTransport(path, inner(), clock=clock, suite=suite, rules=rules)
    from claudeprov.cassette.recording import RecordingTransport

    if path.is_file():
        load(path)  # what cannot be read cannot be added to: better known before anything is sent
    return RecordingTransport(path, inner(), clock=clock, suite=suite, rules=rules)


def command_to_record(test: str) -> str:
    """The command that records the cassette of a *test*, which pytest calls by that id."""
    return f"pytest --record-mode=rewrite {shlex.quote(test)}"
