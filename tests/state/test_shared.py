"""What every kind of state does alike; with Redis, each view is a process of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from claudeprov.errors import BudgetExceededError, CircuitOpenError
from claudeprov.state import Ask, Buckets, Circuits, Counter, Limit, Memory, Reservations
from tests.state.shared import Shared

LIMITS: Mapping[Counter, Limit] = {"requests": Limit(2.0, 10.0), "input_tokens": Limit(100.0, 1000.0)}
ONE: Mapping[Counter, float] = {"requests": 1.0, "input_tokens": 50.0}


# Rate limits


async def buckets(shared: Shared) -> tuple[Buckets, Buckets]:
    return (await shared.view()).buckets, (await shared.view()).buckets


async def test_a_burst_is_taken_at_once_and_then_as_much_as_the_rate_brings(shared: Shared) -> None:
    one, other = await buckets(shared)
    for taker in (one, other) * 5:
        assert await taker.take("a", ONE, LIMITS) == 0
    assert await one.take("a", ONE, LIMITS) == pytest.approx(0.5)
    await shared.pass_time(0.25)
    assert await other.take("a", ONE, LIMITS) == pytest.approx(0.25)
    await shared.pass_time(0.25)
    assert await other.take("a", ONE, LIMITS) == 0
    assert await one.take("a", ONE, LIMITS) == pytest.approx(0.5)
    assert await one.take("b", ONE, LIMITS) == 0


async def test_nothing_is_taken_where_one_counter_lacks(shared: Shared) -> None:
    one, other = await buckets(shared)
    assert await one.take("a", {"requests": 1.0, "input_tokens": 990.0}, LIMITS) == 0
    assert await one.take("a", {"requests": 5.0, "input_tokens": 20.0}, LIMITS) == pytest.approx(0.1)
    assert await other.take("a", {"requests": 9.0, "input_tokens": 10.0}, LIMITS) == 0


async def test_what_is_given_back_can_be_taken_and_what_was_taken_too_little_is_owed(shared: Shared) -> None:
    one, other = await buckets(shared)
    assert await one.take("a", {"requests": 1.0, "input_tokens": 1000.0}, LIMITS) == 0
    one.give("a", {"input_tokens": 400.0})
    assert await one.take("a", {"requests": 1.0, "input_tokens": 400.0}, LIMITS) == 0
    one.give("a", {"input_tokens": -300.0})
    assert await one.take("a", {"requests": 1.0, "input_tokens": 100.0}, LIMITS) == pytest.approx(4.0)
    assert await other.take("a", {"requests": 1.0, "input_tokens": 100.0}, LIMITS) == pytest.approx(4.0)


async def test_a_hold_holds_all_and_then_lets_one_go_at_once(shared: Shared) -> None:
    one, other = await buckets(shared)
    assert await one.take("a", ONE, LIMITS) == 0
    one.hold("a", 30.0)
    assert await one.take("a", ONE, LIMITS) == pytest.approx(30.0)
    assert await other.take("a", ONE, LIMITS) == pytest.approx(30.0)
    await shared.pass_time(30.0)
    assert await other.take("a", ONE, LIMITS) == 0
    assert await one.take("a", ONE, LIMITS) == pytest.approx(0.5)


async def test_what_the_service_says_remains_is_spread_until_its_reset(shared: Shared) -> None:
    one, other = await buckets(shared)
    assert await one.take("a", ONE, LIMITS) == 0
    one.steer("a", {"requests": 5.0}, {"requests": 50.0})
    assert await one.take("a", ONE, LIMITS) == pytest.approx(10.0)
    assert await other.take("a", ONE, LIMITS) == pytest.approx(10.0)
    await shared.pass_time(10.0)
    assert await other.take("a", ONE, LIMITS) == 0


async def test_another_limit_is_adopted(shared: Shared) -> None:
    one, other = await buckets(shared)
    assert await one.take("a", ONE, LIMITS) == 0
    narrow: Mapping[Counter, Limit] = {"requests": Limit(1.0, 2.0)}
    assert await other.take("a", {"requests": 2.0}, narrow) == 0
    assert await one.take("a", {"requests": 2.0}, narrow) == pytest.approx(2.0)


async def test_the_levels_are_those_that_were_last_seen(shared: Shared) -> None:
    one, _ = await buckets(shared)
    assert await one.take("a", ONE, LIMITS) == 0
    level = one.levels("a")["input_tokens"]
    assert (level.limit, level.remaining, level.reset) == (LIMITS["input_tokens"], 950.0, pytest.approx(0.5))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shared", ["redis"], indirect=True)
async def test_buckets_in_redis_decide_as_those_in_memory_do(shared: Shared, seed: int) -> None:
    random = Random(seed)
    views = await buckets(shared)
    memory = Memory(None, shared.clock, shared.notices).buckets  # type: ignore[arg-type]
    for _ in range(200):
        one = views[random.randrange(2)]
        amounts: dict[Counter, float] = {
            "requests": float(random.randint(0, 3)),
            "input_tokens": random.randint(0, 9000) / 10,
        }
        match random.choice(["take", "take", "take", "give", "hold", "steer", "time", "time"]):
            case "take":
                assert await one.take("a", amounts, LIMITS) == pytest.approx(await memory.take("a", amounts, LIMITS))
            case "give":
                change = {counter: amount * random.choice((1, -1)) for counter, amount in amounts.items()}
                for told in (one, memory):
                    told.give("a", change)
            case "hold":
                seconds = random.randint(1, 4000) / 1000
                for told in (one, memory):
                    told.hold("a", seconds)
            case "steer":
                resets: dict[Counter, float] = {counter: float(random.randint(0, 9)) for counter in amounts}
                for told in (one, memory):
                    told.steer("a", amounts, resets)
            case "time":
                await shared.pass_time(random.randint(1, 5000) / 1000)
        await settled(one)


async def settled(asked: Any) -> None:
    """Wait until Redis has heard all that was told before: what is asked comes after it."""
    if hasattr(asked, "_link"):
        await asked._link.ask(asked._script, ["nobody's"], ["take"])


# Breakers


async def circuits(shared: Shared, **breaker: Any) -> tuple[Circuits, Circuits]:
    return (await shared.view(**breaker)).circuits, (await shared.view(**breaker)).circuits


async def fail(circuits: Circuits, times: int = 1) -> None:
    for _ in range(times):
        (await circuits.admit("a")).fail()


async def succeed(circuits: Circuits, times: int = 1) -> None:
    for _ in range(times):
        (await circuits.admit("a")).succeed()


async def refusal(circuits: Circuits, key: str = "a") -> CircuitOpenError:
    with pytest.raises(CircuitOpenError) as caught:
        await circuits.admit(key)
    return caught.value


async def test_failures_of_all_processes_open_the_breaker_for_all(shared: Shared) -> None:
    one, other = await circuits(shared, failures=5, open_for=300.0)
    await fail(one, 3)
    await fail(other)
    await succeed(other)
    await fail(other)
    assert (await refusal(other)).retry_after == pytest.approx(300.0)
    await shared.pass_time(100.0)
    error = await refusal(one)
    assert error.retry_after == pytest.approx(200.0)
    assert error.context == {"route": "a", "state": "open"}
    (await one.admit("b")).succeed()


async def test_failures_before_the_window_do_not_count(shared: Shared) -> None:
    one, other = await circuits(shared, failures=3, window=60.0)
    await fail(one, 2)
    await shared.pass_time(60.0)
    await fail(one)
    await shared.pass_time(30.0)
    await fail(one)
    await succeed(other)
    await shared.pass_time(29.0)
    await fail(other)
    await refusal(one)


async def test_only_so_many_are_on_trial_and_one_that_succeeds_closes_it(shared: Shared) -> None:
    one, other = await circuits(shared, failures=1, open_for=10.0, trials=2)
    await fail(one)
    await shared.pass_time(10.0)
    first, second = await one.admit("a"), await other.admit("a")
    assert (await refusal(one)).context["state"] == "half_open"
    second.withdraw()
    third = await one.admit("a")
    await refusal(one)
    third.succeed()
    await succeed(one, 5)
    first.fail()
    await succeed(one)


async def test_a_trial_that_fails_opens_it_again(shared: Shared) -> None:
    one, other = await circuits(shared, failures=2, open_for=10.0)
    await fail(one, 2)
    await shared.pass_time(10.0)
    await fail(one)
    assert (await refusal(one)).retry_after == pytest.approx(10.0)
    assert (await refusal(other)).retry_after == pytest.approx(10.0)


async def test_a_call_that_began_before_the_state_changed_does_not_change_it(shared: Shared) -> None:
    one, other = await circuits(shared, failures=1, open_for=10.0)
    stragglers = [await other.admit("a") for _ in range(3)]
    await fail(one)
    stragglers[0].succeed()
    await refusal(one)
    await shared.pass_time(10.0)
    trial = await one.admit("a")
    stragglers[1].fail()
    stragglers[2].withdraw()
    await refusal(one)
    trial.succeed()
    await succeed(one)


async def test_a_call_asks_whether_others_have_opened_it(shared: Shared) -> None:
    one, other = await circuits(shared, failures=1, open_for=10.0)
    verdict = await other.admit("a")
    await verdict.check()
    await fail(one)
    await refusal(one)
    with pytest.raises(CircuitOpenError, match="is open"):
        await verdict.check()
    await shared.pass_time(10.0)
    trial = await one.admit("a")
    await trial.check()
    with pytest.raises(CircuitOpenError, match="half open"):
        await verdict.check()
    trial.succeed()
    await succeed(one)
    await verdict.check()


async def test_a_share_of_failures_counts_from_a_number_of_calls_on(shared: Shared) -> None:
    one, other = await circuits(shared, failures=None, failure_rate=0.5, minimum_calls=10)
    await fail(one, 4)
    await succeed(other, 4)
    await fail(one)
    await succeed(other)
    await fail(one)
    await refusal(one)


@pytest.mark.parametrize(("force", "refused"), [("open", True), ("disabled", False)])
async def test_a_breaker_can_be_forced(shared: Shared, force: str, refused: bool) -> None:
    one, _ = await circuits(shared, failures=1, force=force)
    if refused:
        assert not (await refusal(one)).retryable
    else:
        await fail(one, 5)
        await succeed(one)


async def test_each_change_is_told_once_by_whoever_sees_it(shared: Shared) -> None:
    one, _ = await circuits(shared, failures=2, open_for=10.0)
    await fail(one, 2)
    for _ in range(3):
        await refusal(one)
    await shared.pass_time(10.0)
    await succeed(one)
    await succeed(one)
    changes = [(notice.fields["from"], notice.fields["to"]) for notice in shared.notices.named("breaker.changed")]
    assert changes == [("closed", "open"), ("open", "half_open"), ("half_open", "closed")]


# Budgets


def usd(shared: Shared, amount: str, limit: str = "1", **values: Any) -> Ask:
    ends = shared.clock.now() + timedelta(hours=6)
    whole = {"account": "day", "setting": "budget.day.usd", "tag": None, "period": "day", "ends": ends, **values}
    return Ask(unit="usd", limit=Decimal(limit), amount=Decimal(amount), **whole)


def tokens(amount: int, limit: int) -> Ask:
    return Ask("run r1", "budget.run.tokens", None, "run", "tokens", Decimal(limit), Decimal(amount))


def ignored(*_: Any) -> None:
    pass


async def reservations(shared: Shared) -> tuple[Reservations, Reservations]:
    return (await shared.view()).reservations, (await shared.view()).reservations


async def test_what_is_set_aside_and_what_is_spent_counts_against_the_limit(shared: Shared) -> None:
    one, other = await reservations(shared)
    first = await one.reserve([usd(shared, "0.6")], ignored)
    with pytest.raises(BudgetExceededError) as caught:
        await other.reserve([usd(shared, "0.400000000001")], ignored)
    figures = {name: caught.value.context[name] for name in ("spent", "reserved", "asked", "limit")}
    assert figures == {
        "spent": Decimal(0),
        "reserved": Decimal("0.6"),
        "asked": Decimal("0.400000000001"),
        "limit": Decimal(1),
    }
    assert caught.value.retryable
    second = await other.reserve([usd(shared, "0.4")], ignored)
    first.settle(Decimal("0.25"), 10)
    third = await one.reserve([usd(shared, "0.35")], ignored)
    second.settle(Decimal("0.4"), 1)
    third.settle(Decimal("0.35"), 1)
    with pytest.raises(BudgetExceededError) as caught:
        await one.reserve([usd(shared, "0.01")], ignored)
    assert (caught.value.context["spent"], caught.value.context["reserved"]) == (Decimal(1), Decimal(0))
    assert not caught.value.retryable
    await other.reserve([usd(shared, "1", account="another day")], ignored)


async def test_all_is_reserved_or_nothing(shared: Shared) -> None:
    one, other = await reservations(shared)
    with pytest.raises(BudgetExceededError, match=r"budget\.run\.tokens is 10 tokens"):
        await one.reserve([usd(shared, "1"), tokens(11, 10)], ignored)
    await one.reserve([usd(shared, "1"), tokens(10, 10)], ignored)
    with pytest.raises(BudgetExceededError, match=r"budget\.day\.usd is 1 USD"):
        await other.reserve([usd(shared, "0.1")], ignored)


async def test_a_settlement_is_told_with_what_was_spent_before_and_after_once(shared: Shared) -> None:
    one, _ = await reservations(shared)
    told: list[tuple[str, Decimal, Decimal]] = []

    def settled(ask: Ask, before: Decimal, after: Decimal) -> None:
        told.append((ask.account, before, after))

    first = await one.reserve([usd(shared, "0.5"), tokens(10, 100)], settled)
    second = await one.reserve([usd(shared, "0.5"), tokens(10, 100)], settled)
    for reservation in (first, first, second):
        reservation.settle(Decimal("0.000000123456"), 7)
    await one.reserve([usd(shared, "0")], settled)
    cost = Decimal("0.000000123456")
    assert told == [
        ("day", Decimal(0), cost),
        ("run r1", Decimal(0), Decimal(7)),
        ("day", cost, 2 * cost),
        ("run r1", Decimal(7), Decimal(14)),
    ]


async def test_what_an_account_opens_with_is_asked_where_it_is_new_only(shared: Shared) -> None:
    one, other = await reservations(shared)
    asked = 0

    async def opening() -> Decimal:
        nonlocal asked
        asked += 1
        return Decimal("0.75")

    with pytest.raises(BudgetExceededError) as caught:
        await one.reserve([usd(shared, "0.3", opening=opening)], ignored)
    assert caught.value.context["spent"] == Decimal("0.75")
    await other.reserve([usd(shared, "0.2", opening=opening)], ignored)
    with pytest.raises(BudgetExceededError):
        await other.reserve([usd(shared, "0.1", opening=opening)], ignored)
    assert asked == 1


async def test_many_at_once_do_not_overspend(shared: Shared) -> None:
    views = await reservations(shared)
    results = await asyncio.gather(
        *(views[number % 2].reserve([usd(shared, "0.03")], ignored) for number in range(200)), return_exceptions=True
    )
    assert sum(isinstance(result, BudgetExceededError) for result in results) == 200 - 33
