"""Prometheus' rules: what is recorded of calls, and what someone must be told of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from claudeprov.dashboard.query import Key, Queries, is_any, is_unset, key_name
from claudeprov.dashboard.thresholds import Thresholds
from claudeprov.telemetry import table
from claudeprov.telemetry.table import MODEL, ROUTE, Metric

_recent, _lately, _hourly = Queries("5m"), Queries("15m"), Queries("1h")
_MODEL = ("job", MODEL)
_LIMIT = ("job", ROUTE, table.COUNTER)
_SETTING = ("job", table.SETTING)
_CONCLUDED = is_any(table.OUTCOME, "read", "failed")
_FAILED = is_any(table.OUTCOME, "failed")


def _recorded(keys: tuple[Key, ...], metric: Metric, what: str) -> str:
    """``level:metric:operation``, as Prometheus advises."""
    levels = "_".join(key_name(key).rpartition("_")[2] for key in keys)
    return f"{levels}:{metric.prometheus.removesuffix('_total')}:{what}"


CALLS = _recorded(_MODEL, table.CALLS, "rate5m")
FAILED = _recorded(_MODEL, table.CALLS, "failed_ratio_rate5m")
FAILED_LATELY = _recorded(_MODEL, table.CALLS, "failed_ratio_rate15m")
FAILED_IN_AN_HOUR = _recorded(_MODEL, table.CALLS, "failed_ratio_rate1h")
DURATION = _recorded(_MODEL, table.DURATION, "p95_5m")
FIRST_CHUNK = _recorded(_MODEL, table.FIRST_CHUNK, "p95_5m")
COST = _recorded(_MODEL, table.COST, "rate1h")
HEADROOM = _recorded(_LIMIT, table.RATELIMIT_REMAINING, "ratio")
BUDGET = _recorded(_SETTING, table.BUDGET_SPENT, "ratio")

_ABOUT_3, _ABOUT_5 = 2.5, 4.5
"""What is safely below: an increase is extrapolated, and not always upwards."""


def rules(thresholds: Thresholds) -> dict[str, Any]:
    """The document of a rules file."""
    return {
        "groups": [
            {"name": "claudeprov-recording", "rules": [{"record": name, "expr": expr} for name, expr in _recording()]},
            {"name": "claudeprov-alerts", "rules": list(_alerts(thresholds))},
        ]
    }


def _recording() -> Iterator[tuple[str, str]]:
    yield CALLS, _recent.rate(table.CALLS, _MODEL, _CONCLUDED)
    yield FAILED, _recent.share(_FAILED, _CONCLUDED, table.CALLS, _MODEL)
    yield FAILED_LATELY, _lately.share(_FAILED, _CONCLUDED, table.CALLS, _MODEL)
    yield FAILED_IN_AN_HOUR, _hourly.share(_FAILED, _CONCLUDED, table.CALLS, _MODEL)
    yield DURATION, _recent.quantile(0.95, table.DURATION, _MODEL, is_unset(table.ERROR))
    yield FIRST_CHUNK, _recent.quantile(0.95, table.FIRST_CHUNK, _MODEL)
    yield COST, _hourly.rate(table.COST, _MODEL)
    service = is_any(table.SIDE, "service")
    yield HEADROOM, _recent.ratio("min", table.RATELIMIT_REMAINING, table.RATELIMIT_LIMIT, _LIMIT, service)
    yield BUDGET, _recent.ratio("max", table.BUDGET_SPENT, table.BUDGET_LIMIT, _SETTING)


def _alerts(bad: Thresholds) -> Iterator[dict[str, Any]]:
    model, route, setting = (f"{{{{ $labels.{label.prometheus} }}}}" for label in (MODEL, ROUTE, table.SETTING))
    failures, hourly_failures = (window.increase(table.CALLS, _MODEL, _FAILED) for window in (_recent, _hourly))
    read = _recent.increase(table.DURATION, _MODEL, is_unset(table.ERROR), suffix="_count")
    begun = _recent.increase(table.FIRST_CHUNK, _MODEL, suffix="_count")
    is_open = is_any(table.STATE, "open")
    counter, job = f"{{{{ $labels.{table.COUNTER.prometheus} }}}}", "{{ $labels.job }}"
    yield _alert(
        "ClaudeprovErrors",
        f"({FAILED} > {bad.error_ratio:g} and {failures} > {_ABOUT_3}) "
        f"or ({FAILED_IN_AN_HOUR} > {bad.error_ratio:g} and {FAILED_LATELY} > {bad.error_ratio:g} "
        f"and {hourly_failures} > {_ABOUT_3})",
        "5m",
        "critical",
        f"{{{{ $value | humanizePercentage }}}} of the calls to {model} fail.",
        'The panel "Errors by code" shows which. Refused credentials or permissions: run `claudeprov doctor`. Overload '
        "and server errors: the service is in trouble; retry=patient or a fallback carries calls over. Invalid "
        "requests: a change of the application is likely at fault.",
    )
    yield _alert(
        "ClaudeprovSlow",
        f"{DURATION} > {bad.p95_seconds:g} and {read} > {_ABOUT_5}",
        "10m",
        "warning",
        f"5 of 100 calls to {model} take longer than about {{{{ $value | humanizeDuration }}}}.",
        'Compare "Duration of calls" with "Tokens of a call": longer answers take longer. "Waiting of a call" shows '
        "backoff and queues. If it is the service, a faster model or a fallback with a deadline helps.",
    )
    yield _alert(
        "ClaudeprovFirstChunkSlow",
        f"{FIRST_CHUNK} > {bad.first_chunk_seconds:g} and {begun} > {_ABOUT_5}",
        "10m",
        "warning",
        f"5 of 100 calls to {model} wait longer than about {{{{ $value | humanizeDuration }}}} for their first chunk.",
        'Look at "Waiting of a call": a queue is answered by a higher rate limit or fewer calls at once, backoff by '
        'what fails in "Attempts". Without either, shorten or cache long prompts, or stay on another model for now.',
    )
    yield _alert(
        "ClaudeprovBreakerOpen",
        # A trial that fails leaves it open, though it was half open for a moment.
        f"count by (job, {ROUTE.prometheus}) (max_over_time({_recent.series(table.BREAKER, is_open)}[2m]) == 1)",
        "2m",
        "critical",
        f"The breaker of {route} is open: its calls are refused. Instances of {job} where it is: {{{{ $value }}}}.",
        'So many calls failed that no more are sent. "Errors by code", and the service\'s status page, tell why. It '
        "closes by itself once a trial call succeeds; a fallback carries calls over until then.",
    )
    yield _alert(
        "ClaudeprovBudgetNearlySpent",
        f"{BUDGET} > {bad.budget_ratio:g}",
        "1m",
        "warning",
        f"{{{{ $value | humanizePercentage }}}} of {setting} is spent by {job}; at 100 % calls are refused.",
        "Find what spends it with `claudeprov usage --by model,tag --since 1d`. Raise the limit, or let the calls that "
        "can wait do so until the next period. Where instances count for themselves, this is the one that has spent "
        "the most.",
    )
    yield _alert(
        "ClaudeprovNoHeadroom",
        f"{HEADROOM} < {bad.headroom_ratio:g}",
        "5m",
        "warning",
        f"{{{{ $value | humanizePercentage }}}} is left of {counter} of {route}: calls wait, or get a 429.",
        "Send fewer calls at once, move what can wait to other hours, cache long prompts (most models do not count "
        "what is read from the cache), or ask the service for a higher limit.",
    )
    yield _alert(
        "ClaudeprovCostRate",
        f"sum by (job) ({COST}) * 3600 > {bad.cost_per_hour:g}",
        "10m",
        "warning",
        "The calls of the latest hour cost ${{ $value | humanize }}.",
        '"Cost per hour" tells which model, `claudeprov usage --by tag --since 1d` for whom; a single burst keeps this '
        "alert up until it is an hour old. If it is not wanted, set a limit: budget=standard budget.day.usd=AMOUNT. "
        "`claudeprov usage --advise` says what could be had for less.",
    )


def _alert(name: str, expr: str, duration: str, severity: str, summary: str, description: str) -> dict[str, Any]:
    return {
        "alert": name,
        "expr": expr,
        "for": duration,
        "labels": {"severity": severity},
        "annotations": {"summary": summary, "description": description},
    }
