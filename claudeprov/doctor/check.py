"""What a look at one thing came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from claudeprov.errors import ProviderError

Status = Literal["ok", "warning", "fault", "skipped"]
"""``warning``: calls work, and something is to be seen to. ``fault``: something that is configured does not work.
``skipped``: it was not looked at, and ``found`` says why."""


@dataclass(frozen=True, slots=True)
class Check:
    """What a look at one thing came to. No secret is in it."""

    name: str
    status: Status
    found: str
    """What there is, in one sentence."""
    advice: str | None = None
    """What to do about it."""
    error: ProviderError | None = None
    """Of a fault: what calls meet, or would."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """Figures and names for programs, in seconds and bytes."""
    seconds: float = 0.0
    """How long the look took."""
