"""The recorded sessions that calls are replayed from, or recorded into."""

from __future__ import annotations

import os
import stat
from functools import partial
from pathlib import Path

from claudeprov.clock import Clock
from claudeprov.doctor.check import Check, Status
from claudeprov.doctor.disk import obstacle
from claudeprov.errors import CassetteError
from claudeprov.paths import cassettes_dir, default_cassettes
from claudeprov.settings.cassette import CassetteSettings
from claudeprov.thread import in_thread

_SHOWN = 3
"""Problems that are told of; ``claudeprov cassettes verify`` tells of all."""
_STALE = "stale: "


async def cassettes(settings: CassetteSettings, clock: Clock) -> Check:
    """Whether the cassettes can be read, hold no secret, and stand for what the API says today."""
    return await in_thread(lambda: _cassettes(settings, clock), "doctor cassettes")


def _cassettes(settings: CassetteSettings, clock: Clock) -> Check:
    from claudeprov.cassette.verify import verify

    folder = Path(settings.path) if settings.path else default_cassettes(replay=settings.mode in ("auto", "replay"))
    found = partial(Check, "cassettes", details={"folder": str(folder)})
    replay, record = settings.mode == "replay", settings.mode == "record"
    bad: Status = "fault" if replay or record else "warning"  # live calls read none
    if record and (what := obstacle(folder.parent if os.path.isfile(folder) else folder)):
        return found("fault", f"nothing can be recorded: {what}", "look at its permissions")
    try:
        files = _files(folder)
    except CassetteError as error:
        if replay:
            return found("fault", error.message, "look at cassette.path, or record one: claudeprov record", error)
        return found("skipped", error.message)
    except OSError as error:
        what = f"{error.filename} cannot be read: {error.strerror}"
        return found(bad, what, "look at its permissions", CassetteError(what) if bad == "fault" else None)
    # Those that ship cannot be recorded again by whoever they are shipped to, so that their age alone is nothing.
    max_age = None if folder == cassettes_dir() else settings.max_age
    problems = {str(file): verify(file, max_age=max_age, clock=clock) for file in files}
    stale = [f"{file}: {line}" for file, lines in problems.items() for line in lines if line.startswith(_STALE)]
    wrong = [f"{file}: {line}" for file, lines in problems.items() for line in lines if not line.startswith(_STALE)]
    found = partial(found, details={"folder": str(folder), "cassettes": len(files), "stale": stale, "wrong": wrong})
    every = f"claudeprov cassettes verify {folder} tells all"
    if wrong:
        return found(bad, f"{len(files)} in {folder}: {_some(wrong)}", f"record them anew; {every}")
    if stale:
        advice = f"claudeprov record records those again that are stale; {every}"
        return found("warning", f"{len(files)} in {folder}: {_some(stale)}", advice)
    return found("ok", f"{len(files)} in {folder}, all sound")


def _files(folder: Path) -> list[Path]:
    """The cassette itself, or all below the folder.

    Raises:
        CassetteError: There is none.
        OSError: It, or a folder below it, cannot be read, and would pass for an empty one.
    """
    from claudeprov.cassette.file import files_below

    def refuse(error: OSError) -> None:
        raise error

    try:
        if stat.S_ISDIR(folder.stat().st_mode):
            list(os.walk(folder, onerror=refuse))
    except FileNotFoundError as error:
        raise CassetteError(f"there is no cassette at {folder}") from error
    return files_below(folder)


def _some(problems: list[str]) -> str:
    more = len(problems) - _SHOWN
    return "; ".join(problems[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")
