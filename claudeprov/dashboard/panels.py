"""What the dashboard shows: rows of panels, as data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from claudeprov.dashboard.query import Key, Matcher, Queries, is_any, is_set, is_unset, key_name
from claudeprov.dashboard.thresholds import Thresholds
from claudeprov.telemetry import table
from claudeprov.telemetry.table import MODEL, ROUTE, Label, Metric

Kind = Literal["figure", "lines", "stack", "steps", "states"]
Colour = Literal["green", "yellow", "red"]

BREAKER_STATES = {0: ("closed", "green"), 1: ("half open", "yellow"), 2: ("open", "red")}
"""What the numbers of the panel of that name mean."""


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


SCOPE = ('job=~"$job"', 'instance=~"$instance"')
CHOSEN = (Matcher(MODEL, '=~"$model"'),)
_now = Queries("$__rate_interval", SCOPE, CHOSEN)
_shown = Queries("$__range", SCOPE, CHOSEN)
_CONCLUDED = is_any(table.OUTCOME, "read", "failed")
_READ = is_any(table.OUTCOME, "read")
_PROMPT = is_any(table.KIND, "input", "cache_read", "cache_write")
_MONTH = "86400 * 30"


def rows(thresholds: Thresholds) -> tuple[Row, ...]:
    """All that is shown, from above."""
    return (
        Row("Overview", tuple(_overview(thresholds))),
        Row("Latency and errors", tuple(_latency(thresholds))),
        Row("Recovery", tuple(_recovery())),
        Row("Rate limits", tuple(_limits(thresholds))),
        Row("Tokens and cost", tuple(_cost(thresholds))),
        Row("Budget", tuple(_budget(thresholds))),
        Row("Tools", tuple(_tools())),
    )


def _overview(bad: Thresholds) -> Iterator[Panel]:
    yield Panel(
        "Success rate",
        "Calls read to their end, of those read or failed, over the time shown. Those that the application cancelled "
        "or abandoned count as neither.",
        "percentunit",
        (Query(_shown.share(_READ, _CONCLUDED, table.CALLS)),),
        4,
        "figure",
        ((None, "red"), (_good(bad.error_ratio), "yellow"), (_good(bad.error_ratio / 5), "green")),
    )
    yield Panel(
        "Calls",
        "Calls that have ended in the time shown, however they did.",
        "short",
        (Query(_shown.increase(table.CALLS)),),
        4,
        "figure",
    )
    yield Panel(
        "Duration, p95",
        "95 of 100 calls that were read to their end took less, from the request to the last chunk.",
        "s",
        (Query(_shown.quantile(0.95, table.DURATION, (), is_unset(table.ERROR))),),
        4,
        "figure",
        ((None, "green"), (bad.p95_seconds, "red")),
    )
    yield Panel(
        "First chunk, p95",
        "95 of 100 calls had their first chunk sooner.",
        "s",
        (Query(_shown.quantile(0.95, table.FIRST_CHUNK)),),
        4,
        "figure",
        ((None, "green"), (bad.first_chunk_seconds, "red")),
    )
    yield Panel(
        "Cost",
        "What the calls cost in the time shown; the least that it can be where that is not known exactly.",
        "currencyUSD",
        (Query(_shown.increase(table.COST)),),
        4,
        "figure",
    )
    yield Panel(
        "Projected month",
        "What 30 days cost at the pace of the time shown.",
        "currencyUSD",
        (Query(f"{_shown.rate(table.COST)} * {_MONTH}"),),
        4,
        "figure",
    )


def _latency(bad: Thresholds) -> Iterator[Panel]:
    yield Panel(
        "Duration of calls",
        "Percentiles of calls that were read to their end, waiting and retries included. It grows with the length of "
        "answers: compare with the output of a call below.",
        "s",
        tuple(
            Query(_now.quantile(share, table.DURATION, (), is_unset(table.ERROR)), f"p{share * 100:.0f}")
            for share in (0.5, 0.95, 0.99)
        ),
        12,
        steps=((None, "green"), (bad.p95_seconds, "red")),
    )
    yield Panel(
        "Time to first chunk",
        "Percentiles of how long readers waited for anything at all. Long prompts, queues and retries lengthen it.",
        "s",
        tuple(Query(_now.quantile(share, table.FIRST_CHUNK), f"p{share * 100:.0f}") for share in (0.5, 0.95, 0.99)),
        12,
        steps=((None, "green"), (bad.first_chunk_seconds, "red")),
    )
    yield Panel(
        "Calls by outcome",
        "Calls that ended in a minute: read to the end, failed, cancelled by the application, or abandoned by a reader "
        "that left without closing the stream.",
        "reqpm",
        (Query(f"{_now.rate(table.CALLS, [table.OUTCOME])} * 60", _legend(table.OUTCOME)),),
        kind="stack",
    )
    yield Panel(
        "Success rate by model",
        "Calls read to their end, of those read or failed.",
        "percentunit",
        (Query(_now.share(_READ, _CONCLUDED, table.CALLS, [MODEL]), _legend(MODEL)),),
        steps=((None, "red"), (_good(bad.error_ratio), "green")),
        most=1,
    )
    yield Panel(
        "Errors by code",
        "Calls that failed in a minute, by the code of the error that the application saw.",
        "reqpm",
        (
            Query(
                f"{_now.rate(table.CALLS, [table.ERROR], is_any(table.OUTCOME, 'failed'))} * 60", _legend(table.ERROR)
            ),
        ),
        kind="stack",
    )
    yield Panel(
        "Why models stopped",
        "Calls in a minute by stop reason: max_tokens means cut answers, refusal declined requests.",
        "reqpm",
        (Query(f"{_now.rate(table.CALLS, [table.STOP], is_set(table.STOP))} * 60", _legend(table.STOP)),),
        kind="stack",
    )
    yield Panel(
        "Streams open",
        "Streams that are being read. A line that only climbs is a reader that does not close its streams.",
        "short",
        (Query(_now.grouped("sum", table.STREAMS, ["instance"]), "{{instance}}"),),
        kind="steps",
    )
    yield Panel(
        "Time per output chunk",
        "Percentiles of the pauses between chunks. There is nothing here without `telemetry.per_chunk=true`.",
        "s",
        tuple(Query(_now.quantile(share, table.OUTPUT_CHUNK), f"p{share * 100:.0f}") for share in (0.5, 0.95)),
    )


def _recovery() -> Iterator[Panel]:
    attempts = table.ATTEMPTS
    yield Panel(
        "Attempts",
        "HTTP requests in a minute: those answered, and why the others failed, even where a retry made up for it.",
        "reqpm",
        (
            Query(f"{_now.rate(attempts, (), is_unset(table.ERROR))} * 60", "answered"),
            Query(f"{_now.rate(attempts, [table.ERROR], is_set(table.ERROR))} * 60", _legend(table.ERROR)),
        ),
        kind="stack",
    )
    yield Panel(
        "Retries of a call",
        "HTTP requests beyond the first, for each call. Rising while the success rate holds is trouble on its way.",
        "none",
        (Query(_per(table.RETRIES, table.CALLS, MODEL), _legend(MODEL)),),
    )
    yield Panel(
        "Waiting of a call",
        "Seconds that a call waited on average: between attempts, and for a rate limit.",
        "s",
        (
            Query(_per(table.BACKOFF, table.CALLS, MODEL), f"backoff {_legend(MODEL)}"),
            Query(_per(table.QUEUE, table.CALLS, MODEL), f"queue {_legend(MODEL)}"),
        ),
    )
    half_open, is_open = is_any(table.STATE, "half_open"), is_any(table.STATE, "open", "forced_open")
    yield Panel(
        "Breaker",
        "Open: calls of the route are refused at once. Half open: a trial call decides. Of several instances, the "
        "worst.",
        "none",
        (
            Query(
                f"max by ({ROUTE.prometheus}) ({_now.series(table.BREAKER, half_open)} "
                f"or 2 * {_now.series(table.BREAKER, is_open)})",
                _legend(ROUTE),
            ),
        ),
        12,
        "states",
    )
    yield Panel(
        "Breaker transitions",
        "Changes of state since the processes started.",
        "short",
        (
            Query(
                _now.grouped("sum", table.TRANSITIONS, [ROUTE, table.FROM, table.TO]),
                f"{_legend(ROUTE)}: {_legend(table.FROM)} to {_legend(table.TO)}",
            ),
        ),
        12,
        "steps",
    )


def _limits(bad: Thresholds) -> Iterator[Panel]:
    keys, service = (ROUTE, table.COUNTER), is_any(table.SIDE, "service")
    yield Panel(
        "Rate-limit headroom",
        "What is left of each limit, as the service's latest answer told. Below the line calls will soon wait. What "
        "the client's own buckets hold back shows beside this.",
        "percentunit",
        (
            Query(
                _now.grouped("min", table.RATELIMIT_REMAINING, keys, service)
                + f" / {_now.grouped('min', table.RATELIMIT_LIMIT, keys, service)}",
                f"{_legend(ROUTE)} {_legend(table.COUNTER)}",
            ),
        ),
        12,
        steps=((None, "red"), (bad.headroom_ratio, "green")),
        most=1,
    )
    yield Panel(
        "Waits and holds",
        "In a minute: attempts that had to wait for a limit, and answers 429, which hold their whole route.",
        "reqpm",
        (
            Query(f"{_now.rate(table.RATELIMIT_WAITS, [ROUTE])} * 60", f"waits {_legend(ROUTE)}"),
            Query(f"{_now.rate(table.RATELIMIT_HOLDS, [ROUTE])} * 60", f"holds {_legend(ROUTE)}"),
        ),
        6,
    )
    yield Panel(
        "Calls waiting",
        "Calls that wait for a rate limit now.",
        "short",
        (Query(_now.grouped("sum", table.RATELIMIT_WAITING, [ROUTE]), _legend(ROUTE)),),
        6,
        "steps",
    )


def _cost(bad: Thresholds) -> Iterator[Panel]:
    yield Panel(
        "Cost per hour",
        "The burn rate, by model. The line is what the alert on the sum of all models begins at.",
        "currencyUSD",
        (Query(f"{_now.rate(table.COST, [MODEL])} * 3600", _legend(MODEL)),),
        kind="stack",
        steps=((None, "green"), (bad.cost_per_hour, "red")),
    )
    yield Panel(
        "Projected month by model",
        "What 30 days cost at the pace of as long a time as is shown, up to each moment.",
        "currencyUSD",
        (Query(f"{_shown.rate(table.COST, [MODEL])} * {_MONTH}", _legend(MODEL)),),
        kind="stack",
    )
    yield Panel(
        "Calls without an exact cost",
        "Calls in a minute whose cost is a bound, or unknown: a price is missing, or a stream broke before it told.",
        "reqpm",
        (Query(f"{_now.rate(table.UNPRICED, [MODEL])} * 60", _legend(MODEL)),),
    )
    yield Panel(
        "Tokens",
        "Tokens in a minute, by price; input is what was neither read from the cache nor written to it.",
        "short",
        (Query(f"{_now.rate(table.TOKENS, [table.KIND])} * 60", _legend(table.KIND)),),
        kind="stack",
    )
    yield Panel(
        "Cache hits",
        "The share of the prompts' tokens that was read from the cache, at a tenth of the price or so.",
        "percentunit",
        (Query(_now.share(is_any(table.KIND, "cache_read"), _PROMPT, table.TOKENS, [MODEL]), _legend(MODEL)),),
        most=1,
    )
    yield Panel(
        "Tokens of a call",
        "Percentiles of the whole prompt, cache included, and of the output.",
        "short",
        tuple(
            Query(_now.quantile(share, table.TOKEN_USAGE, (), is_any(table.TOKEN, kind)), f"{kind} p{share * 100:.0f}")
            for kind in ("input", "output")
            for share in (0.5, 0.95)
        ),
    )


def _budget(bad: Thresholds) -> Iterator[Panel]:
    setting = _legend(table.SETTING)
    spent = _now.grouped("max", table.BUDGET_SPENT, [table.SETTING])
    limit = _now.grouped("max", table.BUDGET_LIMIT, [table.SETTING])
    yield Panel(
        "Budget spent",
        "The share of each limit that is spent in its period; at 100 % calls are refused. Of several instances, the "
        "most.",
        "percentunit",
        (Query(f"{spent} / {limit}", setting),),
        kind="steps",
        steps=((None, "green"), (bad.budget_ratio, "red")),
    )
    for title, unit, values in (
        ("Budgets in USD", "currencyUSD", [value for value in table.SETTING.values if value.endswith(".usd")]),
        ("Budgets in tokens", "short", [value for value in table.SETTING.values if value.endswith(".tokens")]),
    ):
        yield Panel(
            title,
            "What is spent, what is set aside for calls under way, and the limit.",
            unit,
            tuple(
                Query(_now.grouped("max", metric, [table.SETTING], is_any(table.SETTING, *values)), f"{setting} {what}")
                for metric, what in (
                    (table.BUDGET_SPENT, "spent"),
                    (table.BUDGET_RESERVED, "reserved"),
                    (table.BUDGET_LIMIT, "limit"),
                )
            ),
            kind="steps",
        )


def _tools() -> Iterator[Panel]:
    keys = (table.TOOL, table.TOOL_OUTCOME)
    yield Panel(
        "Tool executions",
        "Executions in a minute by how they ended; invalid means that the model's arguments did not fit the tool.",
        "opm",
        (Query(f"{_now.rate(table.TOOL_EXECUTIONS, keys)} * 60", " ".join(map(_legend, keys))),),
        12,
        "stack",
    )
    yield Panel(
        "Duration of a tool",
        "Seconds that an execution takes on average.",
        "s",
        (Query(_per(table.TOOL_SECONDS, table.TOOL_EXECUTIONS, table.TOOL), _legend(table.TOOL)),),
        12,
    )


def _per(metric: Metric, counted: Metric, by: Label) -> str:
    """How much of one counter comes with each of another."""
    return f"{_now.rate(metric, [by])} / ({_now.rate(counted, [by])} > 0)"


def _good(bad: float) -> float:
    return round(1 - bad, 9)


def _legend(key: Key) -> str:
    return f"{{{{{key_name(key)}}}}}"
