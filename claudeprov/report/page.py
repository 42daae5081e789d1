"""A report as one HTML page: style, script and charts are in it, and its policy forbids it any connection."""

from __future__ import annotations

from base64 import b64encode
from datetime import datetime
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from claudeprov import __version__
from claudeprov.files import replace_ours
from claudeprov.report.charts import draw
from claudeprov.report.content import NONE, Chart, Report, measure, shown

GENERATOR = f"claudeprov {__version__} report"
_MARK = b'<meta name="generator" content="claudeprov '
_HEAD = 2000
"""Bytes of a file in which the mark stands."""


def page_of(report: Report) -> str:
    """Return *report* as a page. Whatever it tells is text there, never markup."""
    environment = Environment(
        loader=PackageLoader("claudeprov.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"shown": shown, "numbers": _numbers, "drawn": _drawn}
    style, script = _asset("page.css"), _asset("page.js")
    allowed = {"default-src": "'none'", "style-src": _digest(style), "script-src": _digest(script)}
    forbidden = {"base-uri": "'none'", "form-action": "'none'"}
    return environment.get_template("page.html").render(
        report=report,
        style=style,
        script=script,
        policy="; ".join(f"{name} {value}" for name, value in (allowed | forbidden).items()),
        generator=GENERATOR,
    )


def save(page: str, file: Path) -> None:
    """Write *page* to *file*, at once or not at all. An earlier report there gives way, anything else does not.

    Raises:
        ConfigurationError: There is something else, or it cannot be written.
    """
    replace_ours({file: page.encode()}, lambda old: _MARK in old[:_HEAD], "report")


def _asset(name: str) -> Markup:
    return Markup(files("claudeprov.report").joinpath(name).read_text(encoding="utf-8"))  # noqa: S704 - ours


def _digest(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def _drawn(chart: Chart) -> Markup:
    return Markup(draw(chart))  # noqa: S704 - checked, element by element


def _numbers(chart: Chart) -> tuple[list[str], list[list[str]]]:
    """The columns and rows of the table that says in numbers what *chart* shows."""
    rows: dict[datetime | str, dict[str, str]] = {}
    for point in chart.points:
        text = measure(point.value, chart.unit)
        if point.low is not None:
            span = f"{measure(point.low, chart.unit)} to {measure(point.high, chart.unit)}"
            text = span if point.value is None else f"{text} ({span})"
        rows.setdefault(point.at, {})[point.series] = text
    cells = [[_at(at), *(values.get(name, NONE) for name in chart.series)] for at, values in rows.items()]
    return ["UTC" if chart.step else "of", *map(shown, chart.series)], cells


def _at(at: datetime | str) -> str:
    return f"{at:%Y-%m-%d %H:%M}" if isinstance(at, datetime) else shown(at)
