"""What a report tells, before it has a form: figures, charts and tables."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from math import isfinite, sqrt
from typing import Literal

NONE = "—"
LONGEST = 200
"""Characters that are shown of a text, such as a tag or an error."""
_LARGE = 1e12
"""From here on a number is told with three digits."""
_HIDDEN = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
"""What no document may hold, and what would turn the text around it."""

Tone = Literal["good", "bad", "plain"]
Unit = Literal["count", "seconds", "dollars", "share"]


@dataclass(frozen=True, slots=True)
class Cell:
    """What one field of a table shows, and by what it is sorted; what has no key comes last."""

    text: str
    key: float | str | None
    tone: Tone = "plain"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows below names of columns."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    folded: bool = False
    """Whether only its title is shown until it is opened."""

    def filled(self) -> Table:
        """The table without columns in which nothing is told."""
        kept = [number for number in range(len(self.columns)) if any(row[number].text != NONE for row in self.rows)]
        rows = [[row[number] for number in kept] for row in self.rows]
        return replace(self, columns=[self.columns[number] for number in kept], rows=rows)

    def holds_numbers(self, column: int) -> bool:
        """Whether the cells of a column are sorted as numbers."""
        return any(isinstance(row[column].key, (int, float)) for row in self.rows)


@dataclass(frozen=True, slots=True)
class Point:
    """A value of a series at a time or of a thing; ``None`` where there is none."""

    at: datetime | str
    series: str
    value: float | None
    low: float | None = None
    high: float | None = None
    """Between which two it lies, where it is not known exactly."""


@dataclass(frozen=True, slots=True)
class Chart:
    """Points to be drawn.

    ``stacks`` and ``lines`` go over time, ``bars`` and ``dots`` are a line for each thing.
    """

    title: str
    summary: str
    """What it shows, for those who do not see it."""
    form: Literal["stacks", "lines", "bars", "dots"]
    unit: Unit
    points: Sequence[Point]
    series: Sequence[str]
    """Their names, in the order in which they are drawn."""
    step: float = 0.0
    """Seconds that a point over time stands for."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One number that matters, in words."""

    name: str
    text: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """What belongs together."""

    title: str
    charts: Sequence[Chart] = ()
    tables: Sequence[Table] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """A page."""

    title: str
    about: str
    """What it is of."""
    made_at: datetime
    notes: Sequence[str]
    """What a reader has to know before the numbers."""
    facts: Sequence[Fact]
    sections: Sequence[Section]
    texts: Sequence[tuple[str, str]] = ()
    """Answers that were asked for, with their names."""


def shown(text: str, limit: int = LONGEST) -> str:
    """Return *text* as a document can hold it, cut to *limit* characters."""
    clean = _HIDDEN.sub("\ufffd", text)
    return clean if len(clean) <= limit else f"{clean[: limit - 1]}…"


def word(text: str | None, tone: Tone = "plain") -> Cell:
    """A cell of text."""
    return Cell(NONE, None) if text is None else Cell(shown(text), shown(text), tone)


def count(value: int | None) -> Cell:
    """A cell with a whole number."""
    return Cell(NONE, None) if value is None else Cell(f"{value:,}", value)


def figure(value: float | None, unit: Unit) -> Cell:
    """A cell with a measure: seconds, dollars, a share or a count."""
    return Cell(measure(value, unit), finite(value))


def money(low: Decimal | None, high: Decimal | None) -> Cell:
    """A cell with what a call cost: an amount, or between which two it lies; sorted by the larger that is known."""
    if low is None:
        return Cell("unknown", None)
    if high is None:
        return Cell(f"at least ${low.normalize():f}", float(low))
    text = f"${low.normalize():f}"
    return Cell(text if low == high else f"{text} to ${high.normalize():f}", float(high))


def moment(at: datetime) -> Cell:
    """A cell with a time, in UTC."""
    text = f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    return Cell(text, text)


def finite(value: float | None) -> float | None:
    """Return a number; ``None`` for what is infinite or not a number."""
    return value if value is not None and isfinite(value) else None


def measure(value: float | None, unit: Unit) -> str:
    """Write a measure in its unit; what is not finite is none."""
    value = finite(value)
    if value is None:
        return NONE
    if abs(value) >= _LARGE and unit in ("seconds", "count"):
        return f"{value:.3g}{' s' if unit == 'seconds' else ''}"
    match unit:
        case "seconds":
            return f"{value:,.2f} s"
        case "dollars":
            return f"${value:.6f}"
        case "share":
            return f"{value:.1%}"
        case "count":
            return f"{value:,.0f}"


def wilson(passed: int, graded: int) -> tuple[float, float]:
    """Return between which two shares the true rate lies with a confidence of 95 %.

    It is Wilson's score interval (https://doi.org/10.1080/01621459.1927.10502953), which holds for few tasks and for
    rates near 0 and 1, too. *graded* is more than 0.
    """
    z = 1.959964
    rate, square = passed / graded, z * z / graded
    middle = (rate + square / 2) / (1 + square)
    half = z * sqrt(rate * (1 - rate) / graded + square / (4 * graded)) / (1 + square)
    return max(0.0, middle - half), min(1.0, middle + half)
