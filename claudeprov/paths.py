"""File names, and where the files that ship with claudeprov are: in a wheel's package, beside it in a checkout."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

_LONGEST_NAME = 100
_PACKAGE = Path(__file__).resolve().parent


def conf_dir() -> Path:
    """Return the folder of the Hydra config groups.

    Raises:
        FileNotFoundError: The installation is incomplete.
    """
    return _shipped("conf")


def cassettes_dir() -> Path:
    """Return the folder of the cassettes; a wheel holds only those of the packaged suites.

    Raises:
        FileNotFoundError: The installation is incomplete.
    """
    return _shipped("cassettes")


def default_cassettes(*, replay: bool) -> Path:
    """Return the cassettes of a configuration that names none: ``cassettes`` in the current folder; where a replay
    finds none there, those that ship with claudeprov."""
    own = Path("cassettes")
    return cassettes_dir() if replay and not own.is_dir() else own


def file_name(text: str) -> str:
    """Make a plain name of a file or folder of *text*, such as a model's id.

    It has letters, digits, ``_``, ``.``, ``@`` and ``-``, and at most 100 bytes; one that is cut ends in a digest, so
    that it stays apart from others that begin alike. A name that this has made is left as it is.
    """
    name = re.sub(r"[^\w.@-]+", "-", text).strip(".-") or "none"
    if len(name.encode()) <= _LONGEST_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name.encode()[: _LONGEST_NAME - 9].decode(errors='ignore')}-{digest}"


def _shipped(name: str) -> Path:
    places = (_PACKAGE / name, _PACKAGE.parent / name)
    for place in places:
        if place.is_dir():
            return place
    raise FileNotFoundError(f"the folder {name!r} of claudeprov is neither at {places[0]} nor at {places[1]}")
