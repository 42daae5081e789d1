"""Charts as SVG, drawn by Vega-Altair. Their colours are the page's custom properties, and follow its scheme."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from xml.etree import ElementTree

import altair as alt
import vl_convert

from claudeprov.report.content import Chart, Unit, finite, shown

_WIDTH = 352
_TALL = 180
_ROW = 26
"""Points of height for each bar."""
_LABEL = 26
"""Characters of a thing's name beside its bar; the table below the chart has all of it."""
_NAME = "slice(datum.label, indexof(datum.label, ' ') + 1)"
"""In Vega's language, what is written for a label."""
_FONT = "system-ui, sans-serif"
_PLAIN = {unit: f"format(datum.value, '{form}')" for unit, form in (("", ",.9~f"), ("$", "$,.9~f"), ("%", ".0%"))}
_SHORT = "format(datum.value, datum.value < 1e15 ? '~s' : '.1e')"
_TICKS: dict[Unit, str] = {
    "count": f"datum.value < 1e5 ? {_PLAIN['']} : {_SHORT}",
    "seconds": f"datum.value < 1e6 ? {_PLAIN['']} : {_SHORT}",
    "dollars": _PLAIN["$"],
    "share": _PLAIN["%"],
}
"""In Vega's language, what is written at a value."""
_TONES = {
    **dict.fromkeys(("passed", "answered", "read"), "good"),
    **{"failed": "bad", "error": "fair", "cancelled": "fair"},
    **dict.fromkeys(("no_code", "abandoned", "others"), "mild"),
}
"""Names of series that have a colour of their own; the others take theirs in turn."""
_COLOURS = 8
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_TIMES = (
    *((number * _MINUTE, "%H:%M") for number in (1, 2, 5, 15, 30)),
    *((number * _HOUR, "%H:%M") for number in (1, 3, 6)),
    (12 * _HOUR, "%d %b %H:%M"),
    *((number * _DAY, "%d %b") for number in (1, 2, 7, 14, 28)),
    *((number * _DAY, "%b %Y") for number in (56, 112, 224)),
)
"""How many seconds apart times are told, and how; no two of an axis look alike."""
_MOST_TIMES = 4
_NAMESPACE = "http://www.w3.org/2000/svg"
_TAGS = {"svg", "g", "path", "text", "line", "rect", "defs", "clipPath"}

ElementTree.register_namespace("", _NAMESPACE)


def draw(chart: Chart) -> str:
    """Return *chart* as an SVG element without a name; whoever shows it gives it one."""
    marks = {"stacks": _stacks, "lines": _lines, "bars": _bars, "dots": _dots}[chart.form](chart)
    whole = marks.properties(
        width=_WIDTH,
        height=_height(chart),
        autosize=alt.AutoSizeParams(type="fit", contains="padding"),
        padding={"left": 20, "right": 12, "top": 6, "bottom": 6},  # a reader's letters may be wider than Vega's
        background="transparent",
    )
    return _cleaned(vl_convert.vegalite_to_svg(_styled(whole).to_dict()))


def _height(chart: Chart) -> int:
    if chart.form in ("stacks", "lines"):
        return _TALL
    beside = (True, len(chart.series) > 1, chart.unit == "seconds")  # axis, legend, the axis's title
    return _ROW * max(2, len(_things(chart))) + 24 * sum(beside)


def _colour(name: str, series: Sequence[str]) -> str:
    """Return the custom property of the page that holds the colour of a series."""
    plain = [one for one in series if one not in _TONES]
    return f"--{_TONES[name]}" if name in _TONES else f"--series-{plain.index(name) % _COLOURS + 1}"


def _stacks(chart: Chart) -> Any:
    values = sorted(_timed(chart), key=lambda value: value["order"])
    tops: dict[int, float] = {}
    for value in values:  # Vega-Lite stacks no marks that have a beginning and an end
        value["low"] = tops.get(value["at"], 0.0)
        tops[value["at"]] = value["high"] = value["low"] + value["value"]
    return (
        alt.Chart(alt.InlineData(values=values))
        .mark_rect(stroke="var(--panel)", strokeWidth=0.5)
        .encode(x=_time(chart), x2="until:T", y=_value(chart, alt.Y, "high"), y2="low:Q", color=_color(chart))
    )


def _lines(chart: Chart) -> Any:
    return (
        alt.Chart(alt.InlineData(values=_broken(_timed(chart), chart.step)))
        .mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=22))
        .encode(x=_time(chart), y=_value(chart, alt.Y), color=_color(chart))
    )


def _bars(chart: Chart) -> Any:
    return (
        alt.Chart(alt.InlineData(values=_named(chart)))
        .mark_bar(height=alt.RelativeBandSize(band=0.7))
        .encode(x=_value(chart, alt.X), y=_thing(chart), color=_color(chart), order="order:Q")
    )


def _dots(chart: Chart) -> Any:
    base = alt.Chart(alt.InlineData(values=_named(chart))).encode(y=_thing(chart), color=_color(chart))
    dots = base.mark_point(filled=True, size=70, opacity=1).encode(x=_value(chart, alt.X))
    if all(point.low is None for point in chart.points):
        return dots
    return base.mark_rule(strokeWidth=3, opacity=0.45).encode(x=_value(chart, alt.X, "low"), x2="high:Q") + dots


def _timed(chart: Chart) -> list[dict[str, Any]]:
    values = []
    for point, value in zip(chart.points, _values(chart), strict=True):
        assert isinstance(point.at, datetime)
        start = round(point.at.timestamp() * 1000)
        until = start + round(chart.step * 1000)
        values.append(value | {"at": start, "until": until})
    return values


def _broken(values: list[dict[str, Any]], step: float) -> list[dict[str, Any]]:
    """Add a point without a value behind each that no other follows at once, so that no line leads over the gap."""
    known = {(value["series"], value["at"]) for value in values}
    ends = [value for value in values if (value["series"], value["until"]) not in known]
    return values + [value | {"at": value["until"], "value": None} for value in ends] if step else values


def _named(chart: Chart) -> list[dict[str, Any]]:
    things = _things(chart)
    return [value | {"thing": things[point.at]} for point, value in zip(chart.points, _values(chart), strict=True)]


def _values(chart: Chart) -> list[dict[str, Any]]:
    labels, order = _labels(chart.series), {name: number for number, name in enumerate(chart.series)}
    return [
        {"series": labels[one.series], "order": order[one.series]}
        | {"value": finite(one.value), "low": finite(one.low), "high": finite(one.high)}
        for one in chart.points
    ]


def _things(chart: Chart) -> dict[Any, str]:
    return _labels([point.at for point in chart.points])


def _labels(names: Iterable[Any]) -> dict[Any, str]:
    """Short labels of names, each with a number that keeps it apart. A control character in one would abort Vega."""
    return {name: f"{number} {shown(str(name), _LABEL)}" for number, name in enumerate(dict.fromkeys(names))}


def _time(chart: Chart) -> alt.X:
    times = [int(point.at.timestamp()) for point in chart.points if isinstance(point.at, datetime)]
    first, last = min(times), max(times)
    fitting = (one for one in _TIMES if one[0] >= min(chart.step, _DAY) and (last - first) / one[0] < _MOST_TIMES)
    step, form = next(fitting, (366 * _DAY, "%Y"))
    told = [at * 1000 for at in range(first + -first % step, last + 1, step)]
    axis = alt.Axis(grid=False, values=told, format=form, labelOverlap=True, labelSeparation=8)
    return alt.X("at:T", title=None, scale=alt.Scale(type="utc"), axis=axis)


def _value(chart: Chart, channel: Any, field: str = "value") -> Any:
    domain = alt.Scale(domain=[0, 1]) if chart.unit == "share" else alt.Scale(nice=True, zero=True)
    whole = chart.unit == "count" and all(point.value == round(point.value or 0) for point in chart.points)
    label = f"datum.value % 1 ? '' : {_TICKS['count']}" if whole else _TICKS[chart.unit]
    axis = alt.Axis(
        labelExpr=label,
        labelOverlap="greedy",
        labelSeparation=10,
        tickCount=4,
        tickMinStep=1 if whole else alt.Undefined,
        titlePadding=14,  # as for the padding: the numbers may be wider
    )
    return channel(f"{field}:Q", title="seconds" if chart.unit == "seconds" else None, scale=domain, axis=axis)


def _thing(chart: Chart) -> alt.Y:
    axis = alt.Axis(grid=False, labelExpr=_NAME, labelLimit=130)
    return alt.Y("thing:N", title=None, sort=list(_things(chart).values()), axis=axis)


def _color(chart: Chart) -> alt.Color:
    labels = _labels(chart.series)
    scale = alt.Scale(domain=list(labels.values()), range=[f"var({_colour(name, chart.series)})" for name in labels])
    columns = 4 if sum(map(len, labels)) < 36 else 2
    legend = alt.Legend(
        orient="top",
        title=None,
        symbolType="circle",
        columns=columns,
        columnPadding=12,
        labelExpr=_NAME,
        labelLimit=260 // columns,
    )
    return alt.Color("series:N", scale=scale, legend=legend if len(labels) > 1 else None)


def _styled(chart: Any) -> Any:
    ink, faint = "var(--soft)", "var(--line)"
    return (
        chart.configure_view(stroke=None)
        .configure_axis(
            labelColor=ink,
            titleColor=ink,
            gridColor=faint,
            domainColor=faint,
            tickColor=faint,
            labelFont=_FONT,
            titleFont=_FONT,
            labelFontSize=12,
            titleFontSize=12,
            titleFontWeight="normal",
        )
        .configure_legend(labelColor=ink, labelFont=_FONT, labelFontSize=12, symbolStrokeWidth=0)
    )


def _cleaned(svg: str) -> str:
    """Take out what the page says itself: names for each mark, and a fixed size.

    Raises:
        ValueError: There is something in it that a chart is not made of.
    """
    root = ElementTree.fromstring(svg)  # noqa: S314 - of our own making
    for element in root.iter():
        tag = element.tag.removeprefix(f"{{{_NAMESPACE}}}")
        if tag not in _TAGS:
            raise ValueError(f"a chart has no element {tag}")
        for name in [name for name in element.attrib if name.startswith(("aria-", "on")) or name in ("class", "role")]:
            del element.attrib[name]
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.set("aria-hidden", "true")
    root.set("focusable", "false")
    return ElementTree.tostring(root, encoding="unicode")
