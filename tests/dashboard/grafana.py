"""What Grafana makes of a query before it is sent."""

from __future__ import annotations

import re
from typing import Any

CHOSEN = {"job": ".*", "instance": ".*", "model": ".*"}
"""All."""


def filled_in(text: str, *, interval: str, shown: str, chosen: dict[str, str] = CHOSEN) -> str:
    """*text* with values in place of its variables, of which each must be known."""
    values = {"__rate_interval": interval, "__range": shown, **chosen}
    return re.sub(r"\$\{?(\w+)\}?", lambda found: values[found[1]], text)


def panels_of(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """All panels that show something."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]
