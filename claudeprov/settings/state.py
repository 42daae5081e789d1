"""Where layers keep what calls share."""

from __future__ import annotations

from typing import Literal

from claudeprov.settings.kind import Group


class StateSettings(Group):
    """Where layers keep what they share."""

    kind: Literal["memory"] = "memory"
    """``memory``: in this process."""
