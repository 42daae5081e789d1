"""What a panel of the dashboard is, and what its queries have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from claudeprov.dashboard.query import Key, Matcher, Queries, key_name
from claudeprov.telemetry.table import MODEL, Label, Metric

Kind = Literal["figure", "lines", "stack", "steps", "states"]
Colour = Literal["green", "yellow", "red"]


@dataclass(frozen=True, slots=True)
class Query:
    """One query of a panel; in ``legend`` a label's name stands in double braces."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel, ``width`` of 24 columns wide."""

    title: str
    description: str
    unit: str
    """Grafana's name of it."""
    queries: tuple[Query, ...]
    width: int = 8
    kind: Kind = "lines"
    """``figure``: one number for the time shown; ``stack``: areas on one another; ``steps``: lines that change at once;
    ``states``: coloured bars."""
    steps: tuple[tuple[float | None, Colour], ...] = ()
    """From which value on it has which colour, ``None``: from the lowest on."""
    most: float | None = None
    """Upper end of the axis; ``None``: what there is."""


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


BREAKER_STATES = {0: ("closed", "green"), 1: ("half open", "yellow"), 2: ("open", "red")}
"""What the numbers of the panel of that name mean."""

SCOPE = ('job=~"$job"', 'instance=~"$instance"')
CHOSEN = (Matcher(MODEL, '=~"$model"'),)
NOW = Queries("$__rate_interval", SCOPE, CHOSEN)
SHOWN = Queries("$__range", SCOPE, CHOSEN)
DAILY = Queries("1d", SCOPE, CHOSEN)
"""Over what Grafana takes for a moment, over all the time that it shows, and over a day."""


def per(metric: Metric, counted: Metric, by: Label) -> str:
    """How much of one counter comes with each of another."""
    return f"{NOW.rate(metric, [by])} / ({NOW.rate(counted, [by])} > 0)"


def legend(key: Key) -> str:
    """Where Grafana puts the label's value."""
    return f"{{{{{key_name(key)}}}}}"
