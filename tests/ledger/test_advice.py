"""What is advised of rows made by hand: each time with the sum, the estimate and how it was made."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from decimal import Decimal

import pytest

from claudeprov.bench.result import Row as TaskRow
from claudeprov.bench.result import RunResult, Summary
from claudeprov.catalog import catalog
from claudeprov.ledger.advice import MOST, READ, Evidence, advise
from claudeprov.ledger.recorded import Recorded
from claudeprov.pricing import PriceBook, Prices
from tests.ledger.rows import NOON, row

HAIKU, SONNET, OPUS = "claude-haiku-4-5-20251001", "claude-sonnet-4-5-20250929", "claude-opus-4-5-20251101"
TOMORROW = NOON + timedelta(days=1)


def advice(*rows, subject, **more):
    evidence = Evidence(rows, more.pop("prices", PriceBook()), more.pop("now", TOMORROW), **more)
    return [one for one in advise(evidence) if one.subject == subject]


def test_prompts_that_begin_alike_and_were_not_cached():
    rows = [
        row(after=60.0 * n, input_tokens=2000, first_chunk=1.0, prefixes=f"sys:1500 all{n}:2000") for n in range(10)
    ]
    (one,) = advice(*rows, subject="caching", recorded=Recorded({"sys": "'Be brief.' (cassettes/a.yaml)"}))
    assert (one.calls, one.sum_usd) == (10, Decimal("0.06"))
    assert one.saving_usd == Decimal("0.06") - Decimal("0.024675")
    assert (
        f"10 prompts to {SONNET} begin with the same 1,500 tokens or more, 'Be brief.' (cassettes/a.yaml)" in one.text
    )
    assert "caching=auto" in one.text
    assert "through a cache of 5m" in one.estimate


def test_advice_looks_at_no_field_that_is_not_read():
    given = row(usd="1", run="a", prefixes="a:9", max_tokens=9, **dict.fromkeys(("input_tokens", "output_tokens"), 9))

    class Told:
        """A row that has nothing but what is read."""

        def __getattr__(self, name):
            derived = ("started_at", "cache_write_tokens", "prompt_tokens")
            assert name in READ or name in derived
            return getattr(given, name)

    assert advise(Evidence([Told(), Told()], PriceBook(), TOMORROW)) == advise(
        Evidence([given, given], PriceBook(), TOMORROW)
    )


def test_a_discount_of_ones_own_is_in_the_estimate():
    rows = [row(after=60.0 * n, input_tokens=2000, first_chunk=1.0, prefixes="sys:2000") for n in range(10)]
    (full,) = advice(*rows, subject="caching")
    half = PriceBook(Prices(multiplier=Decimal("0.5")), catalog().find(HAIKU))
    (less,) = advice(*rows, subject="caching", prices=half)
    assert (less.sum_usd, less.saving_usd) == (full.sum_usd / 2, full.saving_usd / 2)


def test_a_long_prompt_is_estimated_at_the_price_of_its_tier():
    rows = [
        row(after=60.0 * n, served="claude-haiku-5-5", input_tokens=200_000, first_chunk=1.0, prefixes="sys:2000")
        for n in range(10)
    ]
    (one,) = advice(*rows, subject="caching")
    prices = PriceBook().of("claude-haiku-5-5")
    assert one.sum_usd == 2 * prices.tiers[-1].input != 2 * prices.input


def test_at_most_so_many_of_a_kind_are_told_the_largest_first():
    rows = [
        row(after=60.0 * n, input_tokens=2000 + group, first_chunk=1.0, prefixes=f"sys{group}:2000")
        for n in range(3)
        for group in range(MOST + 3)
    ]
    found = advice(*rows, subject="caching")
    assert len(found) == MOST
    assert [one.saving_usd for one in found] == sorted((one.saving_usd for one in found), reverse=True)


def test_writes_that_nobody_read():
    (one,) = advice(row(cache_write_5m_tokens=1_000_000, prefixes="a:9"), subject="cache_writes")
    assert (one.calls, one.sum_usd, one.saving_usd) == (1, Decimal("3.75"), Decimal("0.75"))
    assert "1,000,000 tokens were written into the cache" in one.text
    assert "told by hashes" in one.estimate


def test_work_that_could_go_through_batches():
    rows = [
        row(run="a", usd="0.40"),
        row(run="b", usd="0.62", web_searches=2),  # searches cost the same in a batch
        row(run="b", usd="9", service_tier="batch"),
        row(run="b", usd="9", speed="fast"),
        row(run="b", usd="9", error="truncated"),
        row(usd="9"),  # of no run: somebody waits for it
    ]
    (one,) = advice(*rows, subject="batches")
    assert (one.calls, one.sum_usd, one.saving_usd) == (2, Decimal("1.02"), Decimal("0.50"))
    assert f"2 calls to {SONNET} in 2 runs" in one.text
    assert "0.5 of their price" in one.estimate
    assert "all calls of a run count as work that can wait" in one.estimate


@pytest.mark.parametrize("model", ["qwen", "never-heard-of"])
def test_a_model_without_batches_is_not_sent_there(model):
    assert advice(row(run="a", usd="1", served=model), subject="batches") == []


def test_max_tokens_far_over_need():
    rows = [row(max_tokens=4096, output_tokens=100 + n, stop_reason="end_turn") for n in range(20)]
    (one,) = advice(*rows, subject="max_tokens")
    assert (one.calls, one.saving_usd) == (20, 0)
    assert one.sum_usd == sum(100 + n for n in range(20)) * Decimal(15) / 1_000_000
    assert "max_tokens=4,096" in one.text
    assert "the longest of 20 answers had 119 tokens; 238 would leave as much again" in one.text
    assert "only tokens that are produced are billed; but a budget set aside $1.23" in one.estimate


@pytest.mark.parametrize(
    "rows",
    [
        [row(max_tokens=4096, output_tokens=100)] * 19,
        [*[row(max_tokens=4096, output_tokens=100)] * 20, row(max_tokens=4096, output_tokens=1500)],
    ],
    ids=["too few answers", "one is long"],
)
def test_max_tokens_that_may_be_needed_are_left_alone(rows):
    assert advice(*rows, subject="max_tokens") == []


def test_retries_that_were_paid_for():
    rows = [
        row(usd="1", retried_low_usd=Decimal("0.2"), retried_high_usd=Decimal("0.3")),
        row(usd="1", retried_low_usd=Decimal("0.1"), retried_high_usd=Decimal("0.1")),
        row(usd="1", attempts=3),  # refused attempts cost nothing
    ]
    (one,) = advice(*rows, subject="retries")
    assert (one.calls, one.sum_usd, one.saving_usd) == (2, Decimal("0.3"), Decimal("0.3"))
    assert "cost $0.3000 to $0.4000" in one.text


def result(model, passed, usd, *, tasks="abcde", days=0, digest="1", interrupted=False):
    rows = tuple(
        TaskRow(
            id=name,
            kind="analysis",
            verdict="passed" if place < passed else "failed",
            cost_usd=None if usd is None else Decimal(usd) / len(tasks),
        )
        for place, name in enumerate(tasks)
    )
    return RunResult(
        name="a",
        suite="code",
        suite_digest=digest,
        tasks=len(tasks),
        model=model,
        endpoint="anthropic",
        mode="live",
        timing="live",
        started_at=NOON + timedelta(days=days),
        seconds=1.0,
        interrupted=interrupted,
        versions={},
        settings={},
        summary=Summary.of(rows, "live"),
        rows=rows,
    )


def test_a_model_that_a_cheaper_one_matched_on_the_same_suite():
    rows = [row(suite="code", served=OPUS, usd="2"), row(suite="code", served=OPUS, usd="1"), row(served=OPUS, usd="9")]
    results = [result(OPUS, 4, "0.5"), result(SONNET, 4, "0.2"), result(HAIKU, 5, "0.1"), result("qwen", 1, "0.001")]
    (one,) = advice(*rows, subject="model", results=results)
    assert (one.calls, one.sum_usd, one.saving_usd) == (2, Decimal(3), Decimal("2.4"))
    assert f"{HAIKU} passed 5 of 5 tasks of the suite code, {OPUS} 4, at $0.1000 against $0.5000 a run" in one.text
    assert "the ratio of the two runs; 5 tasks tell little of others" in one.estimate


@pytest.mark.parametrize(
    "other",
    [
        result(HAIKU, 3, "0.1"),
        result(HAIKU, 5, "0.5"),
        result(HAIKU, 5, None),
        result(HAIKU, 5, "0.1", tasks="abcdef"),
        result(HAIKU, 5, "0.1", digest="2"),
        result(HAIKU, 5, "0.1", interrupted=True),
    ],
    ids=["passed fewer", "as dear", "price unknown", "other tasks", "another suite", "interrupted"],
)
def test_runs_that_prove_nothing_are_no_reason_to_change_the_model(other):
    results = [result(OPUS, 4, "0.5"), other]
    assert advice(row(suite="code", served=OPUS, usd="2"), subject="model", results=results) == []


def test_the_latest_run_of_a_model_counts():
    results = [result(OPUS, 4, "0.5"), result(HAIKU, 5, "0.1"), result(HAIKU, 2, "0.1", days=1)]
    assert advice(row(suite="code", served=OPUS, usd="2"), subject="model", results=results) == []


def test_a_model_about_to_retire_with_what_its_successor_would_cost():
    (one,) = advice(
        row(served="claude-opus-4-1-20250805", usd="90", input_tokens=1_000_000, output_tokens=1_000_000),
        row(served="claude-opus-5-5", usd="1"),
        subject="retirement",
        recorded=Recorded(models=Counter({"claude-opus-4-1": 3, "claude-opus-5-5": 1})),
    )
    assert one.text.startswith("claude-opus-4-1-20250805 ")
    assert one.text.endswith("; 3 exchanges in cassettes are of it")
    assert (one.calls, one.sum_usd) == (1, Decimal(90))
    assert one.saving_usd is not None
    assert "the same tokens at the prices of claude-" in one.estimate


def test_a_recording_of_a_retired_model_is_told_without_a_call():
    (one,) = advice(subject="retirement", recorded=Recorded(models=Counter({"claude-3-opus-20240229": 2})))
    assert (one.calls, one.sum_usd) == (0, 0)
    assert "is retired" in one.text


def test_a_model_that_stays_is_not_spoken_of():
    assert advice(row(served="claude-opus-5-5", usd="1"), row(served="qwen"), subject="retirement") == []


def test_nothing_is_advised_of_nothing():
    assert advise(Evidence((), PriceBook(), TOMORROW)) == []


def test_advice_is_told_with_its_sum_and_its_estimate():
    (one,) = advice(row(run="a", usd="1234.5"), subject="batches")
    assert str(one).splitlines()[1] == (
        "  saves about $617.25 of $1,234.50 in 1 calls: tokens at 0.5 of their price; all calls of a run count as work "
        "that can wait"
    )


class Unpriced(PriceBook):
    """Knows no price of any model."""

    def of(self, model):
        return Prices(reason="no price is known")


def test_a_saving_is_unknown_where_the_successors_price_is():
    (one,) = advice(row(served="claude-opus-4-1", usd="1", input_tokens=5), subject="retirement", prices=Unpriced())
    assert (one.saving_usd, one.estimate) == (None, "the successor's price is unknown")
    assert "saving unknown of $1.00" in str(one)
