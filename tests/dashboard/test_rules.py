"""The rules by promtool: they are in order, each alert fires when it should, and stays quiet when it should."""

from __future__ import annotations

import subprocess

import pytest
import yaml

from claudeprov.dashboard.rules import rules
from claudeprov.dashboard.thresholds import Thresholds
from claudeprov.errors import ConfigurationError
from claudeprov.telemetry import table

pytestmark = pytest.mark.usefixtures("servers")

MODEL = {"job": "app", "gen_ai_request_model": "sonnet"}
ROUTE = {"job": "app", "route": "anthropic/sonnet"}
LIMIT = {**ROUTE, "counter": "requests"}
BUDGET = {"job": "app", "instance": "a:1", "setting": "budget.day.usd"}


def series(metric, labels, values, suffix=""):
    text = ",".join(f'{name}="{value}"' for name, value in labels.items())
    return {"series": f"{metric.prometheus}{suffix}{{{text}}}", "values": values}


def calls(read="0x90", failed="0x90", **labels):
    """How many calls ended, a value a minute: ``0+2x90`` adds two each minute."""
    told = {"read": read, "failed": failed}
    return [series(table.CALLS, {**MODEL, "outcome": name, **labels}, values) for name, values in told.items()]


def histogram(metric, below, bound, **labels):
    """Ten values a minute, all in the bucket up to *bound*, after that up to *below*."""
    assert {below, bound} <= set(metric.buckets)
    counts = {f"{below:g}": "0x90", f"{bound:g}": "0+10x90", "+Inf": "0+10x90"}
    return [series(metric, {**MODEL, **labels, "le": le}, values, "_bucket") for le, values in counts.items()]


def breaker(state, value="1x90"):
    return series(table.BREAKER, {**ROUTE, "instance": "a:1", "state": state}, value)


def headroom(remaining, side="service"):
    counted = {table.RATELIMIT_REMAINING: remaining, table.RATELIMIT_LIMIT: 1000}
    return [series(metric, {**LIMIT, "side": side}, f"{count}x90") for metric, count in counted.items()]


def budget(spent):
    return [series(table.BUDGET_SPENT, BUDGET, f"{spent}x90"), series(table.BUDGET_LIMIT, BUDGET, "20x90")]


def cost(values):
    return [series(table.COST, MODEL, values)]


FIRES = {
    "ClaudeprovErrors": (
        calls("0+2x90", "0+2x90"),
        "12m",
        MODEL,
        "50% of the calls to sonnet fail.",
    ),
    "ClaudeprovSlow": (
        histogram(table.DURATION, 40.96, 81.92),
        "17m",
        MODEL,
        "5 of 100 calls to sonnet take longer than 1m 19s.",
    ),
    "ClaudeprovFirstChunkSlow": (
        histogram(table.FIRST_CHUNK, 10.24, 20.48),
        "17m",
        MODEL,
        "5 of 100 calls to sonnet wait longer than 19.97s for their first chunk.",
    ),
    "ClaudeprovBreakerOpen": (
        [breaker("open"), *calls(failed="0+2x90")],
        "5m",
        ROUTE,
        "The breaker of anthropic/sonnet is open: its calls are refused.",
    ),
    "ClaudeprovBudgetNearlySpent": (
        budget(19),
        "3m",
        BUDGET,
        "95% of budget.day.usd is spent; at 100 % calls are refused.",
    ),
    "ClaudeprovNoHeadroom": (
        headroom(50),
        "7m",
        LIMIT,
        "5% is left of requests of anthropic/sonnet: calls wait, or get a 429.",
    ),
    "ClaudeprovCostRate": (cost("0+1x90"), "75m", {"job": "app"}, "Calls cost $60 an hour."),
}
QUIET = {
    "one call in a hundred fails": ("ClaudeprovErrors", calls("0+99x90", "0+1x90"), "60m"),
    "all of very few calls fail": ("ClaudeprovErrors", calls(failed="0x5 1x5 2x80"), "12m"),
    "calls failed long ago": ("ClaudeprovErrors", calls("100x90", "100x90"), "60m"),
    "calls have failed for less than five minutes": ("ClaudeprovErrors", calls("0+2x90", "0+2x90"), "4m"),
    "calls are as fast as they may be": ("ClaudeprovSlow", histogram(table.DURATION, 20.48, 40.96), "60m"),
    "only calls that failed took long": (
        "ClaudeprovSlow",
        histogram(table.DURATION, 40.96, 81.92, error_type="overloaded"),
        "60m",
    ),
    "first chunks come soon": ("ClaudeprovFirstChunkSlow", histogram(table.FIRST_CHUNK, 5.12, 10.24), "60m"),
    "the breaker is closed": (
        "ClaudeprovBreakerOpen",
        [breaker("closed"), breaker("open", "0x90"), *calls("0+2x90")],
        "60m",
    ),
    "someone holds the breaker open": ("ClaudeprovBreakerOpen", [breaker("forced_open"), *calls("0+2x90")], "60m"),
    "nobody calls while the breaker is open": (
        "ClaudeprovBreakerOpen",
        [breaker("open"), *calls("9x90", "9x90")],
        "60m",
    ),
    "half of the budget is left": ("ClaudeprovBudgetNearlySpent", budget(10), "60m"),
    "half of the rate limit is left": ("ClaudeprovNoHeadroom", headroom(500), "60m"),
    "a bucket of the client's is as full as ever, with its seconds of a minute's limit": (
        "ClaudeprovNoHeadroom",
        headroom(17, side="client"),
        "60m",
    ),
    "calls cost a little": ("ClaudeprovCostRate", cost("0+0.1x90"), "75m"),
    "calls cost much, but hours ago": ("ClaudeprovCostRate", cost("1000x90"), "75m"),
}
NOTHING = [pytest.param((alert, [], "60m"), id=f"{alert}: no metrics at all") for alert in FIRES]


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


@pytest.mark.parametrize("alert", FIRES)
def test_an_alert_fires_and_says_what_to_do(promtool, alerts, alert):
    given, at, labels, summary = FIRES[alert]
    annotations = {"summary": summary, "description": alerts[alert]["annotations"]["description"]}
    labels = {**labels, "severity": alerts[alert]["labels"]["severity"]}
    promtool(alert, given, at, [{"exp_labels": labels, "exp_annotations": annotations}])


@pytest.mark.parametrize("case", [*(pytest.param(case, id=name) for name, case in QUIET.items()), *NOTHING])
def test_an_alert_stays_quiet(promtool, case):
    alert, given, at = case
    promtool(alert, given, at, [])


def test_every_alert_has_cases_of_both_kinds_a_duration_a_severity_and_advice(alerts):
    assert alerts.keys() == FIRES.keys() == {case[0] for case in QUIET.values()}
    for rule in alerts.values():
        assert rule["for"]
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"].keys() == {"summary", "description"}


def test_what_an_alert_names_is_on_the_dashboard_or_a_command(alerts):
    from claudeprov.dashboard.panels import rows

    titles = {panel.title for row in rows(Thresholds()) for panel in row.panels}
    named = {
        "Errors by code",
        "Duration of calls",
        "Tokens of a call",
        "Waiting of a call",
        "Attempts",
        "Cost per hour",
    }
    assert named <= titles
    text = " ".join(rule["annotations"]["description"] for rule in alerts.values())
    assert all(name in text for name in named)


def test_an_alert_begins_where_it_is_told_to():
    alerts = rules(Thresholds(error_ratio=0.2, p95_seconds=30, cost_per_hour=2.5))["groups"][1]["rules"]
    exprs = {rule["alert"]: rule["expr"] for rule in alerts}
    assert "> 0.2 " in exprs["ClaudeprovErrors"]
    assert exprs["ClaudeprovSlow"].endswith("> 30")
    assert exprs["ClaudeprovCostRate"].endswith("> 2.5")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"error_ratio": 1.0}, "--error-ratio 1: no such threshold (allowed: above 0 and below 1)"),
        ({"headroom_ratio": float("nan")}, "--headroom-ratio nan: no such threshold"),
        ({"p95_seconds": 90.0}, "above 0 and below 81.92, the longest time told apart"),
        ({"first_chunk_seconds": 0.0}, "--first-chunk-seconds 0"),
        ({"cost_per_hour": float("inf")}, "--cost-per-hour inf"),
    ],
)
def test_a_threshold_that_is_never_or_always_passed_is_refused(given, said):
    with pytest.raises(ConfigurationError) as caught:
        Thresholds(**given)
    assert said in caught.value.message
