"""Each measure fires and is resolved, and what a monitor keeps apart."""

from __future__ import annotations

import json
import logging
from datetime import timedelta

import pytest

from claudeprov.alerts import standing
from claudeprov.alerts.baseline import Answer, Baselines
from claudeprov.alerts.monitor import KEYS
from claudeprov.notice import Notices
from claudeprov.testing import ManualClock
from tests.alerts.made import Calls, rule

BAD = [
    (rule("error_rate", above=0.5), {"failed": True, "latency": None}, "x firing: errors 100 %, the threshold is 50 %"),
    (rule("refusals", above=0.5), {"refused": True}, "x firing: refusals 100 %, the threshold is 50 %"),
    (rule("latency", above=10), {"latency": 12.4}, "x firing: p95 latency 12.4 s, the threshold is 10 s"),
    (rule("first_chunk", above=2, percentile=50), {"first_chunk": 3.0}, "x firing: p50 time to first chunk 3 s, the"),
    (rule("throughput", below=30), {"tokens": 40, "served": 2.0}, "x firing: throughput 20 tokens/s, the threshold is"),
    (rule("cost_rate", above=5), {"usd": 1.0}, "x firing: cost 12 USD/h, the threshold is 5 USD/h, in 1 calls of"),
]


@pytest.fixture
def clock():
    return ManualClock()


@pytest.mark.parametrize(("bad", "fields", "said"), BAD, ids=lambda value: getattr(value, "measure", ""))
async def test_each_measure_of_calls_fires_and_is_resolved(clock, bad, fields, said):
    calls = Calls(clock, x=bad)
    calls.end()
    if bad.measure != "cost_rate":
        assert calls.told() == []
    await clock.advance(300)
    calls.end(**fields)
    (alert,) = calls.look()
    assert alert.message.startswith(said)
    await clock.advance(300)
    calls.end()
    (alert,) = calls.look()
    assert (alert.state, alert.since) == ("resolved", clock.now() - timedelta(seconds=300))
    assert alert.message.startswith("x resolved after 5 min: ")


def post(clock, calls, name, **fields):
    notices = Notices(clock)
    notices.listen(calls.monitor.standing.hear)
    notices.post(name, None, **fields)


async def test_a_breaker_is_told_while_it_is_not_closed(clock):
    calls = Calls(clock, breaker=rule("breaker_open", pending_for=15))
    for state in ("open", "half_open", "open"):
        post(clock, calls, "breaker.changed", route="anthropic/opus", **{"from": "closed", "to": state})
        calls.look()
        await clock.advance(5)
    (alert,) = calls.look()
    assert alert.message == "breaker firing: the breaker of anthropic/opus is open"
    await clock.advance(3600)
    assert calls.told() == []
    post(clock, calls, "breaker.changed", route="anthropic/opus", **{"from": "half_open", "to": "closed"})
    (alert,) = calls.look()
    assert alert.message == "breaker resolved after 1 h: the breaker of anthropic/opus is closed"


def threshold(clock, percent, ends_in, tag=None):
    ends = None if ends_in is None else (clock.now() + timedelta(seconds=ends_in)).isoformat()
    return {"setting": "budget.day.usd", "tag": tag, "limit": 20, "spent": percent / 5, "resets_at": ends}


async def test_a_budget_is_told_until_its_period_ends(clock):
    calls = Calls(clock, budget=rule("budget", above=80))
    post(clock, calls, "budget.threshold", **threshold(clock, 50, 7200))
    assert calls.told() == []
    post(clock, calls, "budget.threshold", **threshold(clock, 83, 7200, "user=al"))
    (alert,) = calls.look()
    assert alert.message == "budget firing: 83 % of budget.day.usd user=al is spent"
    await clock.advance(7199)
    assert calls.told() == []
    await clock.advance(1)
    (alert,) = calls.look()
    assert alert.message == "budget resolved after 2 h: the period of budget.day.usd user=al is over"


async def test_a_runs_budget_is_told_for_the_window(clock):
    calls = Calls(clock, budget=rule("budget", above=80, window=600))
    post(clock, calls, "budget.threshold", **threshold(clock, 100, None))
    assert calls.told() == [("budget", "firing")]
    await clock.advance(600)
    assert calls.told() == [("budget", "resolved")]


async def test_without_calls_nothing_fires_and_what_fired_is_resolved(clock):
    rules = {one.measure: one for one, _, _ in BAD}
    calls = Calls(clock, **rules)
    for _ in range(10):
        await clock.advance(60)
        assert calls.told() == []
    calls.end(failed=True)
    assert calls.told() == [("error_rate", "firing")]
    await clock.advance(300)
    (alert,) = calls.look()
    assert alert.message == "error_rate resolved after 5 min: no calls in the last 5 min"


async def test_calls_that_their_reader_left_are_neither_success_nor_failure(clock):
    calls = Calls(clock, errors=rule("error_rate", above=0.5))
    calls.end(9, failed=None, latency=None)
    calls.end(failed=True)
    assert calls.told() == [("errors", "firing")]


async def test_models_and_routes_are_judged_by_themselves(clock):
    calls = Calls(clock, model=rule(above=10, per="model"), route=rule(above=10, per="route"), whole=rule(above=10))
    calls.end(99, model="fast", route="anthropic/fast")
    calls.end(1, model="slow", route="anthropic/slow", latency=20.0)
    assert {(alert.name, alert.key) for alert in calls.look()} == {
        ("model", "slow"),
        ("route", "anthropic/slow"),
    }
    await clock.advance(300)
    assert sorted(calls.told()) == [("model", "resolved"), ("route", "resolved")]


async def test_more_models_than_it_looks_at_count_in_the_whole(clock, caplog):
    calls = Calls(clock, model=rule(above=10, per="model"), whole=rule(above=10))
    for number in range(KEYS + 5):
        calls.end(model=f"m{number}", latency=20.0)
    fired = calls.told()
    assert (len(fired), fired[-1]) == (KEYS + 1, ("whole", "firing"))
    assert [record.message for record in caplog.records] == [
        f"alerts look at {KEYS} models only; calls of others count in the whole"
    ]
    await clock.advance(300)
    calls.told()
    calls.end(model="another", latency=20.0)
    assert calls.told() == [("model", "firing"), ("whole", "firing")]


async def test_what_cannot_be_compared_is_said_once(clock, caplog):
    calls = Calls(clock, slow=rule(times_baseline=2))
    for _ in range(50):
        calls.end(latency=100.0)
        assert calls.told() == []
        calls.monitor._baselines.close()
        await clock.advance(60)
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == [
        "the rule slow cannot compare, and stays quiet: there is no ledger: choose ledger=sqlite or ledger=postgres"
    ]


async def test_it_is_said_of_each_model_that_cannot_be_compared(clock, caplog):
    def ask(questions):
        return {one: Answer(1.0) if one.key == "known" else Answer(None, "too new") for one in questions}

    calls = Calls(clock, Baselines(ask, clock), slow=rule(times_baseline=2, per="model"))
    for model in ("a\nb", "c", "known"):
        calls.end(model=model)
    for _ in range(3):
        calls.look()
        calls.monitor._baselines.close()
    assert [record.message for record in caplog.records] == [
        "the rule slow cannot compare a b, and stays quiet: too new",
        "the rule slow cannot compare c, and stays quiet: too new",
    ]


async def test_a_rule_is_looked_at_for_one_model_at_a_time(clock):
    calls = Calls(clock, slow=rule(above=10, per="model"), errors=rule("error_rate", above=0.5, per="model"))
    calls.end(model="a", latency=20.0)
    calls.end(model="b", latency=20.0, failed=True)
    steps = []
    for alerts in calls.monitor.evaluate():
        steps.append([(alert.name, alert.key) for alert in alerts])
        calls.end(model=f"new{len(steps)}")
    assert steps[:4] == [[("slow", "a")], [("slow", "b")], [], [("errors", "b")]]


async def test_the_routes_and_limits_that_were_told_of_last_are_kept(clock):
    calls = Calls(clock, breaker=rule("breaker_open"), budget=rule("budget", above=80))
    numbers = range(standing._MOST)
    for number in (*numbers, 0, "new"):
        post(clock, calls, "breaker.changed", route=f"r{number}", **{"from": "closed", "to": "open"})
        post(clock, calls, "budget.threshold", **threshold(clock, 90, 7200, f"user={number}"))
    latest = [*numbers[2:], 0, "new"]
    assert [(alert.name, alert.key) for alert in calls.look()] == [
        *(("breaker", f"r{number}") for number in latest),
        *(("budget", f"budget.day.usd user={number}") for number in latest),
    ]


async def test_a_message_is_one_short_line_whatever_models_and_runs_are_called(clock):
    evil = "a\nCRITICAL:root:all is lost \x1b[31m\u202e\r\u2028" + "<&>" * 2000
    calls = Calls(clock, model=rule(above=10, per="model"))
    calls.end(model=evil, run=evil, latency=20.0)
    (alert,) = calls.look()
    assert alert.message.isprintable()
    assert alert.run.isprintable()
    assert alert.run.startswith("a CRITICAL:root:all is lost  [31m   <&>")
    section, context = json.loads(alert.body("slack"))["blocks"]
    assert max(len(section["text"]["text"]), len(context["elements"][0]["text"])) < 2000  # Slack takes 3,000
    assert len(alert.body("json")) < 4000


async def test_no_secret_is_in_a_name(clock):
    key = "sk-" + "ant-" + "0123456789abcdef"
    calls = Calls(clock, model=rule(above=10, per="model"))
    calls.end(model=key, run=key, latency=20.0)
    (alert,) = calls.look()
    assert key.encode() not in alert.body("json") + alert.body("slack")
    assert "**********" in alert.message
