"""Tables: what the numbers look like, and what stands where there are none."""

import io
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from rich.console import Console

from claudeprov.bench.result import Failure, Row, RunResult, Summary
from claudeprov.bench.table import summary_table, task_table


def printed(table) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=200, markup=False).print(table)
    return [" ".join(line.split()) for line in out.getvalue().splitlines()]


def result_of(*rows, timing="live", model="qwen", **settings) -> RunResult:
    return RunResult(
        name="one",
        suite="code",
        suite_digest="abc",
        tasks=len(rows),
        model=model,
        endpoint="compatible",
        mode="live",
        timing=timing,
        started_at=datetime(2026, 11, 22, 12, tzinfo=UTC),
        seconds=7.5,
        versions={},
        settings={"model": {"id": model, "window": len(model)}, **settings},
        summary=Summary.of(rows, timing),
        rows=rows,
    )


RIGHT = Row(
    id="a",
    kind="analysis",
    verdict="passed",
    seconds=2.0,
    first_chunk_seconds=0.25,
    input_tokens=1200,
    output_tokens=7,
    cost_usd=Decimal("0.0012"),
)
WRONG = Row(id="b", kind="generation", verdict="failed", detail="f(1) gave [2], not 3", cost_reason="no price is known")
FAILED = Row(id="c", kind="analysis", failure=Failure(kind="RateLimitError", code="rate_limited", message="slow down"))


def test_a_task_has_its_verdict_or_the_code_of_its_failure():
    assert printed(task_table([RIGHT, WRONG, FAILED])) == [
        "task verdict tokens why",
        "a passed 7",
        "b failed — f(1) gave [2], not 3",
        "c rate_limited —",
    ]


@pytest.mark.parametrize(("high", "most"), [(Decimal("0.5"), "$0.501200"), (None, "more")])
def test_what_broke_off_makes_the_cost_an_interval(high, most):
    broken = Row(id="d", kind="analysis", cost_low_usd=Decimal("0.1"), cost_high_usd=high, cost_reason="it broke off")
    assert f"cost $0.101200 to {most}, for 1 broke off" in printed(summary_table([result_of(RIGHT, broken)]))
    assert f"cost $0.100000 to {most.replace('12', '00')}" in str(printed(summary_table([result_of(broken)])))


def test_one_run_is_shown_number_by_number():
    assert printed(summary_table([result_of(RIGHT, WRONG, FAILED)])) == [
        "passed 1/2 (50%)",
        "analysis 1/1 (100%)",
        "generation 0/1 (0%)",
        "latency p50/p95/p99 2.00 / 2.00 / 2.00 s",
        "first chunk p50/p95 0.25 / 0.25 s",
        "tokens in/out 1,200 / 7",
        "cost $0.001200, and 1 unknown: no price is known",
        "errors rate_limited 1",
    ]


def test_what_is_unknown_is_no_number():
    lines = printed(summary_table([result_of(FAILED)]))
    assert lines[0] == "passed —"
    assert lines[2:6] == ["latency p50/p95/p99 —", "first chunk p50/p95 —", "tokens in/out — / —", "cost —"]
    assert "cost unknown: no price is known" in printed(summary_table([result_of(WRONG)]))


def test_times_of_a_replay_say_what_they_are():
    assert "latency p50/p95/p99 — (replayed at once)" in printed(summary_table([result_of(RIGHT, timing="replayed")]))
    recorded = printed(summary_table([result_of(RIGHT, timing="recorded")]))
    assert "latency p50/p95/p99 2.00 / 2.00 / 2.00 s (as recorded)" in recorded


def test_several_runs_have_a_line_each_named_by_what_they_differ_in():
    lines = printed(
        summary_table(
            [
                result_of(RIGHT, retry={"max_attempts": 1, "cap": 8}),
                result_of(WRONG, model="smollm2", retry={"max_attempts": 4, "cap": 8}),
            ]
        )
    )
    assert lines[1].startswith("qwen retry.max_attempts=1 1/1 (100%)")
    assert lines[2].startswith("smollm2 retry.max_attempts=4 0/1 (0%)")


def test_runs_of_one_model_are_named_by_its_changed_settings_too():
    lines = printed(summary_table([result_of(RIGHT, pricing={"input": "1"}), result_of(RIGHT, pricing={"input": "2"})]))
    assert [line.split()[1] for line in lines[1:]] == ["pricing.input=1", "pricing.input=2"]
