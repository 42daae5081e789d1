"""What a report tells of a time: the sums that ``usage`` shows, the course of time, and what stands out."""

from __future__ import annotations

import re
import tracemalloc
from decimal import Decimal

import pytest

from claudeprov.bench.result import Percentiles
from claudeprov.ledger.sums import cost_text, sums_of
from claudeprov.report.page import page_of
from claudeprov.report.period import report_of
from tests.ledger.rows import NOON, ledger, row
from tests.report.made import NOW

SINCE = "2026-11-01T00:00:00.000000Z"


@pytest.fixture
def told(tmp_path):
    """Make the report of a ledger with these rows."""

    def tell(*rows):
        store = ledger(tmp_path / "ledger.db", rows)
        try:
            return report_of(store, "30d", SINCE, NOW), {
                key: sums_of(store, (key,), since=SINCE) for key in ("model", "day", "run", "tag", "error")
            }
        finally:
            store.close()

    return tell


def tables(report):
    return {table.title: table for section in report.sections for table in section.tables}


def charts(report):
    return {chart.title: chart for section in report.sections for chart in section.charts}


def facts(report):
    return {fact.name: fact.text for fact in report.facts}


def mixed():
    """Calls of every kind."""
    yield row(
        usd="0.25", total=2.0, first_chunk=0.5, input_tokens=1200, cache_read_tokens=800, output_tokens=30, run="a"
    )
    yield row(usd="0.5", total=4.0, first_chunk=1.0, attempts=3, run="b", tags={"team": "search"}, after=3600)
    yield row(usd="0.001", total=9.0, error="overloaded", end="failed", after=7200, attempts=2)
    yield row(cost_low_usd=Decimal("0.1"), cost_high_usd=Decimal("0.3"), total=1.0, end="cancelled", after=-86400)
    yield row(total=0.1, served="local", model="local")
    yield row(usd="7", total=0.01, replayed=True, served="recorded")


def test_the_tables_hold_the_sums_that_usage_shows(told):
    report, sums = told(*mixed())
    for key in ("model", "day", "run", "tag"):
        table = tables(report)[f"By {key}"]
        lines = [[cell.text for cell in line] for line in table.rows]
        for sum_, line in zip(sums[key], lines, strict=True):
            written = sum_.cache_write_5m_tokens + sum_.cache_write_1h_tokens
            counts = (sum_.calls, sum_.failed, sum_.input_tokens, written, sum_.cache_read_tokens, sum_.output_tokens)
            name = (sum_.group[0] or "—") + (" (replayed)" if sum_.replayed else "")
            assert line == [name, *(f"{number:,}" for number in counts), cost_text(sum_)]


def test_the_figures_are_those_of_live_calls(told):
    report, _ = told(*mixed())
    found = facts(report)
    assert found["calls"] == "5"
    assert found["success"] == "75.0%"
    assert [fact.note for fact in report.facts if fact.name == "success"] == ["1 failed, 1 cancelled"]
    assert found["latency p50 / p95"] == "2.00 s / 4.00 s"
    assert found["cost"] == "at least $0.851 (unknown: 1 of 5)"
    assert found["read from the cache"] == "40.0%"
    assert found["retries"] == "3"
    assert report.notes[0].startswith("1 more calls were answered by cassettes.")


def test_a_time_of_replays_only_is_told_as_such(told):
    report, _ = told(row(usd="7", replayed=True, total=1.0))
    assert report.notes[0].startswith("All 1 calls were answered by cassettes")
    assert facts(report)["calls"] == "1"
    assert [fact.note for fact in report.facts if fact.name == "cost"] == ["when it was recorded"]


def test_the_charts_add_up_to_the_sums(told):
    report, sums = told(*mixed())
    found = charts(report)
    calls = found["Calls by outcome"].points
    assert sum(point.value for point in calls) == 5
    assert {point.series: point.value for point in calls if point.series != "read"} == {"failed": 1, "cancelled": 1}
    live = [sum_ for sum_ in sums["day"] if not sum_.replayed]
    assert sum(point.value for point in found["Cost by day"].points) == pytest.approx(
        float(sum(s.cost_known_usd for s in live))
    )
    assert sum(point.value for point in found["Tokens by day"].points) == 2030
    assert [(point.at, point.value) for point in found["Errors by code"].points] == [("overloaded", 1)]


def test_percentiles_over_time_are_those_of_each_stretch(told):
    values = [float(number) for number in range(1, 101)]
    report, _ = told(*(row(total=value, first_chunk=value / 2) for value in values))
    latency = {point.series: point.value for point in charts(report)["Latency of a call"].points}
    assert latency == {"p50": Percentiles.of(values).p50, "p95": Percentiles.of(values).p95}


@pytest.mark.parametrize(("days", "step"), [(0.01, 60), (1, 3600), (14, 43200), (300, 7 * 86400), (9000, 224 * 86400)])
def test_a_stretch_is_long_enough_for_the_chart_to_stay_readable(tmp_path, days, step):
    store = ledger(tmp_path / "ledger.db", [row(after=-days * 86400), row()])
    chart = charts(report_of(store, "x", "1990-01-01T00:00:00.000000Z", NOW))["Calls by outcome"]
    store.close()
    assert chart.step == step
    first, last = (point.at.timestamp() for point in chart.points)
    assert (last - first) / step < 48


def test_the_ten_dearest_and_slowest_calls_are_listed_in_order(told):
    report, _ = told(*(row(usd=f"0.{number:02}", total=100.0 - number) for number in range(1, 30)), row(total=0.0))
    dearest, slowest = tables(report)["Dearest"], tables(report)["Slowest"]
    column = dearest.columns.index
    assert [line[column("cost")].text for line in dearest.rows] == [
        f"${number / 100:g}" for number in range(29, 19, -1)
    ]
    assert [line[column("latency")].text for line in slowest.rows][:2] == ["99.00 s", "98.00 s"]
    assert len(slowest.rows) == 10


def test_what_the_application_cancelled_or_abandoned_is_neither_a_success_nor_a_failure(told):
    report, _ = told(row(total=1.0), row(total=1.0, end="cancelled"), row(total=1.0, end="abandoned", after=86400))
    assert facts(report)["success"] == "100.0%"
    assert [point.value for point in charts(report)["Success"].points] == [1]


def test_a_time_in_which_all_was_cancelled_has_no_success(told):
    report, _ = told(row(total=1.0, end="cancelled"))
    assert facts(report)["success"] == "—"
    assert "Success" not in charts(report)
    page_of(report)


def test_how_many_calls_the_costs_leave_out_is_told(told):
    report, _ = told(row(usd="0.5"), row(), row())
    [section] = [one for one in report.sections if one.title == "Tokens and cost"]
    assert section.note == "Calls whose cost is unknown, or has no upper bound: 2."


def test_times_that_can_be_none_are_left_out_and_large_ones_are_short(told):
    report, _ = told(*(row(total=value, first_chunk=value) for value in (-5.0, float("inf"), 2.0, 1e308)))
    slowest = tables(report)["Slowest"]
    assert [line[slowest.columns.index("latency")].text for line in slowest.rows] == ["1e+308 s", "2.00 s"]
    assert facts(report)["latency p50 / p95"] == "2.00 s / 1e+308 s"
    page = page_of(report)
    assert not re.search(r'data-key="-?(inf|nan)', page)
    assert "inf s" not in page
    assert not re.search(r"\d{40}", page)


def test_an_empty_time_says_so(told):
    report, _ = told()
    assert report.notes == ["There are no calls in this time."]
    assert "There are no calls" in page_of(report)


def test_one_call_is_a_report(told):
    report, _ = told(row(usd="0.25", total=1.5))
    assert "$0.25" in page_of(report)
    assert charts(report)["Calls by outcome"].points[0].at == NOON


def test_a_hundred_thousand_calls_are_a_small_page_and_little_memory(tmp_path):
    names = [f"run-{number}" for number in range(2000)]
    rows = (
        row(after=-60.0 * number, usd="0.01", total=1.0 + number % 7, run=names[number % 2000])
        for number in range(100_000)
    )
    store = ledger(tmp_path / "ledger.db", rows)
    tracemalloc.start()
    try:
        report = report_of(store, "1970-01-01", "1970-01-01T00:00:00.000000Z", NOW)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        store.close()
    assert facts(report)["calls"] == "100,000"
    assert facts(report)["cost"] == "$1000"
    assert tables(report)["By run"].note == "1,900 that cost less are left out."
    assert len(page_of(report)) < 400_000
    assert most < 40_000_000
