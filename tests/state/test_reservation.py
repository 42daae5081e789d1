"""A budget's accounts, with neither event loop nor network: what is set aside, what is spent, and when they end."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claudeprov.errors import BudgetExceededError
from claudeprov.state import Ask
from claudeprov.state.reservation import MemoryReservations
from claudeprov.testing import ManualClock
from claudeprov.testing.clock import settle

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
MIDNIGHT = datetime(2026, 11, 23, tzinfo=UTC)


def ask(amount, *, unit="usd", limit="1", ends=MIDNIGHT, account=None, opening=None, tag=None):
    return Ask(
        account=account or f"budget.day.{unit} {ends}",
        setting=f"budget.day.{unit}",
        tag=tag,
        period="day",
        unit=unit,
        limit=Decimal(limit),
        amount=Decimal(amount),
        ends=ends,
        opening=opening,
    )


@pytest.fixture
def clock():
    return ManualClock(NOON)


@pytest.fixture
def accounts(clock):
    return MemoryReservations(clock)


@pytest.fixture
def told():
    return []


@pytest.fixture
def take(accounts, told):
    return lambda *asks: accounts.take(asks, lambda ask, before, after: told.append((ask.unit, before, after)))


def test_what_is_set_aside_is_not_there_for_others_until_it_is_settled(take):
    first = take(ask("0.7"))
    with pytest.raises(BudgetExceededError):
        take(ask("0.4"))
    first.settle(Decimal("0.1"), 0)
    take(ask("0.9"))


def test_the_last_cent_may_be_spent_and_no_more(take):
    take(ask("0.999999999")).settle(Decimal("0.999999999"), 0)
    take(ask("0.000000001"))
    with pytest.raises(BudgetExceededError):
        take(ask("0.000000000000000001"))


def test_an_ask_that_one_limit_refuses_takes_nothing_of_the_others(accounts, take):
    few, many = ask("0.1"), ask("500", unit="tokens", limit="400")
    with pytest.raises(BudgetExceededError) as raised:
        take(few, many)
    assert raised.value.context["setting"] == "budget.day.tokens"
    assert accounts.account(few).reserved == accounts.account(many).reserved == 0


def test_a_refusal_names_the_limit_the_spent_the_reserved_and_the_asked(take):
    take(ask("0.25", tag="user=alice")).settle(Decimal("0.20"), 0)
    take(ask("0.5", tag="user=alice"))
    with pytest.raises(BudgetExceededError) as raised:
        take(ask("0.4", tag="user=alice"))
    assert raised.value.message == (
        "budget.day.usd is 1 USD for user=alice, of which 0.2 USD are spent and 0.5 USD set aside for calls under way; "
        "this one can cost 0.4 USD; it begins anew at 2026-11-23T00:00:00Z"
    )
    assert raised.value.context == {
        "setting": "budget.day.usd",
        "tag": "user=alice",
        "period": "day",
        "unit": "usd",
        "limit": Decimal(1),
        "spent": Decimal("0.20"),
        "reserved": Decimal("0.5"),
        "asked": Decimal("0.4"),
        "resets_at": "2026-11-23T00:00:00+00:00",
    }


def test_it_is_retryable_only_where_calls_under_way_stand_in_the_way(take):
    held = take(ask("0.8"))
    with pytest.raises(BudgetExceededError) as raised:
        take(ask("0.5"))
    assert raised.value.retryable
    held.settle(Decimal("0.8"), 0)
    with pytest.raises(BudgetExceededError) as raised:
        take(ask("0.5"))
    assert not raised.value.retryable


def test_each_unit_is_settled_with_its_own_figure(accounts, take, told):
    usd, tokens = ask("0.5"), ask("1000", unit="tokens", limit="5000")
    take(usd, tokens).settle(Decimal("0.123"), 456)
    assert (accounts.account(usd).spent, accounts.account(tokens).spent) == (Decimal("0.123"), 456)
    assert told == [("usd", 0, Decimal("0.123")), ("tokens", 0, 456)]


def test_what_costs_more_than_was_set_aside_is_spent_all_the_same(accounts, take):
    take(ask("0.9")).settle(Decimal("1.5"), 0)
    assert accounts.account(ask("0")).spent == Decimal("1.5")
    with pytest.raises(BudgetExceededError):
        take(ask("0"))


def test_settling_twice_counts_once(accounts, take):
    reservation = take(ask("0.5"))
    reservation.settle(Decimal("0.3"), 0)
    reservation.settle(Decimal("0.3"), 0)
    assert accounts.account(ask("0")).spent == Decimal("0.3")
    assert accounts.account(ask("0")).reserved == 0


async def test_a_call_over_midnight_is_settled_in_the_day_in_which_it_was_reserved(clock, accounts, take):
    yesterday, today = ask("0.6"), ask("0.6", ends=MIDNIGHT + timedelta(days=1))
    late = take(yesterday)
    await clock.advance(13 * 3600)
    take(today)
    late.settle(Decimal("0.6"), 0)
    assert (accounts.account(yesterday).spent, accounts.account(today).spent) == (Decimal("0.6"), 0)
    with pytest.raises(BudgetExceededError):
        take(replace(today, amount=Decimal("0.5")))


async def test_a_clock_that_is_set_back_over_midnight_opens_no_day_anew(clock, take):
    take(ask("1")).settle(Decimal(1), 0)
    await clock.advance(13 * 3600)
    take(ask("1", ends=MIDNIGHT + timedelta(days=1)))
    with pytest.raises(BudgetExceededError):
        take(ask("0.1"))


async def test_days_that_are_long_over_are_forgotten_and_runs_are_not(clock, accounts, take):
    run = ask("0.5", ends=None)
    take(ask("0.5"), run).settle(Decimal("0.5"), 0)
    await clock.advance(3 * 24 * 3600)
    take(ask("0.5", ends=MIDNIGHT + timedelta(days=3)))
    assert set(accounts._accounts) == {None, MIDNIGHT + timedelta(days=3)}
    assert accounts.account(run).spent == Decimal("0.5")


class TestWhatWasSpentBefore:
    async def test_a_new_account_begins_with_it(self, accounts):
        async def opening():
            return Decimal("0.95")

        with pytest.raises(BudgetExceededError) as raised:
            await accounts.reserve([ask("0.1", opening=opening)], lambda *_: None)
        assert raised.value.context["spent"] == Decimal("0.95")

    async def test_it_is_asked_for_once_however_many_calls_come_at_once(self, accounts):
        gate, asked = asyncio.Event(), []

        async def opening():
            asked.append(1)
            await gate.wait()
            return Decimal("0.5")

        def reserve():
            return accounts.reserve([ask("0.2", opening=opening)], lambda *_: None)

        early = [asyncio.ensure_future(reserve()) for _ in range(5)]
        await settle()
        gate.set()
        results = await asyncio.gather(*early, return_exceptions=True)
        assert [type(result).__name__ for result in results] == 2 * ["MemoryReservation"] + 3 * ["BudgetExceededError"]
        results[0].settle(Decimal("0.1"), 0)
        assert accounts.account(ask("0")).spent == Decimal("0.6")
        await reserve()
        assert len(asked) == 5  # those that came while it was not known yet


AMOUNTS = st.decimals(min_value=0, max_value=2, places=15)
STEP = st.one_of(
    st.tuples(
        st.just("reserve"), st.lists(st.tuples(st.integers(0, 3), AMOUNTS), min_size=1, unique_by=lambda a: a[0])
    ),
    st.tuples(st.just("settle"), st.tuples(st.integers(0, 50), st.fractions(0, 1, max_denominator=7))),
    st.tuples(st.just("cancel"), st.tuples(st.integers(0, 50), st.just(0))),
    st.tuples(st.just("pass"), st.integers(1, 100_000)),
)


@given(st.lists(STEP, max_size=40))
def test_no_order_of_reserving_settling_cancelling_and_midnights_breaks_a_limit(steps):
    clock = ManualClock(NOON)
    accounts = MemoryReservations(clock)
    held, spent, reserved = [], defaultdict(Fraction), defaultdict(Fraction)
    limit = Fraction(3)

    def of(number, amount):
        """A day's account, of which there are three, or one that no day ends."""
        day = clock.now().replace(hour=0, minute=0, second=0) + timedelta(days=1)
        ends = None if number == 0 else day
        return ask(amount, limit="3", ends=ends, account=f"{number} {ends}")

    for kind, what in steps:
        if kind == "pass":
            asyncio.run(clock.advance(what))
        elif kind == "reserve":
            asks = [of(number, amount) for number, amount in what]
            fits = all(spent[one.account] + reserved[one.account] + Fraction(one.amount) <= limit for one in asks)
            try:
                reservation = accounts.take(asks, lambda *_: None)
            except BudgetExceededError:
                assert not fits
                continue
            assert fits
            held.append((reservation, asks))
            for one in asks:
                reserved[one.account] += Fraction(one.amount)
        elif held:
            place, share = what
            reservation, asks = held.pop(place % len(held))
            least = min(one.amount for one in asks)
            cost = (least * share.numerator / share.denominator).quantize(Decimal("1e-15")) if share else Decimal(0)
            cost = min(cost, least)
            reservation.settle(cost, 0)
            for one in asks:
                reserved[one.account] -= Fraction(one.amount)
                spent[one.account] += Fraction(cost)
        for account in {*spent, *reserved}:
            assert spent[account] + reserved[account] <= limit
        for known in accounts._accounts.values():
            for name, account in known.items():
                assert Fraction(account.spent) == spent[name]
                assert Fraction(account.reserved) == reserved[name]
