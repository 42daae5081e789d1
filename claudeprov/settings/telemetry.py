"""What is told of calls."""

from __future__ import annotations

from typing import Literal

from claudeprov.settings.kind import Group


class TelemetrySettings(Group):
    """What is told of each call, as structlog events."""

    exporter: Literal["none"] = "none"
    """Where spans and metrics go; ``none``: nowhere, there are only the events of the logger ``claudeprov``."""
    content: bool = False
    """Whether what tools are called with, and what they return, is told too."""
