"""Panels about what calls use up: limits, tokens, money, and tools."""

from __future__ import annotations

from collections.abc import Iterator

from claudeprov.dashboard.panel import DAILY, NOW, Panel, Query, legend, per
from claudeprov.dashboard.query import is_any
from claudeprov.dashboard.thresholds import Thresholds
from claudeprov.telemetry import table
from claudeprov.telemetry.table import MODEL, ROUTE

_PROMPT = is_any(table.KIND, "input", "cache_read", "cache_write")


def limits(bad: Thresholds) -> Iterator[Panel]:
    """What the service and the client allow in a minute."""
    keys, service = (ROUTE, table.COUNTER), is_any(table.SIDE, "service")
    yield Panel(
        "Rate-limit headroom",
        "What is left of each limit, as the service's latest answer told; of several instances, the least. Below the "
        "line calls will soon wait. What the client's own buckets hold back shows beside this.",
        "percentunit",
        (
            Query(
                NOW.ratio("min", table.RATELIMIT_REMAINING, table.RATELIMIT_LIMIT, keys, service),
                f"{legend(ROUTE)} {legend(table.COUNTER)}",
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
            Query(f"{NOW.rate(table.RATELIMIT_WAITS, [ROUTE])} * 60", f"waits {legend(ROUTE)}"),
            Query(f"{NOW.rate(table.RATELIMIT_HOLDS, [ROUTE])} * 60", f"holds {legend(ROUTE)}"),
        ),
        6,
    )
    yield Panel(
        "Calls waiting",
        "Calls that wait for a rate limit now.",
        "short",
        (Query(NOW.grouped("sum", table.RATELIMIT_WAITING, [ROUTE]), legend(ROUTE)),),
        6,
        "steps",
    )


def cost(bad: Thresholds) -> Iterator[Panel]:
    """What is used, and what it costs."""
    yield Panel(
        "Cost per hour",
        "The burn rate, by model. The line is what the alert on the sum of all models begins at.",
        "currencyUSD",
        (Query(f"{NOW.rate(table.COST, [MODEL])} * 3600", legend(MODEL)),),
        kind="stack",
        steps=((None, "green"), (bad.cost_per_hour, "red")),
    )
    yield Panel(
        "Projected month by model",
        "30 times what the 24 hours up to each moment cost.",
        "currencyUSD",
        (Query(f"{DAILY.increase(table.COST, [MODEL])} * 30", legend(MODEL)),),
        kind="stack",
    )
    yield Panel(
        "Calls without an exact cost",
        "Calls in a minute whose cost is a bound, or unknown: a price is missing, or a stream broke before it told.",
        "reqpm",
        (Query(f"{NOW.rate(table.UNPRICED, [MODEL])} * 60", legend(MODEL)),),
    )
    yield Panel(
        "Tokens",
        "Tokens in a minute, by price; input is what was neither read from the cache nor written to it.",
        "short",
        (Query(f"{NOW.rate(table.TOKENS, [table.KIND])} * 60", legend(table.KIND)),),
        kind="stack",
    )
    yield Panel(
        "Cache hits",
        "The share of the prompts' tokens that was read from the cache, at a tenth of the price or so.",
        "percentunit",
        (Query(NOW.share(is_any(table.KIND, "cache_read"), _PROMPT, table.TOKENS, [MODEL]), legend(MODEL)),),
        most=1,
    )
    yield Panel(
        "Tokens of a call",
        "Percentiles of the whole prompt, cache included, and of the output.",
        "short",
        tuple(
            Query(NOW.quantile(share, table.TOKEN_USAGE, (), is_any(table.TOKEN, kind)), f"{kind} p{share * 100:.0f}")
            for kind in ("input", "output")
            for share in (0.5, 0.95)
        ),
    )


def budget(bad: Thresholds) -> Iterator[Panel]:
    """What may be spent, and what is."""
    setting = legend(table.SETTING)
    yield Panel(
        "Budget spent",
        "The share of each limit that is spent in its period; at 100 % calls are refused. Of several instances, the "
        "most.",
        "percentunit",
        (Query(NOW.ratio("max", table.BUDGET_SPENT, table.BUDGET_LIMIT, [table.SETTING]), setting),),
        kind="steps",
        steps=((None, "green"), (bad.budget_ratio, "red")),
    )
    for title, unit, values in (
        ("Budgets in USD", "currencyUSD", [value for value in table.SETTING.values if value.endswith(".usd")]),
        ("Budgets in tokens", "short", [value for value in table.SETTING.values if value.endswith(".tokens")]),
    ):
        yield Panel(
            title,
            "What is spent, what is set aside for calls under way, and the limit; of several instances, the most of "
            "each.",
            unit,
            tuple(
                Query(NOW.grouped("max", metric, [table.SETTING], is_any(table.SETTING, *values)), f"{setting} {what}")
                for metric, what in (
                    (table.BUDGET_SPENT, "spent"),
                    (table.BUDGET_RESERVED, "reserved"),
                    (table.BUDGET_LIMIT, "limit"),
                )
            ),
            kind="steps",
        )


def tools() -> Iterator[Panel]:
    """What models have had done."""
    keys = (table.TOOL, table.TOOL_OUTCOME)
    yield Panel(
        "Tool executions",
        "Executions in a minute by how they ended; invalid means that the model's arguments did not fit the tool.",
        "opm",
        (Query(f"{NOW.rate(table.TOOL_EXECUTIONS, keys)} * 60", " ".join(map(legend, keys))),),
        12,
        "stack",
    )
    yield Panel(
        "Duration of a tool",
        "Seconds that an execution takes on average.",
        "s",
        (Query(per(table.TOOL_SECONDS, table.TOOL_EXECUTIONS, table.TOOL), legend(table.TOOL)),),
        12,
    )
