"""What a ``_target_`` names: code of claudeprov's own, or of a package that the user trusts."""

from __future__ import annotations

import pkgutil
from collections.abc import Sequence
from typing import Any


def trusts(target: str, allowed: Sequence[str]) -> bool:
    """Whether a dotted name lies in claudeprov or in one of the packages *allowed*."""
    return any(target.startswith(f"{package}.") for package in ("claudeprov", *allowed))


def resolve(target: str, allowed: Sequence[str]) -> Any:
    """Import what *target* names.

    Raises:
        ValueError: There is no such thing, or it is from elsewhere than claudeprov and the packages *allowed*.
    """
    if not trusts(target, allowed):
        raise ValueError(f"{target} is outside claudeprov; allow_targets must name its package")
    try:
        found = pkgutil.resolve_name(target)
    except Exception as error:  # importing it runs code of the user's own
        raise ValueError(f"there is no {target}: {error}") from error
    # A name inside an allowed module may still lead out of it (package.module.os.system).
    home = str(getattr(getattr(found, "run", found), "__module__", None))
    if not trusts(f"{home}.", allowed):
        raise ValueError(f"{target} comes from {home}, which allow_targets does not name")
    return found
