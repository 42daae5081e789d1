"""Results: the numbers are those worked out by hand, and the file gives back what was written."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from claudeprov.bench.result import Failure, Percentiles, Row, RunResult, Score, Summary, new_folder, save
from claudeprov.errors import ConfigurationError

LIMITED = Failure(kind="RateLimitError", code="rate_limited", message="slow down")


def row(number: int, **facts) -> Row:
    return Row(id=f"task-{number}", **{"kind": "analysis", **facts})


TABLE = [
    row(1, kind="generation", verdict="passed", seconds=4.0, first_chunk_seconds=0.4, input_tokens=10, output_tokens=7),
    row(2, kind="generation", verdict="error", seconds=1.0, first_chunk_seconds=0.1, input_tokens=20, output_tokens=8),
    row(3, verdict="passed", seconds=2.0, first_chunk_seconds=0.3, input_tokens=30, cost_usd=Decimal("0.1")),
    row(4, verdict="passed", seconds=3.0, cost_usd=Decimal("0.2")),
    row(5, failure=LIMITED, seconds=99.0, cost_usd=Decimal("0.000000001")),
    row(6, failure=LIMITED),
]
TABLE[1] = TABLE[1].model_copy(update={"cost_reason": "no price is known"})


def result_of(rows, **facts) -> RunResult:
    base = {
        "name": "one",
        "suite": "code",
        "suite_digest": "abc",
        "tasks": 6,
        "model": "qwen",
        "endpoint": "compatible",
        "mode": "live",
        "timing": "live",
        "started_at": datetime(2026, 11, 22, 12, tzinfo=UTC),
        "seconds": 7.5,
        "versions": {"python": "3.11.7"},
        "settings": {"model": {"id": "qwen"}, "concurrency": 4},
        "summary": Summary.of(rows, facts.get("timing", "live")),
        "rows": tuple(rows),
    }
    return RunResult(**base | facts)


def test_the_numbers_over_all_rows():
    assert Summary.of(TABLE, "live") == Summary(
        score=Score(graded=4, passed=3),
        by_kind={"analysis": Score(graded=2, passed=2), "generation": Score(graded=2, passed=1)},
        verdicts={"passed": 3, "error": 1},
        failures={"rate_limited": 2},
        latency_seconds=Percentiles(p50=2.0, p95=4.0, p99=4.0),
        first_chunk_seconds=Percentiles(p50=0.3, p95=0.4, p99=0.4),
        input_tokens=60,
        output_tokens=15,
        cost_usd=Decimal("0.300000001"),
        cost_unknown=1,
        cost_reason="no price is known",
    )


@pytest.mark.parametrize(("high", "most"), [(Decimal("0.5"), Decimal("0.800000001")), (None, None)])
def test_answers_that_broke_off_are_an_interval_beside_the_exact_sum(high, most):
    broken = row(7, failure=LIMITED, cost_low_usd=Decimal("0.1"), cost_high_usd=high, cost_reason="it broke off")
    summary = Summary.of([*TABLE, broken], "live")
    assert (summary.cost_usd, summary.cost_intervals, summary.cost_unknown) == (Decimal("0.300000001"), 1, 1)
    assert (summary.cost_low_usd, summary.cost_high_usd) == (Decimal("0.400000001"), most)


def test_a_run_of_failures_has_no_rate_and_nothing_is_zero_that_is_unknown():
    summary = Summary.of([row(1, failure=LIMITED)], "live")
    assert summary.score.rate is None
    assert (summary.latency_seconds, summary.input_tokens, summary.cost_usd) == (None, None, None)


def test_the_pass_rate_is_of_graded_answers():
    assert Summary.of(TABLE, "live").score.rate == 0.75


def test_a_replay_at_once_has_no_latency_and_one_at_the_recorded_pace_has():
    assert Summary.of(TABLE, "replayed").latency_seconds is None
    assert Summary.of(TABLE, "replayed").first_chunk_seconds is None
    assert Summary.of(TABLE, "recorded").latency_seconds == Percentiles(p50=2.0, p95=4.0, p99=4.0)


@pytest.mark.parametrize(
    ("values", "p50", "p95", "p99"),
    [([7], 7, 7, 7), ([2, 1], 1, 2, 2), (range(1, 101), 50, 95, 99), (range(1, 21), 10, 19, 20)],
)
def test_percentiles_are_by_nearest_rank(values, p50, p95, p99):
    assert Percentiles.of(values) == Percentiles(p50=p50, p95=p95, p99=p99)


def test_a_result_file_gives_back_what_was_written(tmp_path):
    result = result_of(TABLE)
    file = save(result, tmp_path)
    assert RunResult.model_validate_json(file.read_bytes()) == result
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_money_in_a_result_file_is_exact(tmp_path):
    summary = json.loads(save(result_of(TABLE), tmp_path).read_bytes())["summary"]
    assert summary["cost_usd"] == "0.300000001"


def test_a_folder_that_is_taken_gets_a_number(tmp_path):
    with new_folder(tmp_path / "runs", "one") as one, new_folder(tmp_path / "runs", "one") as other:
        assert (one.name, other.name) == ("one", "one-2")


def test_a_folder_is_removed_if_nothing_was_put_into_it(tmp_path):
    with pytest.raises(KeyError), new_folder(tmp_path, "empty"):
        raise KeyError
    with new_folder(tmp_path, "full") as full:
        (full / "result.json").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_a_folder_that_cannot_be_made_is_a_matter_of_configuration(tmp_path):
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(ConfigurationError, match="runs_dir"), new_folder(tmp_path / "runs", "one"):
        pass
    with pytest.raises(ConfigurationError, match="run_name"), new_folder(tmp_path / "others", "no/such"):
        pass
