"""Grafana's form of the dashboard: JSON to import, or to provision from a file.

It is the classic form, which every Grafana takes. The library would rather have that of ``dashboardv2`` written, which
only recent ones take.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # the library has some for its own imports, too
    from grafana_foundation_sdk.builders import common as options
    from grafana_foundation_sdk.builders import dashboard, prometheus, stat, statetimeline, timeseries

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    DataSourceRef,
    GraphDrawStyle,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    LineInterpolation,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
    VariableModel,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from claudeprov.dashboard.panel import BREAKER_STATES, SCOPE, Panel, Row
from claudeprov.telemetry import table
from claudeprov.telemetry.table import MODEL

UID = "claudeprov"
_SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
_HEIGHT = {"figure": 4}
"""Of panels that are not 8 high."""

_Builder = stat.Panel | statetimeline.Panel | timeseries.Panel


def dashboard_json(rows: Sequence[Row], description: str) -> str:
    """The dashboard; the same bytes for the same rows."""
    built = (
        dashboard.Dashboard("claudeprov")
        .uid(UID)
        .description(description)
        .tags(["claudeprov", "llm"])
        .refresh("30s")
        .time("now-6h", "now")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .variables(_variables())
    )
    number = 0
    for row in rows:
        number += 1
        built = built.with_row(dashboard.Row(row.title).id(number))
        for panel in row.panels:
            number += 1
            built = built.with_panel(_panel(panel).id(number))
    return JSONEncoder(indent=2, sort_keys=True, ensure_ascii=False).encode(built.build()) + "\n"


def _variables() -> list[Builder[VariableModel]]:
    streams = table.STREAMS.prometheus
    return [
        dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"),
        _variable("job", "Job", f"label_values({streams}, job)"),
        _variable("instance", "Instance", f"label_values({streams}{{{SCOPE[0]}}}, instance)"),
        _variable(
            "model", "Model", f"label_values({table.CALLS.prometheus}{{{', '.join(SCOPE)}}}, {MODEL.prometheus})"
        ),
    ]


def _variable(name: str, label: str, query: str) -> dashboard.QueryVariable:
    """A choice of several values, all of them at first."""
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(_SOURCE)
        .query(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(VariableOption(selected=True, text=["All"], value=["$__all"]))
    )


def _panel(panel: Panel) -> _Builder:
    built = _drawn(panel)
    built.title(panel.title).description(panel.description).datasource(_SOURCE).unit(panel.unit)
    built.span(panel.width).height(_HEIGHT.get(panel.kind, 8)).min(0)
    if panel.most is not None:
        built.max(panel.most)
    for number, query in enumerate(panel.queries):
        target = prometheus.Dataquery().ref_id(chr(ord("A") + number)).datasource(_SOURCE).expr(query.expr)
        target = target.legend_format(query.legend)
        built.with_target(target.instant() if panel.kind == "figure" else target.range())
    if panel.steps:
        steps = [Threshold(value, colour) for value, colour in panel.steps]
        built.thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
    return built


def _drawn(panel: Panel) -> _Builder:
    match panel.kind:
        case "figure":
            colour = BigValueColorMode.VALUE if panel.steps else BigValueColorMode.NONE
            return (
                stat.Panel()
                .graph_mode(BigValueGraphMode.NONE)
                .color_mode(colour)
                .reduce_options(options.ReduceDataOptions().calcs(["lastNotNull"]))
            )
        case "states":
            names = {
                str(state): ValueMappingResult(text=text, color=colour, index=state)
                for state, (text, colour) in BREAKER_STATES.items()
            }
            return statetimeline.Panel().show_value(VisibilityMode.AUTO).merge_values(True).mappings([ValueMap(names)])
    built = (
        timeseries.Panel()
        .draw_style(GraphDrawStyle.LINE)
        .line_width(1)
        .show_points(VisibilityMode.NEVER)
        .color_scheme(dashboard.FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
        .tooltip(options.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
        .legend(
            options.VizLegendOptions()
            .display_mode(LegendDisplayMode.TABLE)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs(["lastNotNull", "max"])
        )
    )
    if panel.steps:
        built.thresholds_style(options.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED))
    match panel.kind:
        case "stack":
            built.fill_opacity(30).stacking(options.StackingConfig().mode(StackingMode.NORMAL).group("A"))
        case "steps":
            built.line_interpolation(LineInterpolation.STEP_AFTER)
    return built
