"""Where the files that ship with claudeprov are: in the package of a wheel, beside it in a checkout."""

from __future__ import annotations

from pathlib import Path

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


def _shipped(name: str) -> Path:
    places = (_PACKAGE / name, _PACKAGE.parent / name)
    for place in places:
        if place.is_dir():
            return place
    raise FileNotFoundError(f"the folder {name!r} of claudeprov is neither at {places[0]} nor at {places[1]}")
