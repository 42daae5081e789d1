"""What rules compare with: real ledgers, and when they are asked."""

from __future__ import annotations

import logging
import math
import threading
from decimal import Decimal
from random import Random

import pytest

from claudeprov.alerts import baseline
from claudeprov.alerts.baseline import Answer, Baselines, Question, without_ledger
from claudeprov.alerts.history import History
from claudeprov.route import group_of
from claudeprov.settings.ledger import LedgerSettings
from claudeprov.testing import ManualClock
from tests.alerts.made import NOON, Calls, rule
from tests.ledger.rows import ledger, row

DAY = 86400.0
SONNET = "claude-sonnet-4-5-20250929"


@pytest.fixture
def clock():
    return ManualClock(NOON)


@pytest.fixture
def settings(tmp_path):
    return LedgerSettings(path=str(tmp_path / "ledger.db"))


def ask(settings, clock, one, key=None):
    return History(settings, "", clock)([Question.of(one, key)])[Question.of(one, key)]


def keep(settings, rows):
    ledger(settings.path, rows).close()


def test_a_figure_is_that_of_live_calls_before_the_window(settings, clock):
    keep(
        settings,
        [
            *(row(after=-DAY - number, total=float(number)) for number in range(1, 101)),
            row(after=-DAY, total=1000.0, end="failed", error="overloaded"),
            row(after=-DAY, total=1000.0, replayed=True),
            row(after=-10, total=1000.0),
            row(after=-8 * DAY, total=1000.0),
        ],
    )
    assert ask(settings, clock, rule(times_baseline=2)) == Answer(95.0)
    assert ask(settings, clock, rule(times_baseline=2, percentile=50)) == Answer(50.0)
    assert ask(settings, clock, rule(times_baseline=2, percentile=100)) == Answer(100.0)


def test_every_measure_of_calls_has_one(settings, clock):
    keep(
        settings,
        [
            row(
                after=-2 * 3600 - 300, total=10.0, queue=2.0, backoff=3.0, output_tokens=100, first_chunk=1.0, usd="1.5"
            ),
            row(after=-3600, total=10.0, output_tokens=50, first_chunk=3.0, stop_reason="refusal", usd="0.5"),
            row(after=-3600, total=1.0, end="failed", error="overloaded"),
            row(after=-3600, total=1.0, end="cancelled", cost_low_usd=Decimal(2)),
        ],
    )
    given = {
        "error_rate": (2, 1 / 3),
        "refusals": (2, 0.5),
        "first_chunk": (2, 3.0),
        "throughput": (0.5, 10.0),
        "cost_rate": (2, 2.0),
    }
    for measure, (times, value) in given.items():
        told = ask(settings, clock, rule(measure, times_baseline=times)).value
        assert told == pytest.approx(value), measure


def test_a_percentile_is_that_of_all_values_in_order(settings, clock):
    random = Random(7)
    totals = [random.expovariate(0.1) for _ in range(777)]
    keep(settings, [row(after=-DAY, total=total) for total in totals])
    for percentile in (1, 33.3, 95, 99):
        expected = sorted(totals)[math.ceil(777 * percentile / 100) - 1]
        assert ask(settings, clock, rule(times_baseline=2, percentile=float(percentile))).value == expected


def test_models_and_routes_have_their_own(settings, clock):
    other = {"model": "claude-haiku-4-5-20251001", "served": "claude-haiku-4-5-20251001"}
    keep(
        settings,
        [
            row(after=-DAY, total=1.0),
            row(after=-DAY, total=2.0, **other),
            row(after=-DAY, total=3.0, endpoint="bedrock"),
            row(after=-DAY, total=4.0, model="claude-sonnet-4-5", served=None, endpoint="bedrock"),
        ],
    )
    assert ask(settings, clock, rule(times_baseline=2, per="model"), other["model"]).value == 2.0
    route = rule(times_baseline=2, per="route")
    assert ask(settings, clock, route, f"anthropic/{group_of(SONNET)}").value == 1.0
    assert ask(settings, clock, route, f"bedrock/{group_of(SONNET)}").value == 4.0
    assert ask(settings, clock, route, f"bedrock/{group_of(other['model'])}").value is None


def test_too_little_history_is_none(settings, clock):
    keep(settings, [row(after=-DAY, total=1.0) for _ in range(19)])
    why = "the ledger holds 19 such calls of the 7 days before, and minimum_calls is 20"
    assert ask(settings, clock, rule(times_baseline=2, minimum_calls=20)) == Answer(None, why)


def test_a_ledger_that_cannot_be_read_is_said_so(tmp_path, clock):
    (tmp_path / "ledger.db").write_bytes(b"no database" * 1000)
    answer = ask(LedgerSettings(path=str(tmp_path / "ledger.db")), clock, rule(times_baseline=2))
    assert answer == Answer(None, "the ledger cannot be read: file is not a database")


async def test_twice_as_slow_as_last_week_is_said(settings, clock):
    keep(settings, [row(after=-DAY * day, total=5.9, model="m") for day in range(1, 7) for _ in range(10)])
    baselines = Baselines(History(settings, "", clock), clock)
    calls = Calls(clock, baselines, slow=rule(times_baseline=2, per="model", pending_for=30))
    calls.end(30, latency=12.4)
    assert calls.told() == []
    baselines.close()
    calls.look()
    await clock.advance(30)
    (alert,) = calls.look()
    said = "slow firing: p95 latency 12.4 s for m, 2.1 times last week's 5.9 s, in 30 calls of the last 5 min"
    assert alert.message == said
    assert (alert.threshold, alert.figures()["baseline"]) == (11.8, 5.9)


async def test_the_ledger_is_asked_once_an_hour_for_what_is_known(clock):
    asked = []

    def ask(questions):
        asked.append(len(questions))
        return dict.fromkeys(questions, Answer(1.0))

    baselines, question = Baselines(ask, clock), Question.of(rule(times_baseline=2), None)
    for _ in range(4 * 60):
        baselines.get(question)
        baselines.refresh()
        baselines.close()
        await clock.advance(60)
    assert asked == [1] * 4
    assert baselines.get(question) == Answer(1.0)


async def test_nobody_waits_for_a_ledger_that_does_not_answer(clock):
    gate, asked = threading.Event(), []

    def ask(questions):
        asked.append(questions)
        gate.wait(10)
        return without_ledger(questions)

    baselines = Baselines(ask, clock)
    for _ in range(5):
        assert baselines.get(Question.of(rule(times_baseline=2), None)) is None
        baselines.refresh()
    assert len(asked) == 1
    gate.set()
    baselines.close()


async def test_a_known_figure_outlives_a_ledger_that_is_away(clock, caplog):
    answers = iter([Answer(7.0), Answer(None, "away"), RuntimeError("a bug")])

    def ask(questions):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return dict.fromkeys(questions, answer)

    baselines, question = Baselines(ask, clock), Question.of(rule(times_baseline=2), None)
    for _ in range(3):
        baselines.get(question)
        baselines.refresh()
        baselines.close()
        await clock.advance(4000)
    assert baselines.get(question) == Answer(7.0)
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_only_so_many_figures_are_remembered(clock, monkeypatch):
    monkeypatch.setattr(baseline, "_MOST", 3)
    baselines = Baselines(lambda questions: dict.fromkeys(questions, Answer(1.0)), clock)
    questions = [Question.of(rule(times_baseline=2, per="model"), f"m{number}") for number in range(4)]
    for question in questions:
        baselines.get(question)
        baselines.refresh()
        baselines.close()
    assert [baselines.get(question) for question in questions] == [None, None, None, Answer(1.0)]
