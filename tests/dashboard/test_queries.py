"""Every query of the dashboard, and every rule, asked of a Prometheus that has scraped a real run."""

from __future__ import annotations

import json
import math
import re

import pytest
import yaml

from claudeprov.dashboard.panels import rows
from claudeprov.dashboard.thresholds import Thresholds
from claudeprov.telemetry import table
from claudeprov.telemetry.table import METRICS
from tests.dashboard.grafana import filled_in, panels_of

PANELS = [panel for row in rows(Thresholds()) for panel in row.panels]
QUERIES = [
    pytest.param(panel, query, id=f"{panel.title}-{query.legend}") for panel in PANELS for query in panel.queries
]
INTERVAL = "1m"
"""What Grafana takes for $__rate_interval where Prometheus scrapes every 15 s."""


@pytest.fixture(scope="module")
def dashboard(exported):
    return json.loads(exported.dashboard.read_text())


@pytest.fixture(scope="module")
def rules(exported):
    groups = yaml.safe_load(exported.rules.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def value(seen, expr):
    [(_, only)] = seen.prometheus.query(expr, seen.end)
    return only


@pytest.mark.parametrize(("panel", "query"), QUERIES)
def test_each_query_of_each_panel_returns_data(seen, panel, query):
    found = seen.prometheus.query(filled_in(query.expr, interval=INTERVAL, shown="5m"), seen.end)
    assert found
    assert all(math.isfinite(number) for _, number in found)
    assert all(name in labels for labels, _ in found for name in re.findall(r"\{\{(\w+)\}\}", query.legend))


TOPICS = {
    "latency percentiles": ("Duration of calls", table.DURATION, ["p50", "p95", "p99"]),
    "time to the first chunk": ("Time to first chunk", table.FIRST_CHUNK, ["p50", "p95", "p99"]),
    "success rate": ("Success rate", table.CALLS, [""]),
    "errors by code": ("Errors by code", table.CALLS, ["{{error_type}}"]),
    "retries": ("Retries", table.RETRIES, ["{{gen_ai_request_model}}"]),
    "breaker": ("Breaker", table.BREAKER, ["{{route}}"]),
    "rate-limit headroom": ("Rate-limit headroom", table.RATELIMIT_REMAINING, ["{{route}} {{counter}}"]),
    "tokens": ("Tokens", table.TOKENS, ["{{type}}"]),
    "cost": ("Cost", table.COST, [""]),
    "burn rate": ("Cost per hour", table.COST, ["{{gen_ai_request_model}}"]),
    "cache hits": ("Cache hits", table.TOKENS, ["{{gen_ai_request_model}}"]),
    "budget": ("Budget spent", table.BUDGET_SPENT, ["{{setting}}"]),
}


@pytest.mark.parametrize("topic", TOPICS)
def test_the_file_has_a_panel_of_each_topic(dashboard, topic):
    title, metric, legends = TOPICS[topic]
    [panel] = [panel for panel in panels_of(dashboard) if panel["title"] == title]
    assert [target["legendFormat"] for target in panel["targets"]] == legends
    assert all(metric.prometheus in target["expr"] for target in panel["targets"])


def test_each_panel_draws_lines_over_a_range(seen, dashboard):
    for panel in panels_of(dashboard):
        for target in panel["targets"]:
            if target["range"]:
                expr = filled_in(target["expr"], interval=INTERVAL, shown="5m")
                assert seen.prometheus.query_range(expr, seen.end - 30, seen.end, 0.2), panel["title"]


def test_each_variable_offers_what_was_seen_and_choosing_it_leaves_data(seen, dashboard):
    chosen = {}
    for variable in dashboard["templating"]["list"][1:]:
        query = filled_in(variable["query"], interval=INTERVAL, shown="5m")
        series, label = re.fullmatch(r"label_values\((.+), (\w+)\)", query).groups()
        chosen[variable["name"]] = seen.prometheus.ask(f"label/{label}/values", **{"match[]": series})
    assert chosen["job"] == ["app"]
    assert len(chosen["instance"]) == 1
    assert chosen["model"] == ["claude-haiku-5-5", "claude-sonnet-5-5"]
    several = {name: "|".join(map(re.escape, values)).replace("\\", "\\\\") for name, values in chosen.items()}
    for panel in panels_of(dashboard):
        for target in panel["targets"]:
            expr = filled_in(target["expr"], interval=INTERVAL, shown="5m", chosen=several)
            assert seen.prometheus.query(expr, seen.end), panel["title"]


def test_a_choice_of_one_model_leaves_out_the_others(seen, dashboard):
    [panel] = [panel for panel in panels_of(dashboard) if panel["title"] == "Success rate by model"]
    chosen = {"job": ".*", "instance": ".*", "model": "claude-haiku-5-5"}
    expr = filled_in(panel["targets"][0]["expr"], interval=INTERVAL, shown="5m", chosen=chosen)
    assert [labels["gen_ai_request_model"] for labels, _ in seen.prometheus.query(expr, seen.end)] == [chosen["model"]]


def test_every_metric_is_on_some_panel():
    asked = "\n".join(query.expr for panel in PANELS for query in panel.queries)
    missing = [metric.prometheus for metric in METRICS if not re.search(rf"\b{metric.prometheus}(_bucket)?\b", asked)]
    assert missing == []


def test_what_the_panels_say_is_what_has_happened(seen, dashboard):
    exprs = {
        panel["title"]: filled_in(panel["targets"][0]["expr"], interval=INTERVAL, shown="5m")
        for panel in panels_of(dashboard)
    }
    assert 0.5 < value(seen, exprs["Success rate"]) < 1
    codes = {labels["error_type"] for labels, _ in seen.prometheus.query(exprs["Errors by code"], seen.end)}
    assert {"invalid_request", "stream_interrupted", "overloaded"} <= codes
    assert max(state for _, state in seen.prometheus.query(exprs["Breaker"], seen.end)) >= 1
    cached = dict.fromkeys(number for _, number in seen.prometheus.query(exprs["Cache hits"], seen.end))
    assert list(cached) == [pytest.approx(0.75)] * len(cached)
    assert value(seen, exprs["Cost"]) > 0
    assert value(seen, exprs["Streams open"]) == 1


def test_each_recording_rule_is_evaluated_and_returns_data(seen, rules):
    recorded = [rule["record"] for rule in rules if "record" in rule]
    assert len(recorded) == len(set(recorded))
    for name in recorded:
        found = seen.prometheus.query(name, seen.end)
        assert found, name
        assert all(math.isfinite(number) for _, number in found), name


def test_each_alert_is_evaluated_without_an_error(seen, rules):
    loaded = [rule for group in seen.prometheus.ask("rules")["groups"] for rule in group["rules"]]
    assert {rule["name"] for rule in loaded} == {rule.get("record") or rule["alert"] for rule in rules}
    assert {(rule["health"], rule.get("lastError")) for rule in loaded} == {("ok", None)}


def test_the_alerts_see_the_open_breaker_and_the_failures(seen, rules):
    holds = {rule["alert"] for rule in rules if "alert" in rule and seen.prometheus.query(rule["expr"], seen.end)}
    assert {"ClaudeprovBreakerOpen", "ClaudeprovErrors"} <= holds
