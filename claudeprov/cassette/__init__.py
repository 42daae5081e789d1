"""Cassettes: real sessions with the API, recorded once and replayed."""

from __future__ import annotations

from collections.abc import Callable
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

    Raises:
        CassetteError: What should be replayed is not there, or no cassette.
    """
    # vcrpy costs half a second to import
    if mode == "replay":
        from claudeprov.cassette.file import files_below, load
        from claudeprov.cassette.replay import ReplayTransport

        return ReplayTransport([load(file) for file in files_below(path)], clock=clock, speed=speed)
    if mode == "record":
        from claudeprov.cassette.recording import RecordingTransport

        return RecordingTransport(path, inner(), clock=clock, suite=suite)
    return inner()
