"""The folder that runs, the ledger and what waits for it are written into."""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path

from claudeprov.doctor.check import Check
from claudeprov.tools.thread import in_thread

_LOW = 200 * 2**20
"""Bytes free below which a disk is nearly full."""


async def disk(runs_dir: str) -> Check:
    """Whether ``runs_dir`` can be written, or made, and how much room there is."""
    return await in_thread(lambda: _disk(runs_dir), "disk")


def _disk(runs_dir: str) -> Check:
    folder = Path(runs_dir).absolute()
    place = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(place).free
    found = partial(Check, "disk", details={"folder": str(folder), "free_bytes": free})
    if not place.is_dir():
        return found("fault", f"{place} is no folder", "choose another runs_dir")
    if not os.access(place, os.W_OK | os.X_OK):
        return found(
            "fault", f"{place} cannot be written by this user", "choose another runs_dir, or see its permissions"
        )
    told = f"{folder} can be {'written' if place == folder else 'made'}; {free / 2**30:.1f} GiB are free"
    return found("warning", told, "make room on that disk") if free < _LOW else found("ok", told)
