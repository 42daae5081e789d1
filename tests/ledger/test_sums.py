from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from claudeprov.ledger.row import MOST
from claudeprov.ledger.sums import _parts, _query, since_text, sums_of, together
from tests.ledger.rows import NOON, ledger, row

DAY = 86400.0
HAIKU, SONNET = "claude-haiku-4-5-20251001", "claude-sonnet-4-5-20250929"


@pytest.fixture
def store_of_rows(tmp_path):
    stores = []

    def make(*rows):
        stores.append(ledger(tmp_path / f"{len(stores)}.db", rows))
        return stores[-1]

    yield make
    for store in stores:
        store.close()


def groups(store, *by, **more):
    return [(*sum_.group, sum_.calls) for sum_ in sums_of(store, by, **more)]


def test_calls_are_added_up_by_model_the_dearest_first(store_of_rows):
    store = store_of_rows(
        row(served=HAIKU, usd="0.1", input_tokens=10, output_tokens=1),
        row(served=SONNET, usd="0.3", input_tokens=20, cache_read_tokens=5, web_searches=1),
        row(served=HAIKU, usd="0.1", cache_write_5m_tokens=7, cache_write_1h_tokens=9, error="overloaded"),
    )
    sonnet, haiku = sums_of(store, ["model"])
    assert (sonnet.group, sonnet.calls, sonnet.failed, sonnet.cost_usd) == ((SONNET,), 1, 0, Decimal("0.3"))
    assert (sonnet.input_tokens, sonnet.cache_read_tokens, sonnet.web_searches) == (20, 5, 1)
    assert (haiku.group, haiku.calls, haiku.failed, haiku.cost_usd) == ((HAIKU,), 2, 1, Decimal("0.2"))
    assert (haiku.input_tokens, haiku.output_tokens, haiku.cache_read_tokens) == (10, 1, 0)
    assert (haiku.cache_write_5m_tokens, haiku.cache_write_1h_tokens) == (7, 9)


def test_calls_are_grouped_by_whatever_is_known_of_them(store_of_rows):
    store = store_of_rows(
        row(run="one", suite="code", task="a", usd="3"),
        row(run="one", suite="code", task="b", usd="2", after=DAY, error="overloaded"),
        row(run="two", served=None, model=HAIKU, after=DAY, endpoint="bedrock", error="connection_failed"),
    )
    assert groups(store) == [(3,)]
    assert groups(store, "day") == [("2026-11-22", 1), ("2026-11-23", 2)]
    assert groups(store, "run") == [("one", 2), ("two", 1)]
    assert groups(store, "suite") == [("code", 2), (None, 1)]
    assert groups(store, "task") == [("a", 1), ("b", 1), (None, 1)]
    assert groups(store, "endpoint") == [("anthropic", 2), ("bedrock", 1)]
    assert groups(store, "error") == [(None, 1), ("overloaded", 1), ("connection_failed", 1)]
    assert groups(store, "model") == [(SONNET, 2), (HAIKU, 1)]
    assert groups(store, "run", "day") == [("one", "2026-11-22", 1), ("one", "2026-11-23", 1), ("two", "2026-11-23", 1)]


def test_the_model_that_was_asked_for_is_a_key_of_its_own(store_of_rows):
    store = store_of_rows(row(model="sonnet", served=SONNET))
    assert groups(store, "asked", "model") == [("sonnet", SONNET, 1)]


def test_a_call_counts_for_each_of_its_tags(store_of_rows):
    store = store_of_rows(
        row(tags={"team": "red", "user": "a"}, usd="1"), row(tags={"user": "a", "team": "blue"}, usd="2"), row()
    )
    assert groups(store, "tag") == [("user=a", 2), ("team=blue", 1), ("team=red", 1), (None, 1)]
    assert groups(store, "tag:team") == [("blue", 1), ("red", 1), (None, 1)]
    assert [sum_.cost_usd for sum_ in sums_of(store, ["tag:user"])][:1] == [Decimal(3)]


def test_only_calls_from_a_moment_on_are_added(store_of_rows):
    store = store_of_rows(row(after=-1), row(after=0), row(after=1))
    assert groups(store, since=since_text("2026-11-22T12:00:00", NOON)) == [(2,)]


def test_counts_at_their_most_can_be_added(store_of_rows):
    store = store_of_rows(*(row(input_tokens=MOST) for _ in range(1000)))
    assert sums_of(store)[0].input_tokens == 1000 * MOST


@pytest.mark.parametrize("by", [[], ["model"], ["asked"], ["run"], ["model", "run"], ["tag"], ["tag:team"]], ids=str)
def test_sums_by_these_keys_are_made_in_the_order_of_an_index(store_of_rows, by):
    store = store_of_rows(row())
    query = _query(_parts(by, "sqlite").values(), None).compile(store.engine, compile_kwargs={"literal_binds": True})
    with store.connect() as connection:
        (plan,) = [step.detail for step in connection.execute(text(f"EXPLAIN QUERY PLAN {query}"))]
    assert "USING COVERING INDEX" in plan


def test_an_interval_stays_one_in_the_sum(store_of_rows):
    store = store_of_rows(
        row(usd="0.1"), row(cost_low_usd=Decimal("0.2"), cost_high_usd=Decimal("0.5"), cost_reason="it broke off")
    )
    (sum_,) = sums_of(store)
    assert (sum_.cost_low_usd, sum_.cost_high_usd) == (Decimal("0.3"), Decimal("0.6"))
    assert (sum_.cost_usd, sum_.cost_interval, sum_.cost_unknown) == (None, 1, 0)


def test_an_unknown_price_is_counted_and_never_zero(store_of_rows):
    store = store_of_rows(row(usd="0.1"), row(cost_reason="no price is known"))
    (sum_,) = sums_of(store)
    assert (sum_.cost_usd, sum_.cost_low_usd, sum_.cost_high_usd) == (None, Decimal("0.1"), None)
    assert (sum_.cost_interval, sum_.cost_unknown) == (0, 1)


def test_what_was_replayed_is_never_added_to_what_was_paid(store_of_rows):
    store = store_of_rows(row(usd="1"), row(usd="2", replayed=True))
    live, replayed = sums_of(store, ["model"])
    assert (live.replayed, live.cost_usd) == (False, Decimal(1))
    assert (replayed.replayed, replayed.cost_usd) == (True, Decimal(2))
    assert [sum_.cost_usd for sum_ in together([live, replayed])] == [Decimal(1), Decimal(2)]


def test_sums_are_exact_where_floats_and_columns_are_not(store_of_rows):
    store = store_of_rows(
        *(row(usd="9000.000000000000001") for _ in range(2000)), row(usd="0.000000000000001"), row(usd="0.1")
    )
    (sum_,) = sums_of(store)
    assert sum_.cost_usd == Decimal("18000000.100000000002001")


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 10**18)), min_size=1, max_size=20))
def test_sums_of_groups_together_are_the_sum_of_all(tmp_path_factory, calls):
    amounts = [(run, Decimal(number).scaleb(-15)) for run, number in calls]
    store = ledger(tmp_path_factory.mktemp("sums") / "ledger.db", [row(run=run, usd=str(usd)) for run, usd in amounts])
    by_run = sums_of(store, ["run"])
    store.close()
    for sum_ in by_run:
        assert sum_.cost_usd == sum(usd for run, usd in amounts if run == sum_.group[0])
    (total,) = together(by_run)
    assert total.cost_usd == total.cost_high_usd == sum(usd for _, usd in amounts)
    assert total.calls == len(calls)


def test_bounds_stay_bounds_when_groups_are_added(store_of_rows):
    store = store_of_rows(row(run="a", usd="1"), row(run="b", cost_reason="no price is known"))
    (total,) = together(sums_of(store, ["run"]))
    assert (total.cost_usd, total.cost_low_usd, total.cost_high_usd) == (None, Decimal(1), None)
    assert together([]) == []


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T08:30:00+02:00", datetime(2026, 11, 1, 8, 30, tzinfo=timezone(timedelta(hours=2)))),
        ("7d", NOON - timedelta(days=7)),
        ("12h", NOON - timedelta(hours=12)),
        ("30m", NOON - timedelta(minutes=30)),
        ("2w", NOON - timedelta(weeks=2)),
    ],
)
def test_a_moment_is_a_date_a_time_or_how_long_ago(text, moment):
    assert datetime.fromisoformat(since_text(text, NOON)) == moment


@pytest.mark.parametrize("text", ["yesterday", "7", "7y", ""])
def test_what_is_no_moment_is_refused(text):
    with pytest.raises(ValueError, match=r".*"):
        since_text(text, NOON)
