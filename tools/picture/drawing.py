"""Draws the panels of an exported dashboard as a picture, from a Prometheus's answers to their queries."""

from __future__ import annotations

import re
from io import BytesIO
from typing import Any
from xml.sax.saxutils import escape

import vl_convert
from PIL import Image

from tests.dashboard.grafana import filled_in
from tests.dashboard.prometheus import Prometheus

_WIDTH, _UNIT, _GAP = 1500, 22, 8
"""Pixels of the whole, of a unit of height, and between panels."""
_STEPS = 240
"""Points of a line."""
_INTERVAL = "20s"
_BACK, _CARD, _TEXT, _DIM, _GRID = "#111217", "#181b1f", "#d8d9da", "#9a9ca5", "#2a2d33"
_COLOURS = {"green": "#73bf69", "yellow": "#fade2a", "red": "#f2495c"}
_PALETTE = ["#73bf69", "#5794f2", "#ff9830", "#f2cc0c", "#b877d9", "#8ab8ff", "#ff7383", "#56a64b", "#e0b400"]
_FORMATS = {
    "percentunit": "format(datum.value, '.0%')",
    "currencyUSD": "'$' + format(datum.value, ',.2~f')",
    "none": "format(datum.value, '.2~f')",
    "s": "format(datum.value, '.3~s') + 's'",
}

Series = tuple[str, list[tuple[float, float]]]


def draw(dashboard: dict[str, Any], prometheus: Prometheus, start: float, end: float, *, rows: int) -> bytes:
    """The first *rows* of the dashboard, as a PNG."""
    parts: list[str] = []
    bottom = 0
    for number, panel in enumerate(dashboard["panels"]):
        rows -= panel["type"] == "row"
        if rows < 0:
            break
        place = panel["gridPos"]
        x, y = place["x"] * _WIDTH / 24 + _GAP / 2, place["y"] * _UNIT + _GAP / 2
        width, height = place["w"] * _WIDTH / 24 - _GAP, place["h"] * _UNIT - _GAP
        bottom = max(bottom, place["y"] + place["h"])
        if panel["type"] == "row":
            parts.append(_words(x + 4, y + 16, panel["title"], _TEXT, 17))
            continue
        parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="3" fill="{_CARD}" stroke="{_GRID}"/>'
        )
        parts.append(_words(x + 10, y + 20, panel["title"], _TEXT, 15))
        if panel["type"] == "stat":
            parts.append(_figure(panel, prometheus, start, end, x + width / 2, y + height * 0.8))
            continue
        chart = _chart(panel, _series(panel, prometheus, start, end), width - 20, height - 36, start, end)
        svg = vl_convert.vegalite_to_svg(chart)
        svg = re.sub(r'(id="|url\(#)', rf"\g<1>p{number}", svg)
        parts.append(svg.replace("<svg ", f'<svg x="{x + 10}" y="{y + 28}" ', 1))
    size = f'width="{_WIDTH}" height="{bottom * _UNIT}"'
    back = f'<rect {size} fill="{_BACK}"/>'
    space = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    whole = f"<svg {space} {size}>{back}{''.join(parts)}</svg>"
    picture = Image.open(BytesIO(vl_convert.svg_to_png(whole, scale=1))).convert("RGB")
    packed = BytesIO()
    picture.quantize(96, dither=Image.Dither.NONE).save(packed, "PNG", optimize=True)
    return packed.getvalue()


def _words(x: float, y: float, text: str, colour: str, size: int, anchor: str = "start") -> str:
    style = f'font-family="sans-serif" font-size="{size}" fill="{colour}" text-anchor="{anchor}"'
    return f'<text x="{x}" y="{y}" {style}>{escape(text)}</text>'


def _figure(panel: dict[str, Any], prometheus: Prometheus, start: float, end: float, x: float, y: float) -> str:
    expr = filled_in(panel["targets"][0]["expr"], interval=_INTERVAL, shown=f"{end - start:.0f}s")
    [(_, value)] = prometheus.query(expr, end)
    defaults = panel["fieldConfig"]["defaults"]
    colour = _TEXT
    for step in defaults.get("thresholds", {}).get("steps", []):
        if step["value"] is None or value >= step["value"]:
            colour = _COLOURS[step["color"]]
    unit = defaults["unit"]
    text = {"percentunit": f"{value:.1%}", "currencyUSD": f"${value:,.2f}", "s": f"{value:.2f} s"}.get(
        unit, f"{value:,.0f}"
    )
    return _words(x, y, text, colour, 34, "middle")


def _series(panel: dict[str, Any], prometheus: Prometheus, start: float, end: float) -> list[Series]:
    found = []
    for target in panel["targets"]:
        expr = filled_in(target["expr"], interval=_INTERVAL, shown=f"{end - start:.0f}s")
        for labels, points in prometheus.query_range(expr, start, end, (end - start) / _STEPS):
            name = target["legendFormat"]
            for label, value in labels.items():
                name = name.replace(f"{{{{{label}}}}}", value)
            found.append((name, points))
    return sorted(found)


def _chart(
    panel: dict[str, Any], series: list[Series], width: float, height: float, start: float, end: float
) -> dict[str, Any]:
    defaults = panel["fieldConfig"]["defaults"]
    names = [name for name, _ in series]
    x = {
        "field": "time",
        "type": "temporal",
        "title": None,
        "scale": {"domain": [start * 1000, end * 1000]},
        "axis": {"format": "%H:%M:%S", "tickCount": 4, "grid": False},
    }
    chart = {
        "width": width,
        "height": height,
        "background": "transparent",
        "autosize": {"type": "fit", "contains": "padding"},
        "padding": 0,
        "config": {
            "view": {"stroke": None},
            "axis": {
                "labelColor": _DIM,
                "gridColor": _GRID,
                "domainColor": _GRID,
                "tickColor": _GRID,
                "labelFontSize": 12,
            },
            "legend": {"labelColor": _DIM, "labelFontSize": 12, "orient": "bottom", "title": None, "labelLimit": 460},
        },
    }
    if panel["type"] == "state-timeline":
        return chart | _states(panel, series, x, (end - start) / _STEPS)
    custom = defaults["custom"]
    stacked = "stacking" in custom
    if stacked:  # what is not there takes no room
        times = sorted({time for _, points in series for time, _ in points})
        series = [(name, [(time, dict(points).get(time, 0.0)) for time in times]) for name, points in series]
    rows = [
        {"time": time * 1000, "value": value, "name": name}
        for name, points in series
        for time, value in points
        if value == value
    ]
    columns = max(1, int(width / (7 * max(map(len, names), default=0) + 40)))
    mark: dict[str, Any] = (
        {"type": "area", "fillOpacity": 0.3, "line": {"strokeWidth": 1}}
        if stacked
        else {
            "type": "line",
            "strokeWidth": 1.3,
        }
    )
    if custom.get("lineInterpolation") == "stepAfter":
        mark["interpolate"] = "step-after"
    label = _FORMATS.get(defaults["unit"], "format(datum.value, '~s')")
    y: dict[str, Any] = {
        "field": "value",
        "type": "quantitative",
        "title": None,
        "stack": "zero" if stacked else None,
        "axis": {"labelExpr": label, "tickCount": 4, "tickMinStep": 1 if defaults["unit"] == "short" else 0},
        "scale": {"domainMin": 0, **({"domainMax": defaults["max"]} if "max" in defaults else {})},
    }
    colour = {
        "field": "name",
        "type": "nominal",
        "scale": {"domain": names, "range": [_PALETTE[number % len(_PALETTE)] for number in range(len(names))]},
        "legend": {"symbolType": "stroke", "columns": columns, "symbolStrokeWidth": 3},
    }
    return chart | {"data": {"values": rows}, "mark": mark, "encoding": {"x": x, "y": y, "color": colour}}


def _states(panel: dict[str, Any], series: list[Series], x: dict[str, Any], step: float) -> dict[str, Any]:
    [mapping] = panel["fieldConfig"]["defaults"]["mappings"]
    options = mapping["options"]
    rows: list[dict[str, Any]] = []
    for name, points in series:
        for time, value in points:
            state = options[f"{value:.0f}"]["text"]
            if rows and (rows[-1]["name"], rows[-1]["state"]) == (name, state):
                rows[-1]["until"] = (time + step) * 1000
            else:
                rows.append({"time": time * 1000, "until": (time + step) * 1000, "name": name, "state": state})
    scale = {
        "domain": [option["text"] for option in options.values()],
        "range": [_COLOURS[option["color"]] for option in options.values()],
    }
    return {
        "data": {"values": rows},
        "mark": {"type": "bar", "height": {"band": 0.8}},
        "encoding": {
            "x": x,
            "x2": {"field": "until"},
            "y": {"field": "name", "type": "nominal", "title": None, "axis": {"labelLimit": 300}},
            "color": {"field": "state", "type": "nominal", "scale": scale},
        },
    }
