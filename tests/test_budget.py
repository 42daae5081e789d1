"""Which limits concern a call, and over which time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from pydantic import ValidationError

from claudeprov.budget import Limit, limits_of
from claudeprov.compose import compose
from claudeprov.errors import ConfigurationError
from claudeprov.settings.budget import BudgetSettings

NOW = datetime(2026, 12, 31, 23, 30, tzinfo=UTC)


def ask(limit, tags=None, now=NOW, spent=None):
    return limit.ask(tags or {}, Decimal(1), now=now, run="this process", spent=spent)


def limit(period, tag=None):
    return Limit(f"budget.{period}.usd", tag, period, "usd", Decimal(10))


def test_only_limits_that_are_configured_are_there():
    settings = BudgetSettings(
        day={"usd": "2.50"}, month={"usd": 20, "tokens": 1000}, call={"usd": 1}, tags={"user": {"day": {"tokens": 5}}}
    )
    assert list(limits_of(settings)) == [
        Limit("budget.day.usd", None, "day", "usd", Decimal("2.50")),
        Limit("budget.month.usd", None, "month", "usd", Decimal(20)),
        Limit("budget.month.tokens", None, "month", "tokens", Decimal(1000)),
        Limit("budget.tags.user.day.tokens", "user", "day", "tokens", Decimal(5)),
    ]


@pytest.mark.parametrize(
    ("period", "now", "ends"),
    [
        ("day", NOW, datetime(2027, 1, 1, tzinfo=UTC)),
        ("day", datetime(2027, 1, 1, tzinfo=UTC), datetime(2027, 1, 2, tzinfo=UTC)),
        ("day", datetime(2026, 11, 23, 1, tzinfo=timezone(timedelta(hours=2))), datetime(2026, 11, 23, tzinfo=UTC)),
        ("month", NOW, datetime(2027, 1, 1, tzinfo=UTC)),
        ("month", datetime(2028, 2, 29, 12, tzinfo=UTC), datetime(2028, 3, 1, tzinfo=UTC)),
        ("month", datetime(2026, 12, 1, 1, tzinfo=timezone(timedelta(hours=2))), datetime(2026, 12, 1, tzinfo=UTC)),
        ("run", NOW, None),
    ],
)
def test_days_and_months_end_in_utc(period, now, ends):
    assert ask(limit(period), now=now).ends == ends


@pytest.mark.parametrize("period", ["day", "month"])
def test_a_new_period_is_a_new_account(period):
    assert ask(limit(period)).account != ask(limit(period), now=NOW + timedelta(hours=1)).account
    assert ask(limit(period)).account == ask(limit(period), now=NOW - timedelta(hours=1)).account


def test_runs_are_told_apart_by_their_tag_and_calls_without_one_are_one():
    runs = limit("run")
    assert ask(runs, {"run": "a"}).account != ask(runs, {"run": "b"}).account
    assert ask(runs).account == ask(runs, {"user": "alice"}).account != ask(runs, {"run": "this"}).account


def test_each_value_of_a_tag_has_an_account_and_those_without_it_share_one():
    users = limit("day", "user")
    accounts = {ask(users, tags).account for tags in ({"user": "alice"}, {"user": "bob"}, {"user": None}, {})}
    assert len(accounts) == 3
    assert ask(users, {"user": "alice"}).tag == "user=alice"
    assert ask(users, {"user": "None"}).account not in (ask(users).account, ask(limit("day")).account)


def test_no_words_in_a_tag_lead_to_anothers_account():
    runs = limit("run", "user")
    one = ask(runs, {"user": "a' 'b", "run": "c"})
    other = ask(runs, {"user": "b", "run": "c' 'a"})
    assert one.account != other.account


async def test_what_was_spent_before_is_asked_for_the_period_and_the_tag():
    asked = []

    async def spent(since, tags):
        asked.append((since, dict(tags)))
        return Decimal("1.5"), 300

    tags = {"user": "alice", "run": "r1"}
    assert await ask(limit("day", "user"), tags, spent=spent).opening() == Decimal("1.5")
    assert await ask(limit("month"), tags, spent=spent).opening() == Decimal("1.5")
    assert await ask(limit("run", "user"), tags, spent=spent).opening() == Decimal("1.5")
    assert await ask(limit("day", "user")._replace(unit="tokens"), {}, spent=spent).opening() == 300
    assert asked == [
        (datetime(2026, 12, 31, tzinfo=UTC), {"user": "alice"}),
        (datetime(2026, 12, 1, tzinfo=UTC), {}),
        (None, {"user": "alice", "run": "r1"}),
        (datetime(2026, 12, 31, tzinfo=UTC), {"user": None}),
    ]


async def test_nothing_was_spent_before_in_a_run_that_has_no_name():
    async def spent(since, tags):
        raise AssertionError

    assert ask(limit("run"), spent=spent).opening is None


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"day": {"usd": "-1"}}, "greater than 0"),
        ({"day": {"usd": 0}}, "greater than 0"),
        ({"day": {"usd": True}}, "must be an amount of USD such as 2.50"),
        ({"day": {"usd": "NaN"}}, "finite"),
        ({"day": {"usd": float("inf")}}, "finite"),
        ({"day": {"usd": 0.1 + 0.2}}, "no more than 9 decimal places"),
        ({"day": {"usd": "two"}}, "valid decimal"),
        ({"month": {"tokens": 1.5}}, "valid integer"),
        ({"month": {"tokens": False}}, "valid integer"),
        ({"month": {"tokens": 0}}, "greater than or equal to 1"),
        ({"day": 5}, "valid dictionary"),
        ({"week": {"usd": 1}}, "Extra inputs"),
        ({"tags": {"user": {"call": {"usd": 1}}}}, "Extra inputs"),
        ({"tags": {"user": {"day": {"usd": -1}}}}, "greater than 0"),
        ({"tags": {"": {}}}, "at least 1 character"),
        ({"thresholds": [80, 50]}, "must ascend"),
        ({"thresholds": [50, 50]}, "must ascend"),
        ({"thresholds": [101]}, "less than or equal to 100"),
        ({"unbounded": "send"}, "'refuse' or 'cap'"),
        ({"cap_tokens": 0}, "greater than or equal to 1"),
        ({"stop": 1}, "valid boolean"),
    ],
)
def test_a_wrong_value_is_refused(values, said):
    with pytest.raises(ValidationError, match=said):
        BudgetSettings(**values)


@pytest.mark.usefixtures("no_settings")
@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("budget.day.usd=-1", "budget.day.usd = -1, from an override: should be greater than 0"),
        ("budget.day.usd=true", "budget.day.usd = True, from an override: must be an amount of USD such as 2.50"),
        (
            "budget.tags={user: {week: {usd: 1}}}",
            "budget.tags.user.week = {'usd': 1}, from an override: budget.tags.user has no such key",
        ),
        (
            "budget.tags={user: {day: {usd: 0}}}",
            "budget.tags.user.day.usd = 0, from an override: should be greater than 0",
        ),
    ],
)
def test_a_wrong_override_is_told_with_its_key_and_value(override, told):
    with pytest.raises(ConfigurationError) as raised:
        compose(["budget=standard", override])
    assert raised.value.message.startswith(told)


@pytest.mark.usefixtures("no_settings")
def test_money_is_what_was_written():
    settings = compose(["budget=standard", "budget.day.usd=0.1", "budget.tags={user: {day: {usd: '2.50'}}}"]).budget
    assert (settings.day.usd, settings.tags["user"].day.usd) == (Decimal("0.1"), Decimal("2.50"))
