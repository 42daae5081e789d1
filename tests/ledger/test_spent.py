"""Where a budget goes on after a restart: what the ledger says was spent."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from claudeprov.errors import StateUnavailableError
from claudeprov.ledger.outbox import Outbox
from claudeprov.ledger.spent import Spending
from claudeprov.ledger.store import store_of
from claudeprov.settings.ledger import LedgerSettings
from tests.ledger.rows import NOON, ledger, row

DAY = 86400.0


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.db"


@pytest.fixture
def spending(path):
    return Spending(LedgerSettings(path=str(path)), "")


async def test_live_calls_since_then_are_added_up(path, spending):
    ledger(
        path,
        [
            row(usd="0.1", after=-1),
            row(usd="0.2", input_tokens=10, output_tokens=5, cache_read_tokens=100, web_searches=3),
            row(usd="0.3", after=DAY, cache_write_5m_tokens=7, cache_write_1h_tokens=9, thinking_tokens=4),
            row(usd="5", replayed=True, input_tokens=1000),
        ],
    ).close()
    assert await spending(NOON, {}) == (Decimal("0.5"), 131)
    assert await spending(None, {}) == (Decimal("0.6"), 131)


async def test_calls_are_told_apart_by_run_and_by_any_tag(path, spending):
    ledger(
        path,
        [
            row(usd="1", run="r", tags={"user": "alice", "model": "x"}),
            row(usd="2", run="r", tags={"user": "bob"}),
            row(usd="4", run="s", tags={"user": "alice"}),
            row(usd="8"),
        ],
    ).close()
    assert (await spending(None, {"user": "alice"}))[0] == 5
    assert (await spending(None, {"user": None}))[0] == 8
    assert (await spending(None, {"run": "r"}))[0] == 3
    assert (await spending(None, {"user": "bob", "run": "r"}))[0] == 2
    assert (await spending(None, {"model": "x"}))[0] == 1
    assert await spending(None, {"user": "carol"}) == (0, 0)


async def test_what_broke_off_counts_with_the_most_that_it_can_have_cost(path, spending):
    ledger(path, [row(usd="1"), row(cost_low_usd=Decimal("0.1"), cost_high_usd=Decimal("0.5"))]).close()
    assert (await spending(None, {}))[0] == Decimal("1.5")


async def test_a_ledger_that_is_not_there_yet_holds_nothing(spending):
    assert await spending(None, {}) == (0, 0)


async def test_rows_that_a_killed_process_left_waiting_are_counted(path, spending):
    store, base = store_of(LedgerSettings(path=str(path)), "")
    store.make()
    left = Outbox(store, base)
    left._start = lambda: None  # its thread never comes to move the row
    from claudeprov.ledger.journal import Journal

    left._journal = Journal.create(base)
    left.put(row(usd="3"))
    left._journal.close()
    store.close()
    assert (await spending(None, {}))[0] == 3


async def test_it_is_read_once_a_period_however_many_ask(path, spending):
    store = ledger(path, [row(usd="1", tags={"user": "alice"}), row(usd="2", tags={"user": "bob"})])
    asked = [spending(NOON, {"user": user}) for user in ("alice", "bob", "carol")]
    assert [usd for usd, _ in await asyncio.gather(*asked)] == [1, 2, 0]
    store.add([row(usd="4", tags={"user": "carol"})])
    store.close()
    assert (await spending(NOON, {"user": "carol"}))[0] == 0  # by now it has an account of its own
    assert (await spending(None, {"user": "carol"}))[0] == 4


async def test_a_ledger_that_cannot_be_read_lets_no_call_through_until_it_can(path, spending):
    path.mkdir()
    for _ in range(2):
        with pytest.raises(StateUnavailableError, match="cannot be read"):
            await spending(None, {})
    path.rmdir()
    assert await spending(None, {}) == (0, 0)


async def test_a_day_and_a_month_are_read_once_each_whoever_asks(path, spending, monkeypatch):
    ledger(path, [row(usd="1", tags={"user": "alice"}), row(usd="2", after=-DAY, tags={"user": "bob"})]).close()
    month = NOON.replace(day=1, hour=0)
    read = []
    sums = spending._sums
    monkeypatch.setattr(spending, "_sums", lambda since, names: read.append(since) or sums(since, names))
    for day in (NOON.replace(hour=0), NOON.replace(day=23, hour=0)):
        for user in ("alice", "bob", "carol"):
            await spending(day, {"user": user})
            await spending(month, {"user": user})
    assert read == [NOON.replace(hour=0), month, NOON.replace(day=23, hour=0)]
    assert (await spending(month, {"user": "bob"}))[0] == 2
    assert len(spending._read[("user",)]) == 2


async def test_a_call_without_an_upper_bound_leaves_those_of_others(path, spending):
    bounds = {"cost_low_usd": Decimal("0.1"), "cost_high_usd": Decimal("0.5")}
    ledger(path, [row(**bounds), row(cost_low_usd=Decimal("0.2")), row()]).close()
    assert (await spending(None, {}))[0] == Decimal("0.7")
