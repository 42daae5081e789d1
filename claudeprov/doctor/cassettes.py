"""The recorded sessions that calls are replayed from, or recorded into."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from claudeprov.clock import Clock
from claudeprov.doctor.check import Check
from claudeprov.errors import CassetteError
from claudeprov.paths import cassettes_dir, default_cassettes
from claudeprov.settings.cassette import CassetteSettings
from claudeprov.tools.thread import in_thread

_SHOWN = 3
"""Problems that are told of; ``claudeprov cassettes verify`` tells of all."""
_STALE = "stale: "


async def cassettes(settings: CassetteSettings, clock: Clock) -> Check:
    """Whether the cassettes can be read, hold no secret, and stand for what the API says today."""
    return await in_thread(lambda: _cassettes(settings, clock), "cassettes")


def _cassettes(settings: CassetteSettings, clock: Clock) -> Check:
    from claudeprov.cassette.file import files_below
    from claudeprov.cassette.verify import verify

    folder = Path(settings.path) if settings.path else default_cassettes(replay=settings.mode in ("auto", "replay"))
    found = partial(Check, "cassettes", details={"folder": str(folder)})
    if settings.mode == "record":
        place = folder if folder.is_dir() else next(parent for parent in folder.absolute().parents if parent.exists())
        if not os.access(place, os.W_OK):
            return found("fault", f"{place} cannot be written, so nothing can be recorded", "look at its permissions")
    if not folder.exists():
        if settings.mode == "replay":
            error = CassetteError(f"there is no cassette at {folder}")
            return found("fault", error.message, "look at cassette.path, or record it: claudeprov record", error)
        return found("skipped", f"there is none at {folder} yet")
    try:
        files = files_below(folder)
    except CassetteError as error:
        if settings.mode == "replay":
            return found("fault", error.message, "record one: claudeprov record", error)
        return found("skipped", error.message)
    # Those that ship cannot be recorded again by whoever they are shipped to, so that their age alone is nothing.
    max_age = None if folder == cassettes_dir() else settings.max_age
    problems = {str(file): verify(file, max_age=max_age, clock=clock) for file in files}
    stale = [f"{file}: {line}" for file, lines in problems.items() for line in lines if line.startswith(_STALE)]
    wrong = [f"{file}: {line}" for file, lines in problems.items() for line in lines if not line.startswith(_STALE)]
    found = partial(found, details={"folder": str(folder), "cassettes": len(files), "stale": stale, "wrong": wrong})
    every = f"claudeprov cassettes verify {folder} tells all"
    if wrong:
        return found("fault", f"{len(files)} in {folder}: {_some(wrong)}", f"record them anew; {every}")
    if stale:
        advice = f"claudeprov record records those again that are stale; {every}"
        return found("warning", f"{len(files)} in {folder}: {_some(stale)}", advice)
    return found("ok", f"{len(files)} in {folder}, all sound")


def _some(problems: list[str]) -> str:
    more = len(problems) - _SHOWN
    return "; ".join(problems[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")
