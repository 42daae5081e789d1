"""Files that are written whole or not at all, and that take no other's place."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from uuid import uuid4

from claudeprov.errors import ConfigurationError

_HEAD = 1 << 20
"""Bytes of a file by which it is recognised."""


def write_whole(contents: Mapping[Path, bytes]) -> None:
    """Write *contents* to the paths that are its keys, each at once; folders that are missing are made.

    All of them are drafted beside their places before the first takes its own, and no draft is left behind.

    Raises:
        OSError: One cannot be written. Where a draft failed, every file is as it was.
    """
    drafts: dict[Path, Path] = {}
    try:
        for path, content in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            drafts[path] = path.with_name(f".{uuid4().hex}.part")
            # a new file with the rights that the umask gives; mkstemp's could be read by nobody else
            with drafts[path].open("xb") as draft:
                draft.write(content)
        for path, draft_path in drafts.items():
            os.replace(draft_path, path)
    finally:
        for draft_path in drafts.values():
            draft_path.unlink(missing_ok=True)


def replace_ours(contents: Mapping[Path, bytes], is_ours: Callable[[bytes], bool], kind: str) -> None:
    """Write *contents* as ``write_whole`` does, over nothing but what was written so before.

    *is_ours* is asked about the first MiB of a file that is there; *kind* is what ours is called, such as ``report``.

    Raises:
        ConfigurationError: There is something else, a link or no regular file, or one cannot be written. Unless it
            was the last step that failed, every file is as it was.
    """
    for path in contents:
        _refuse_foreign(path, is_ours, kind)
    try:
        write_whole(contents)
    except OSError as error:
        told = ", ".join(map(str, contents))
        raise ConfigurationError(f"{told} cannot be written: {error.strerror or error}") from error


def _refuse_foreign(path: Path, is_ours: Callable[[bytes], bool], kind: str) -> None:
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise ConfigurationError(f"{path} is a link or no regular file, and is not overwritten")
        with path.open("rb") as old:
            is_foreign = not is_ours(old.read(_HEAD))
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read, and is not overwritten: {error}") from error
    if is_foreign:
        raise ConfigurationError(f"{path} is no {kind}, and is not overwritten")
