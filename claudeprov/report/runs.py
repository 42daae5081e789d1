"""The report of a run, or of the runs of a sweep, with the numbers that ``claudeprov bench`` shows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal

from claudeprov.bench.result import Percentiles, Row, RunResult
from claudeprov.bench.table import cells, flat_settings, labels
from claudeprov.report.content import (
    NONE,
    Cell,
    Chart,
    Fact,
    Point,
    Report,
    Section,
    Table,
    count,
    figure,
    finite,
    moment,
    money,
    shown,
    wilson,
    word,
)

_VERDICTS = ("passed", "answered", "failed", "error", "timeout", "memory", "no_code")
_TIMES = {
    "live": "",
    "recorded": "The times are those of the service when its answers were recorded.",
    "replayed": "The answers were replayed at once: their times are no model's, and are left out.",
}
_MOST_ROWS = 2000
"""Tasks of all runs together that the table has, so that the page stays small."""


def report_of(
    results: Sequence[RunResult], made_at: datetime, *, answers: bool = False, unread: Sequence[str] = ()
) -> Report:
    """Tell of *results*, one or more; the answers only if they are asked for. *unread* are runs that gave none."""
    names = [result.model for result in results] if _are_apart(results) else labels(results)
    runs = dict(zip(names, results, strict=True)) if len(set(names)) == len(names) else _numbered(names, results)
    first = results[0]
    return Report(
        title=first.name if len(results) == 1 else first.name.rpartition("/")[0] or first.name,
        about=f"Suite {first.suite}, {len(results)} runs"
        if len(results) > 1
        else f"Suite {first.suite}, {first.model}",
        made_at=made_at,
        notes=[*_missing(unread, len(runs)), *_notes(runs)],
        facts=[Fact(name, text) for name, text in cells(first).items()] if len(results) == 1 else (),
        sections=[section for section in _sections(runs) if section.charts or section.tables],
        texts=list(_texts(runs)) if answers else (),
    )


def _missing(unread: Sequence[str], known: int) -> Iterator[str]:
    if unread:
        yield f"{len(unread)} of {len(unread) + known} runs could not be read: {', '.join(unread)}"


def _are_apart(results: Sequence[RunResult]) -> bool:
    return len({result.model for result in results}) == len(results)


def _numbered(names: Iterable[str], results: Iterable[RunResult]) -> dict[str, RunResult]:
    return {f"{name} ({result.name.rpartition('/')[2]})": result for name, result in zip(names, results, strict=True)}


def _notes(runs: dict[str, RunResult]) -> Iterator[str]:
    by_note: dict[str, list[str]] = {}
    for name, result in runs.items():
        for note in _notes_of(result):
            by_note.setdefault(note, []).append(name)
    for note, names in by_note.items():
        yield note if len(names) == len(runs) else f"{', '.join(names)}: {note}"
    if len({result.suite_digest for result in runs.values()}) > 1:
        yield "The suites of these runs differ: their scores cannot be compared."


def _notes_of(result: RunResult) -> Iterator[str]:
    if result.source:
        yield f"{result.source[0].upper()}{result.source[1:]}."
    if _TIMES[result.timing]:
        yield _TIMES[result.timing]
    if result.interrupted:
        why = f"{result.stopped.code}: {result.stopped.message}" if result.stopped else "interrupted"
        yield f"{why}; {len(result.rows)} of {result.tasks} tasks were done."


def _sections(runs: dict[str, RunResult]) -> Iterator[Section]:
    if len(runs) > 1:
        yield Section("Summary", tables=[_beside(runs)])
    yield Section(
        "Score",
        [*_scores(runs), _outcomes(runs)],
        [_matrix(runs)] if len(runs) > 1 else [],
        "The lines are Wilson's 95 % intervals: where they overlap much, the suite is too small to tell runs apart. "
        "Calls that failed are not graded.",
    )
    yield Section("Latency", list(_latencies(runs)))
    yield Section("Tokens and cost", [_tokens(runs), *_costs(runs)])
    yield Section("Tasks", tables=[_tasks(runs)])
    yield Section("Setting", tables=[_origins(runs), *_settings(runs)])


def _beside(runs: dict[str, RunResult]) -> Table:
    """The runs below each other. What is several numbers is sorted by the first, but errors by how many there are."""
    lines = {}
    for name, result in runs.items():
        keys = _keys(result)
        lines[name] = {column: Cell(shown(text), keys[column]) for column, text in cells(result).items()}
    columns = list(dict.fromkeys(column for line in lines.values() for column in line))
    rows = [[word(name), *(line.get(column, word(None)) for column in columns)] for name, line in lines.items()]
    return Table("Runs", ["run", *columns], rows)


def _keys(result: RunResult) -> dict[str, float | None]:
    """By what the columns are sorted that show numbers."""
    summary = result.summary
    latency, first, tokens = summary.latency_seconds, summary.first_chunk_seconds, summary.input_tokens
    cost = summary.cost_usd if summary.cost_low_usd is None else summary.cost_low_usd
    return {kind: score.rate for kind, score in summary.by_kind.items()} | {
        "passed": summary.score.rate,
        "latency p50/p95/p99": finite(latency.p50) if latency else None,
        "first chunk p50/p95": finite(first.p50) if first else None,
        "tokens in/out": tokens,
        "cost": _float(cost),
        "errors": sum(summary.failures.values()),
    }


def _scores(runs: dict[str, RunResult]) -> Iterator[Chart]:
    points = []
    for name, result in runs.items():
        scores = {"all": result.summary.score} | result.summary.by_kind
        for kind, score in scores.items():
            if score.rate is not None and (kind == "all" or len(scores) > 2):
                low, high = wilson(score.passed, score.graded)
                thing = kind if len(runs) == 1 else name
                points.append(Point(thing, "all" if len(runs) == 1 else kind, score.rate, low, high))
    if points:
        told = "; ".join(f"{_thing(runs, point)} {point.value:.0%}" for point in points)
        series = list(dict.fromkeys(point.series for point in points))
        for kind in series:
            part = [point for point in points if point.series == kind]
            title = "Pass rate" if kind == "all" else f"Pass rate, {kind}"
            yield Chart(
                title,
                f"The share of graded answers that passed: {told}." if kind == "all" else _rates(part),
                "dots",
                "share",
                part,
                [kind],
            )


def _thing(runs: dict[str, RunResult], point: Point) -> str:
    return str(point.at) if len(runs) == 1 or point.series == "all" else f"{point.at}, {point.series}"


def _rates(points: Iterable[Point]) -> str:
    return "The share of graded answers that passed: " + "; ".join(f"{point.at} {point.value:.0%}" for point in points)


def _outcomes(runs: dict[str, RunResult]) -> Chart:
    points = []
    for name, result in runs.items():
        counts: dict[str, int] = {}
        for row in result.rows:
            counts[_outcome(row)] = counts.get(_outcome(row), 0) + 1
        points += [Point(name, outcome, number) for outcome, number in counts.items()]
    found = {point.series for point in points}
    series = [one for one in _VERDICTS if one in found] + sorted(found.difference(_VERDICTS))
    told = "; ".join(f"{name}: {_counted(points, name)}" for name in runs)
    return Chart("Outcomes", f"What came of the tasks. {told}.", "bars", "count", points, series)


def _counted(points: Iterable[Point], name: str) -> str:
    return ", ".join(f"{point.value:.0f} {point.series}" for point in points if point.at == name)


def _outcome(row: Row) -> str:
    return row.failure.code if row.failure else row.verdict or "answered"


def _latencies(runs: dict[str, RunResult]) -> Iterator[Chart]:
    timed = {name: result for name, result in runs.items() if result.timing != "replayed"}
    for title, field in (("Latency of a call", "latency_seconds"), ("First chunk", "first_chunk_seconds")):
        points = []
        for name, result in timed.items():
            if found := getattr(result.summary, field):
                points += [Point(name, rank, getattr(found, rank)) for rank in ("p50", "p95", "p99")]
        if points:
            told = "; ".join(f"{point.at} {point.series} {point.value:.2f} s" for point in points)
            yield Chart(
                title,
                f"Percentiles of the calls that were answered. {told}.",
                "dots",
                "seconds",
                points,
                ("p50", "p95", "p99"),
            )
    speeds = {name: Percentiles.of(_speed(row) for row in result.rows) for name, result in timed.items()}
    points = [Point(name, "p50", found.p50) for name, found in speeds.items() if found]
    if points:
        told = "; ".join(f"{point.at} {point.value:.0f}" for point in points)
        yield Chart(
            "Tokens a second", f"After the first chunk, at the median. {told}.", "bars", "count", points, ("p50",)
        )


def _speed(row: Row) -> float | None:
    """Output tokens a second from the first chunk on."""
    if row.failure or row.output_tokens is None or row.seconds is None or row.first_chunk_seconds is None:
        return None
    seconds = row.seconds - row.first_chunk_seconds
    return row.output_tokens / seconds if seconds > 0 else None


def _tokens(runs: dict[str, RunResult]) -> Chart:
    points = [
        Point(name, kind, number)
        for name, result in runs.items()
        for kind, number in (("input", result.summary.input_tokens), ("output", result.summary.output_tokens))
        if number is not None
    ]
    told = "; ".join(f"{point.at} {point.value:,.0f} {point.series}" for point in points) or "none are known"
    return Chart("Tokens", f"Sums over all tasks: {told}.", "bars", "count", points, ("input", "output"))


def _costs(runs: dict[str, RunResult]) -> Iterator[Chart]:
    points = []
    for name, result in runs.items():
        summary = result.summary
        low, high = summary.cost_low_usd, summary.cost_high_usd
        if summary.cost_intervals and low is not None:
            points.append(
                Point(name, "cost", None if high is None else float((low + high) / 2), float(low), _float(high))
            )
        elif summary.cost_usd is not None:
            points.append(Point(name, "cost", float(summary.cost_usd)))
    if points:
        told = "; ".join(f"{name}: {cells(result)['cost']}" for name, result in runs.items())
        yield Chart("Cost", f"Of all tasks, as far as prices are known. {told}.", "dots", "dollars", points, ("cost",))


def _float(amount: Decimal | None) -> float | None:
    return None if amount is None else float(amount)


def _matrix(runs: dict[str, RunResult]) -> Table:
    """What came of each task in each run."""
    outcomes = {name: {row.id: row for row in result.rows} for name, result in runs.items()}
    tasks = list(dict.fromkeys(row.id for result in runs.values() for row in result.rows))[:_MOST_ROWS]
    rows = [[word(task), *(_verdict(of_run.get(task)) for of_run in outcomes.values())] for task in tasks]
    return Table("Outcome of each task", ["task", *runs], rows)


def _verdict(row: Row | None) -> Cell:
    if row is None:
        return word(None)
    outcome = _outcome(row)
    return word(outcome, "good" if outcome in ("passed", "answered") else "bad")


def _tasks(runs: dict[str, RunResult]) -> Table:
    lead = ["run"] if len(runs) > 1 else []
    columns = [*lead, "task", "kind", "outcome", "latency", "first chunk", "tokens/s", "input", "output"]
    columns += ["cost", "attempts", "model", "stop reason", "why"]
    rows = [
        [*([word(name)] if lead else []), *_task(row, result)] for name, result in runs.items() for row in result.rows
    ]
    left = len(rows) - _MOST_ROWS
    note = f"{left:,} more are in the run's result.json." if left > 0 else ""
    return Table("Each task", columns, rows[:_MOST_ROWS], note).filled()


def _task(row: Row, result: RunResult) -> list[Cell]:
    timed = result.timing != "replayed"
    high = row.cost_high_usd if row.cost_usd is None else row.cost_usd
    why = row.failure.message if row.failure else row.detail
    return [
        word(row.id),
        word(row.kind),
        _verdict(row),
        figure(row.seconds if timed else None, "seconds"),
        figure(row.first_chunk_seconds if timed else None, "seconds"),
        figure(_speed(row) if timed else None, "count"),
        count(row.input_tokens),
        count(row.output_tokens),
        money(row.cost_low_usd if row.cost_usd is None else row.cost_usd, high),
        count(row.attempts),
        word(row.model),
        word(row.stop_reason),
        word(why),
    ]


def _origins(runs: dict[str, RunResult]) -> Table:
    columns = ["run", "model", "endpoint", "mode", "times", "sandbox", "started (UTC)", "took", "tasks", "versions"]
    rows = [
        [
            word(result.name),
            word(result.model),
            word(result.endpoint),
            word(result.mode),
            word(result.timing),
            word(result.sandbox),
            moment(result.started_at),
            figure(result.seconds, "seconds"),
            count(result.tasks),
            word(", ".join(f"{name} {version}" for name, version in result.versions.items())),
        ]
        for result in runs.values()
    ]
    return Table("What answered", columns, rows).filled()


def _settings(runs: dict[str, RunResult]) -> Iterator[Table]:
    """The settings in which the runs differ, and those in which they do not."""
    flat = {name: dict(flat_settings(result.settings)) for name, result in runs.items()}
    keys = list(dict.fromkeys(key for settings in flat.values() for key in settings))
    values = {key: [_value(settings.get(key)) for settings in flat.values()] for key in keys}
    apart = [key for key in keys if len(set(values[key])) > 1]
    if apart:
        yield Table("Settings that differ", ["setting", *flat], [[word(key), *map(word, values[key])] for key in apart])
    same = [[word(key), word(values[key][0])] for key in keys if key not in set(apart)]
    yield Table("Settings", ["setting", "value"], same, folded=True)


def _value(value: object) -> str:
    return NONE if value is None else value if isinstance(value, str) else json.dumps(value)


def _texts(runs: dict[str, RunResult]) -> Iterator[tuple[str, str]]:
    for name, result in runs.items():
        for row in result.rows:
            yield f"{name}: {row.id}" if len(runs) > 1 else row.id, shown(row.text, 20_000)
