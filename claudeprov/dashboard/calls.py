"""Panels about how calls go."""

from __future__ import annotations

from collections.abc import Iterator

from claudeprov.dashboard.panel import DAILY, NOW, SHOWN, Panel, Query, legend, per
from claudeprov.dashboard.query import is_any, is_set, is_unset
from claudeprov.dashboard.thresholds import Thresholds
from claudeprov.telemetry import table
from claudeprov.telemetry.table import MODEL, ROUTE

_CONCLUDED = is_any(table.OUTCOME, "read", "failed")
_READ = is_any(table.OUTCOME, "read")


def overview(bad: Thresholds) -> Iterator[Panel]:
    """All in one line."""
    yield Panel(
        "Success rate",
        "Calls read to their end, of those read or failed, over the time shown. Those that the application cancelled "
        "or abandoned count as neither.",
        "percentunit",
        (Query(SHOWN.share(_READ, _CONCLUDED, table.CALLS)),),
        4,
        "figure",
        ((None, "red"), (_good(bad.error_ratio), "yellow"), (_good(bad.error_ratio / 5), "green")),
    )
    yield Panel(
        "Calls",
        "Calls that have ended in the time shown, however they did.",
        "short",
        (Query(SHOWN.increase(table.CALLS)),),
        4,
        "figure",
    )
    yield Panel(
        "Duration, p95",
        "95 of 100 calls that were read to their end took less, from the request to the last chunk.",
        "s",
        (Query(SHOWN.quantile(0.95, table.DURATION, (), is_unset(table.ERROR))),),
        4,
        "figure",
        ((None, "green"), (bad.p95_seconds, "red")),
    )
    yield Panel(
        "First chunk, p95",
        "95 of 100 calls had their first chunk sooner.",
        "s",
        (Query(SHOWN.quantile(0.95, table.FIRST_CHUNK)),),
        4,
        "figure",
        ((None, "green"), (bad.first_chunk_seconds, "red")),
    )
    yield Panel(
        "Cost",
        "What the calls cost in the time shown; the least that it can be where that is not known exactly.",
        "currencyUSD",
        (Query(SHOWN.increase(table.COST)),),
        4,
        "figure",
    )
    yield Panel(
        "Projected month",
        "30 times what the 24 hours up to the end of the time shown cost, whatever time is shown. Metrics that are "
        "younger than that make it too little, never too much.",
        "currencyUSD",
        (Query(f"{DAILY.increase(table.COST)} * 30"),),
        4,
        "figure",
    )


def latency(bad: Thresholds) -> Iterator[Panel]:
    """How long calls take, and how they end."""
    yield Panel(
        "Duration of calls",
        "Percentiles of calls that were read to their end, waiting and retries included. It grows with the length of "
        "answers: compare with the output of a call below.",
        "s",
        tuple(
            Query(NOW.quantile(share, table.DURATION, (), is_unset(table.ERROR)), f"p{share * 100:.0f}")
            for share in (0.5, 0.95, 0.99)
        ),
        12,
        steps=((None, "green"), (bad.p95_seconds, "red")),
    )
    yield Panel(
        "Time to first chunk",
        "Percentiles of how long readers waited for anything at all. Long prompts, queues and retries lengthen it.",
        "s",
        tuple(Query(NOW.quantile(share, table.FIRST_CHUNK), f"p{share * 100:.0f}") for share in (0.5, 0.95, 0.99)),
        12,
        steps=((None, "green"), (bad.first_chunk_seconds, "red")),
    )
    yield Panel(
        "Calls by outcome",
        "Calls that ended in a minute: read to the end, failed, cancelled by the application, or abandoned by a reader "
        "that left without closing the stream.",
        "reqpm",
        (Query(f"{NOW.rate(table.CALLS, [table.OUTCOME])} * 60", legend(table.OUTCOME)),),
        kind="stack",
    )
    yield Panel(
        "Success rate by model",
        "Calls read to their end, of those read or failed.",
        "percentunit",
        (Query(NOW.share(_READ, _CONCLUDED, table.CALLS, [MODEL]), legend(MODEL)),),
        steps=((None, "red"), (_good(bad.error_ratio), "green")),
        most=1,
    )
    yield Panel(
        "Errors by code",
        "Calls that failed in a minute, by the code of the error that the application saw.",
        "reqpm",
        (Query(f"{NOW.rate(table.CALLS, [table.ERROR], is_any(table.OUTCOME, 'failed'))} * 60", legend(table.ERROR)),),
        kind="stack",
    )
    yield Panel(
        "Why models stopped",
        "Calls in a minute by stop reason: max_tokens means cut answers, refusal declined requests.",
        "reqpm",
        (Query(f"{NOW.rate(table.CALLS, [table.STOP], is_set(table.STOP))} * 60", legend(table.STOP)),),
        kind="stack",
    )
    yield Panel(
        "Streams open",
        "Streams that are being read. A line that only climbs is a reader that does not close its streams.",
        "short",
        (Query(NOW.grouped("sum", table.STREAMS, ["instance"]), "{{instance}}"),),
        kind="steps",
    )
    yield Panel(
        "Time per output chunk",
        "Percentiles of the pauses between chunks. There is nothing here without `telemetry.per_chunk=true`.",
        "s",
        tuple(Query(NOW.quantile(share, table.OUTPUT_CHUNK), f"p{share * 100:.0f}") for share in (0.5, 0.95)),
    )


def recovery() -> Iterator[Panel]:
    """What retries and breakers do about failures."""
    attempts = table.ATTEMPTS
    yield Panel(
        "Attempts",
        "HTTP requests in a minute: those answered, and why the others failed, even where a retry made up for it.",
        "reqpm",
        (
            Query(f"{NOW.rate(attempts, (), is_unset(table.ERROR))} * 60", "answered"),
            Query(f"{NOW.rate(attempts, [table.ERROR], is_set(table.ERROR))} * 60", legend(table.ERROR)),
        ),
        kind="stack",
    )
    yield Panel(
        "Retries",
        "The share of HTTP requests that were not the first of their call, by the model that was asked. Rising while "
        "the success rate holds is trouble on its way.",
        "percentunit",
        (Query(per(table.RETRIES, table.ATTEMPTS, MODEL), legend(MODEL)),),
        most=1,
    )
    yield Panel(
        "Waiting of a call",
        "Seconds that a call waited on average: between attempts, and for a rate limit.",
        "s",
        (
            Query(per(table.BACKOFF, table.CALLS, MODEL), f"backoff {legend(MODEL)}"),
            Query(per(table.QUEUE, table.CALLS, MODEL), f"queue {legend(MODEL)}"),
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
                f"max by ({ROUTE.prometheus}) ({NOW.series(table.BREAKER, half_open)} "
                f"or 2 * {NOW.series(table.BREAKER, is_open)})",
                legend(ROUTE),
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
                NOW.grouped("sum", table.TRANSITIONS, [ROUTE, table.FROM, table.TO]),
                f"{legend(ROUTE)}: {legend(table.FROM)} to {legend(table.TO)}",
            ),
        ),
        12,
        "steps",
    )


def _good(bad: float) -> float:
    return round(1 - bad, 9)
