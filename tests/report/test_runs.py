"""What a report tells of runs: the numbers that ``bench`` shows, and where they come from."""

from __future__ import annotations

from decimal import Decimal

import pytest

from claudeprov.bench.table import cells
from claudeprov.report.content import wilson
from claudeprov.report.runs import report_of
from tests.report.made import NOW, failed, result, task


def tables(report):
    return {table.title: table for section in report.sections for table in section.tables}


def charts(report):
    return {chart.title: chart for section in report.sections for chart in section.charts}


def texts(table):
    return [[cell.text for cell in row] for row in table.rows]


def test_the_facts_of_a_run_are_what_bench_shows():
    run = result(task("a"), task("b", verdict="failed", seconds=4.0), failed("c"))
    assert {fact.name: fact.text for fact in report_of([run], NOW).facts} == cells(run)


def test_the_runs_of_a_sweep_are_told_as_bench_shows_them():
    runs = [result(task("a"), name="s/0-haiku"), result(failed("a"), name="s/1-sonnet", model="sonnet")]
    report = report_of(runs, NOW)
    table = tables(report)["Runs"]
    told = [dict(zip(table.columns, row, strict=True)) for row in texts(table)]
    assert told == [{"run": run.model} | cells(run) | {} for run in runs]
    assert report.title == "s"
    assert report.facts == ()


def test_the_runs_are_sorted_by_their_numbers():
    tokens, costs = (997, 1661), ("0.2", "0.03")
    runs = [
        result(task("a", input_tokens=number, cost_usd=Decimal(cost), seconds=1.5), failed("b"), model=f"m{number}")
        for number, cost in zip(tokens, costs, strict=True)
    ]
    table = tables(report_of(runs, NOW))["Runs"]
    keys = {name: [row[number].key for row in table.rows] for number, name in enumerate(table.columns)}
    assert keys["tokens in/out"] == [1097, 1761]
    assert keys["cost"] == [0.2, 0.03]
    assert keys["latency p50/p95/p99"] == [1.5, 1.5]
    assert keys["first chunk p50/p95"] == [0.5, 0.5]
    assert keys["passed"] == keys["generation"] == [1, 1]
    assert keys["errors"] == [1, 1]


def test_runs_that_could_not_be_read_are_named():
    report = report_of([result(task("a")), result(task("a"), model="x")], NOW, unread=["2-broken"])
    assert report.notes[0] == "1 of 3 runs could not be read: 2-broken"


def test_runs_of_one_model_are_told_apart_by_their_settings_or_else_by_their_folders():
    first, second = ({"retry": {"max_attempts": number}} for number in (1, 4))
    apart = report_of([result(task("a"), settings=first), result(task("a"), settings=second)], NOW)
    assert [row[0].text for row in tables(apart)["Runs"].rows] == [
        "haiku retry.max_attempts=1",
        "haiku retry.max_attempts=4",
    ]
    alike = report_of([result(task("a"), name="s/0"), result(task("a"), name="s/1")], NOW)
    assert [row[0].text for row in tables(alike)["Runs"].rows] == ["haiku (0)", "haiku (1)"]


def test_every_task_has_a_line_with_its_outcome_times_tokens_cost_and_reason():
    broken = task(
        "b", cost_usd=None, cost_low_usd=Decimal("0.1"), cost_high_usd=Decimal("0.3"), verdict="error", detail="raised"
    )
    table = tables(report_of([result(task("a"), broken, failed("c"))], NOW))["Each task"]
    lines = [dict(zip(table.columns, row, strict=True)) for row in texts(table)]
    assert (
        lines[0] | {"outcome": "passed", "latency": "2.00 s", "first chunk": "0.50 s", "cost": "$0.00075"} == lines[0]
    )
    assert lines[0]["tokens/s"] == "20"
    assert lines[1] | {"outcome": "error", "cost": "$0.1 to $0.3", "why": "raised"} == lines[1]
    assert lines[2] | {"outcome": "overloaded", "cost": "unknown", "why": "Overloaded", "output": "—"} == lines[2]


def test_what_no_task_tells_is_no_column():
    table = tables(report_of([result(task("a"), timing="replayed", mode="replay")], NOW))["Each task"]
    assert not {"latency", "first chunk", "tokens/s", "why"}.intersection(table.columns)


def test_the_times_of_a_replay_are_left_out_and_the_reason_is_told():
    report = report_of([result(task("a"), timing="replayed", mode="replay", source="replaying a cassette")], NOW)
    assert "Latency" not in [section.title for section in report.sections]
    assert report.notes[0] == "Replaying a cassette."
    assert "replayed at once" in report.notes[1]


def test_a_score_has_wilsons_interval():
    assert wilson(5, 20) == pytest.approx((0.11186, 0.46870), abs=1e-4)
    assert wilson(0, 20)[0] == 0
    assert wilson(20, 20)[1] == 1
    run = result(task("a"), task("b", verdict="failed"))
    [point] = charts(report_of([run], NOW))["Pass rate"].points
    assert (point.value, point.low, point.high) == (0.5, *wilson(1, 2))


def test_a_cost_of_which_only_bounds_are_known_is_drawn_as_an_interval():
    bounds = {"cost_usd": None, "cost_low_usd": Decimal("0.1"), "cost_high_usd": Decimal("0.3")}
    [point] = charts(report_of([result(task("a", **bounds))], NOW))["Cost"].points
    assert (point.low, point.high) == (0.1, 0.3)


def test_runs_of_different_suites_are_not_compared_in_silence():
    report = report_of([result(task("a")), result(task("a"), suite_digest="e", model="sonnet")], NOW)
    assert "cannot be compared" in report.notes[-1]


def test_what_holds_for_all_runs_is_said_once():
    runs = [result(task("a"), model=name, timing="recorded", source=f"from {name}") for name in ("x", "y")]
    first, once, second = report_of(runs, NOW).notes
    assert (first, second) == ("x: From x.", "y: From y.")
    assert once.startswith("The times are those of the service")


def test_an_interrupted_run_says_how_far_it_came():
    [note] = report_of([result(task("a"), tasks=20, interrupted=True)], NOW).notes
    assert note == "interrupted; 1 of 20 tasks were done."


def test_settings_that_differ_stand_before_those_that_do_not():
    runs = [result(task("a"), settings={"x": 1, "same": "s"}), result(task("a"), settings={"x": 2, "same": "s"})]
    found = tables(report_of(runs, NOW))
    assert texts(found["Settings that differ"]) == [["x", "1", "2"]]
    assert texts(found["Settings"]) == [["same", "s"]]
    assert found["Settings"].folded


def test_answers_are_told_only_where_they_are_asked_for():
    run = result(task("a"))
    assert "the answer to a" not in repr(report_of([run], NOW))
    assert report_of([run], NOW, answers=True).texts == [("a", "the answer to a")]


def test_a_run_of_thousands_of_tasks_has_a_table_of_two_thousand():
    table = tables(report_of([result(*(task(f"t{number}") for number in range(2005)))], NOW))["Each task"]
    assert len(table.rows) == 2000
    assert table.note == "5 more are in the run's result.json."
