"""The folder that runs are written into, and whether a folder can be."""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile

from claudeprov.doctor.check import Check
from claudeprov.thread import in_thread

_LOW = 200 * 2**20
"""Bytes free below which a disk is nearly full."""


async def disk(runs_dir: str) -> Check:
    """Whether ``runs_dir`` can be written, or made, and how much room there is.

    It is no fault if not: calls need none, and a ledger that is to be kept there has a check of its own.
    """
    return await in_thread(lambda: _disk(runs_dir), "doctor disk")


def _disk(runs_dir: str) -> Check:
    folder = Path(runs_dir).absolute()
    place = _nearest(folder)
    free = shutil.disk_usage(place).free
    found = partial(Check, "disk", details={"folder": str(folder), "free_bytes": free})
    if what := obstacle(folder):
        return found("warning", f"{what}, and no run is kept", "choose another runs_dir, or see to its permissions")
    told = f"{folder} can be {'written' if place == folder else 'made'}; {free / 2**30:.1f} GiB are free"
    return found("warning", told, "make room on that disk") if free < _LOW else found("ok", told)


def obstacle(folder: Path) -> str | None:
    """Why *folder* can be neither written nor made, ``None`` if it can: a file without a name is tried."""
    place = _nearest(folder.absolute())
    try:
        TemporaryFile(dir=place).close()
    except OSError as error:  # such as those of a file system that is read-only, which permissions do not tell
        return f"{place} cannot be written: {error.strerror}"
    return None


def _nearest(folder: Path) -> Path:
    """*folder*, or the nearest above it that is there, as far as this user can see."""
    return next(path for path in (folder, *folder.parents) if os.path.exists(path))
