"""What the dashboard shows: rows of panels, as data."""

from __future__ import annotations

from claudeprov.dashboard import calls, use
from claudeprov.dashboard.panel import Row
from claudeprov.dashboard.thresholds import Thresholds


def rows(thresholds: Thresholds) -> tuple[Row, ...]:
    """All that is shown, from above."""
    return (
        Row("Overview", tuple(calls.overview(thresholds))),
        Row("Latency and errors", tuple(calls.latency(thresholds))),
        Row("Recovery", tuple(calls.recovery())),
        Row("Rate limits", tuple(use.limits(thresholds))),
        Row("Tokens and cost", tuple(use.cost(thresholds))),
        Row("Budget", tuple(use.budget(thresholds))),
        Row("Tools", tuple(use.tools())),
    )
