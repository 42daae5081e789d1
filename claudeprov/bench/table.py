"""Results as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from claudeprov.bench.result import Percentiles, Row, RunResult, Score

if TYPE_CHECKING:
    from rich.table import Table

_NONE = "—"
_TIMING = {"live": "", "recorded": " (as recorded)", "replayed": " (replayed at once)"}


def task_table(rows: Iterable[Row]) -> Table:
    """A line for each task: what came of it, and why."""
    table = _table("task", "verdict", "tokens", "why")
    for row in rows:
        verdict = row.failure.code if row.failure else row.verdict or "answered"
        table.add_row(row.id, verdict, _number(row.output_tokens), row.detail or "")
    return table


def summary_table(results: Sequence[RunResult]) -> Table:
    """The numbers of one run below each other, or a line for each of several runs."""
    lines = [cells(result) for result in results]
    if len(lines) == 1:
        table = _table("", "")
        table.show_header = False
        for name, cell in lines[0].items():
            table.add_row(name, cell)
        return table
    table = _table("run", *lines[0])
    for label, line in zip(labels(results), lines, strict=True):
        table.add_row(label, *line.values())
    return table


def _table(*columns: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def cells(result: RunResult) -> dict[str, str]:
    """What is told of a run, by its name."""
    summary = result.summary
    scores = {"passed": _score(summary.score)}
    scores |= {kind: _score(score) for kind, score in summary.by_kind.items()}
    return scores | {
        "latency p50/p95/p99": _seconds(summary.latency_seconds, "p50", "p95", "p99") + _TIMING[result.timing],
        "first chunk p50/p95": _seconds(summary.first_chunk_seconds, "p50", "p95") + _TIMING[result.timing],
        "tokens in/out": f"{_number(summary.input_tokens)} / {_number(summary.output_tokens)}",
        "cost": _cost(result),
        "errors": ", ".join(f"{code} {count}" for code, count in sorted(summary.failures.items())) or "none",
    }


def _score(score: Score) -> str:
    return _NONE if score.rate is None else f"{score.passed}/{score.graded} ({score.rate:.0%})"


def _seconds(percentiles: Percentiles | None, *names: str) -> str:
    if percentiles is None:
        return _NONE
    return " / ".join(f"{getattr(percentiles, name):.2f}" for name in names) + " s"


def _cost(result: RunResult) -> str:
    summary = result.summary
    low, high = summary.cost_low_usd, summary.cost_high_usd
    if low is None:
        low = summary.cost_usd
    if low is None:
        return f"unknown: {summary.cost_reason}" if summary.cost_reason else _NONE
    text = f"${low:.6f}"
    if summary.cost_intervals:
        most = "more" if high is None else f"${high:.6f}"
        text += f" to {most}, for {summary.cost_intervals} broke off"
    return f"{text}, and {summary.cost_unknown} unknown: {summary.cost_reason}" if summary.cost_unknown else text


def _number(value: int | None) -> str:
    return _NONE if value is None else f"{value:,}"


def labels(results: Sequence[RunResult]) -> list[str]:
    """Name each run by the settings in which the runs differ; a model stands for all that is known of it."""
    flat = [dict(flat_settings(result.settings)) for result in results]
    keys = [key for key in flat[0] if any(other.get(key) != flat[0][key] for other in flat)]
    if len({result.model for result in results}) > 1:
        keys = [key for key in keys if not key.startswith(("model.", "pricing."))]
    return [
        " ".join([result.model, *(f"{key}={settings.get(key)}" for key in keys)])
        for result, settings in zip(results, flat, strict=True)
    ]


def flat_settings(settings: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Yield the settings with their dotted keys."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from flat_settings(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
