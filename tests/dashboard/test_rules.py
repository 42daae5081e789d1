"""The rules by promtool: they are in order, each alert fires when it should, and stays quiet when it should."""

from __future__ import annotations

import re
import subprocess

import pytest
import yaml

from claudeprov.dashboard.panels import rows
from claudeprov.dashboard.rules import rules
from claudeprov.dashboard.thresholds import Thresholds
from claudeprov.errors import ConfigurationError
from claudeprov.telemetry import table

pytestmark = pytest.mark.usefixtures("servers")

MODEL = {"job": "app", "gen_ai_request_model": "sonnet"}
ROUTE = {"job": "app", "route": "anthropic/sonnet"}
LIMIT = {**ROUTE, "counter": "requests"}
BUDGET = {"job": "app", "setting": "budget.day.usd"}
NOW_AND_THEN = "0 " + " ".join(f"{count}x1" for count in range(1, 100))
"""One every other minute."""


def series(metric, labels, values, suffix=""):
    text = ",".join(f'{name}="{value}"' for name, value in labels.items())
    return {"series": f"{metric.prometheus}{suffix}{{{text}}}", "values": values}


def calls(read="0x90", failed="0x90", **labels):
    """How many calls ended, a value a minute: ``0+2x90`` adds two each minute."""
    told = {"read": read, "failed": failed}
    return [series(table.CALLS, {**MODEL, "outcome": name, **labels}, values) for name, values in told.items()]


def histogram(metric, seconds, slow=None, shares=(100, 0), every="", **labels):
    """A hundred values a minute, *shares* of them of *seconds* and *slow*; with *every* these ones instead."""
    fast, more = shares
    told = {}
    for bound in (*metric.buckets, float("inf")):
        count = fast * (seconds <= bound) + more * (slow is not None and slow <= bound)
        le = "+Inf" if bound == float("inf") else str(bound)
        told["_bucket", le] = every if every and count else f"0+{count}x90"
    found = [series(metric, {**MODEL, **labels, "le": le}, values, "_bucket") for (_, le), values in told.items()]
    return [*found, series(metric, {**MODEL, **labels}, told["_bucket", "+Inf"], "_count")]


def breaker(state, values="1x90", instance="a:1"):
    return series(table.BREAKER, {**ROUTE, "instance": instance, "state": state}, values)


def headroom(remaining, side="service", limit=1000, instance="a:1"):
    counted = {table.RATELIMIT_REMAINING: remaining, table.RATELIMIT_LIMIT: limit}
    labels = {**LIMIT, "instance": instance, "side": side}
    return [series(metric, labels, f"{count}x90") for metric, count in counted.items()]


def budget(spent, limit=20, instance="a:1"):
    labels = {**BUDGET, "instance": instance}
    return [series(table.BUDGET_SPENT, labels, f"{spent}x90"), series(table.BUDGET_LIMIT, labels, f"{limit}x90")]


def cost(values):
    return [series(table.COST, MODEL, values)]


FIRES = {
    "over 5 % of many calls fail": (
        "ClaudeprovErrors",
        calls("0+2x90", "0+2x90"),
        "12m",
        MODEL,
        "50% of the calls to sonnet fail.",
    ),
    "a call is made every other minute, and each fails": (
        "ClaudeprovErrors",
        calls(failed=NOW_AND_THEN),
        "60m",
        MODEL,
        "100% of the calls to sonnet fail.",
    ),
    "6 of 100 calls take over a minute": (
        "ClaudeprovSlow",
        histogram(table.DURATION, 42, 61, (94, 6)),
        "17m",
        MODEL,
        "5 of 100 calls to sonnet take longer than about 1m 3s.",
    ),
    "6 of 100 first chunks take over ten seconds": (
        "ClaudeprovFirstChunkSlow",
        histogram(table.FIRST_CHUNK, 5.2, 10.3, (94, 6)),
        "17m",
        MODEL,
        "5 of 100 calls to sonnet wait longer than about 11.95s for their first chunk.",
    ),
    "the breaker is open in two of three instances": (
        "ClaudeprovBreakerOpen",
        [breaker("open"), breaker("open", instance="b:1"), breaker("open", "0x90", instance="c:1")],
        "5m",
        ROUTE,
        "The breaker of anthropic/sonnet is open: its calls are refused. Instances of app where it is: 2.",
    ),
    "the breaker is half open for a moment every five minutes": (
        "ClaudeprovBreakerOpen",
        [breaker("open", " ".join(["1x4 0x0"] * 12))],
        "54m",
        ROUTE,
        "The breaker of anthropic/sonnet is open: its calls are refused. Instances of app where it is: 1.",
    ),
    "a budget is nearly spent": (
        "ClaudeprovBudgetNearlySpent",
        budget(19),
        "3m",
        BUDGET,
        "95% of budget.day.usd is spent by app; at 100 % calls are refused.",
    ),
    "a small budget is nearly spent and another instance's large one is not": (
        "ClaudeprovBudgetNearlySpent",
        [*budget(19), *budget(19, limit=1000, instance="b:1")],
        "3m",
        BUDGET,
        "95% of budget.day.usd is spent by app; at 100 % calls are refused.",
    ),
    "all instances tell of one shared budget": (
        "ClaudeprovBudgetNearlySpent",
        [*budget(19), *budget(19, instance="b:1")],
        "3m",
        BUDGET,
        "95% of budget.day.usd is spent by app; at 100 % calls are refused.",
    ),
    "little of a rate limit is left": (
        "ClaudeprovNoHeadroom",
        headroom(50),
        "7m",
        LIMIT,
        "5% is left of requests of anthropic/sonnet: calls wait, or get a 429.",
    ),
    "little of one instance's rate limit is left, more than the whole of another's": (
        "ClaudeprovNoHeadroom",
        [*headroom(50), *headroom(40, limit=50, instance="b:1")],
        "7m",
        LIMIT,
        "5% is left of requests of anthropic/sonnet: calls wait, or get a 429.",
    ),
    "calls cost a dollar a minute": (
        "ClaudeprovCostRate",
        cost("0+1x90"),
        "75m",
        {"job": "app"},
        "The calls of the latest hour cost $60.",
    ),
}
QUIET = {
    "one call in a hundred fails": ("ClaudeprovErrors", calls("0+99x90", "0+1x90"), "60m"),
    "all of very few calls fail": ("ClaudeprovErrors", calls(failed="0x5 1x5 2x80"), "12m"),
    "2 of 24 calls fail": ("ClaudeprovErrors", calls("0x20 0+2x15 30x60", "0x24 1x2 2x60"), "31m"),
    "calls failed long ago": ("ClaudeprovErrors", calls("100x90", "100x90"), "60m"),
    "half of the calls failed until half an hour ago": (
        "ClaudeprovErrors",
        calls("0+2x90", "0+2x30 60x60"),
        "60m",
    ),
    "calls have failed for less than five minutes": ("ClaudeprovErrors", calls("0+2x90", "0+2x90"), "4m"),
    "all calls take 42 seconds": ("ClaudeprovSlow", histogram(table.DURATION, 42), "60m"),
    "4 of 100 calls take over a minute": ("ClaudeprovSlow", histogram(table.DURATION, 59, 119, (96, 4)), "60m"),
    "only calls that failed took long": (
        "ClaudeprovSlow",
        histogram(table.DURATION, 80, error_type="overloaded"),
        "60m",
    ),
    "very few calls take long": ("ClaudeprovSlow", histogram(table.DURATION, 80, every=NOW_AND_THEN), "60m"),
    "first chunks come soon": ("ClaudeprovFirstChunkSlow", histogram(table.FIRST_CHUNK, 9.9), "60m"),
    "very few first chunks come late": (
        "ClaudeprovFirstChunkSlow",
        histogram(table.FIRST_CHUNK, 30, every=NOW_AND_THEN),
        "60m",
    ),
    "the breaker is closed": (
        "ClaudeprovBreakerOpen",
        [breaker("closed"), breaker("open", "0x90"), *calls("0+2x90")],
        "60m",
    ),
    "someone holds the breaker open": ("ClaudeprovBreakerOpen", [breaker("forced_open"), *calls("0+2x90")], "60m"),
    "a trial is due, but nobody calls while other routes are busy": (
        "ClaudeprovBreakerOpen",
        [breaker("open", "1x5 0x85"), breaker("half_open", "0x5 1x85"), *calls("0+9x90")],
        "9m",
    ),
    "half of the budget is left": ("ClaudeprovBudgetNearlySpent", budget(10), "60m"),
    "half of a large budget and of a small one is left": (
        "ClaudeprovBudgetNearlySpent",
        [*budget(10), *budget(500, limit=1000, instance="b:1")],
        "60m",
    ),
    "half of the rate limit is left": ("ClaudeprovNoHeadroom", headroom(500), "60m"),
    "half of a large rate limit and of a small one is left": (
        "ClaudeprovNoHeadroom",
        [*headroom(500), *headroom(5, limit=10, instance="b:1")],
        "60m",
    ),
    "a bucket of the client's is as full as ever, with its seconds of a minute's limit": (
        "ClaudeprovNoHeadroom",
        headroom(17, side="client"),
        "60m",
    ),
    "calls cost a little": ("ClaudeprovCostRate", cost("0+0.1x90"), "75m"),
    "calls cost much, but hours ago": ("ClaudeprovCostRate", cost("1000x90"), "75m"),
    "a burst is more than an hour old": ("ClaudeprovCostRate", cost("0x10 11x80"), "75m"),
}
NOTHING = [
    pytest.param((alert, [], "60m"), id=f"{alert}: no metrics at all") for alert in {case[0] for case in FIRES.values()}
]


@pytest.fixture
def promtool(exported, tmp_path):
    """Runs one case."""

    def run(alert, given, at, expected):
        test = {
            "interval": "1m",
            "input_series": given,
            "alert_rule_test": [{"alertname": alert, "eval_time": at, "exp_alerts": expected}],
        }
        file = tmp_path / "test.yaml"
        file.write_text(yaml.safe_dump({"rule_files": [str(exported.rules)], "tests": [test]}))
        done = subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    return run


@pytest.fixture
def alerts(exported):
    groups = yaml.safe_load(exported.rules.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}


def test_promtool_finds_them_in_order(exported):
    done = subprocess.run(["promtool", "check", "rules", str(exported.rules)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in FIRES.items()])
def test_an_alert_fires_and_says_what_to_do(promtool, alerts, case):
    alert, given, at, labels, summary = case
    annotations = {"summary": summary, "description": alerts[alert]["annotations"]["description"]}
    labels = {**labels, "severity": alerts[alert]["labels"]["severity"]}
    promtool(alert, given, at, [{"exp_labels": labels, "exp_annotations": annotations}])


@pytest.mark.parametrize("case", [*(pytest.param(case, id=name) for name, case in QUIET.items()), *NOTHING])
def test_an_alert_stays_quiet(promtool, case):
    alert, given, at = case
    promtool(alert, given, at, [])


def test_every_alert_has_cases_of_both_kinds_a_duration_a_severity_and_advice(alerts):
    assert alerts.keys() == {case[0] for case in FIRES.values()} == {case[0] for case in QUIET.values()}
    for rule in alerts.values():
        assert rule["for"]
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"].keys() == {"summary", "description"}


def test_the_panels_that_an_alert_names_are_on_the_dashboard(alerts):
    titles = {panel.title for row in rows(Thresholds()) for panel in row.panels}
    text = " ".join(rule["annotations"]["description"] for rule in alerts.values())
    named = set(re.findall(r'"([^"]+)"', text))
    assert named
    assert named <= titles


def test_an_alert_begins_where_it_is_told_to():
    alerts = rules(Thresholds(error_ratio=0.2, p95_seconds=30, cost_per_hour=2.5))["groups"][1]["rules"]
    exprs = {rule["alert"]: rule["expr"] for rule in alerts}
    assert "> 0.2 " in exprs["ClaudeprovErrors"]
    assert "p95_5m > 30 " in exprs["ClaudeprovSlow"]
    assert exprs["ClaudeprovCostRate"].endswith("> 2.5")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"error_ratio": 1.0}, "--error-ratio 1: no such threshold (allowed: above 0 and below 1)"),
        ({"headroom_ratio": float("nan")}, "--headroom-ratio nan: no such threshold"),
        ({"p95_seconds": 90.0}, "--p95-seconds 90: no such threshold (allowed: 0.01, 0.02, "),
        ({"p95_seconds": 1200.0}, "81.92, 120, 300, 600)"),
        ({"first_chunk_seconds": 0.0}, "--first-chunk-seconds 0"),
        ({"cost_per_hour": float("inf")}, "--cost-per-hour inf"),
    ],
)
def test_a_threshold_that_is_never_or_always_passed_is_refused(given, said):
    with pytest.raises(ConfigurationError) as caught:
        Thresholds(**given)
    assert said in caught.value.message
