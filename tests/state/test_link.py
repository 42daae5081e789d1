"""Redis that fails, hangs, comes back or was never there."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from redis.asyncio import Redis

from claudeprov.clock import SYSTEM_CLOCK
from claudeprov.errors import BudgetExceededError, CircuitOpenError, ConfigurationError, StateUnavailableError
from claudeprov.settings.breaker import BreakerSettings
from claudeprov.settings.state import StateSettings
from claudeprov.state import Ask, Limit, link
from claudeprov.state.redis import RedisState
from claudeprov.testing.clock import settle
from tests.state.shared import Listened, MakeServer, RedisServer, settings_of

LIMITS = {"requests": Limit(0.001, 100.0)}
ONE = {"requests": 1.0}
TOMORROW = SYSTEM_CLOCK.now() + timedelta(days=1)

Open = Callable[..., Awaitable[RedisState]]


@pytest.fixture
def notices() -> Listened:
    return Listened()


@pytest.fixture
async def open_redis(namespace: str, notices: Listened) -> AsyncIterator[Open]:
    """Opens states, which are closed when the test ends."""
    states: list[RedisState] = []

    async def open_state(server: RedisServer, breaker: BreakerSettings | None = None, **settings: Any) -> RedisState:
        chosen = StateSettings(kind="redis", url=server.url, namespace=namespace, **settings)
        state = RedisState(settings_of(chosen, breaker), SYSTEM_CLOCK, notices)
        await state.open()
        states.append(state)
        return state

    yield open_state
    for state in states:
        await state.close()


def ask(amount: str, **values: Any) -> Ask:
    return Ask("day", "budget.day.usd", None, "day", "usd", Decimal(1), Decimal(amount), TOMORROW, **values)


def ignored(*_: Any) -> None:
    pass


async def left(state: RedisState) -> Decimal:
    """What is left of the budget of 1 USD."""
    with pytest.raises(BudgetExceededError) as caught:
        await state.reservations.reserve([ask("2")], ignored)
    context = caught.value.context
    return Decimal(1) - context["spent"] - context["reserved"]


# Redis away


async def test_closed_refuses_every_call_and_says_once_that_redis_is_away(
    open_redis: Open, own_server: RedisServer, notices: Listened, caplog: pytest.LogCaptureFixture
) -> None:
    state = await open_redis(own_server, when_away="closed")
    assert await state.buckets.take("a", ONE, LIMITS) == 0
    own_server.kill()
    results = await asyncio.gather(
        *(state.buckets.take("a", ONE, LIMITS) for _ in range(50)),
        *(state.circuits.admit("a") for _ in range(50)),
        *(state.reservations.reserve([ask("0.1")], ignored) for _ in range(50)),
        return_exceptions=True,
    )
    assert {type(result) for result in results} == {StateUnavailableError}
    error = results[0]
    assert isinstance(error, StateUnavailableError)
    assert (error.code, error.retryable) == ("state_unavailable", True)
    assert error.retry_after is not None
    assert error.retry_after <= 5
    assert own_server.url in error.message
    back = notices.until("state.back")
    own_server.start()
    assert (await back).fields["seconds"] > 0
    assert await state.buckets.take("a", ONE, LIMITS) == 0
    assert [notice.name for notice in notices.kept] == ["state.unavailable", "state.back"]
    assert notices.kept[0].fields["when_away"] == "closed"
    levels = [record.levelno for record in caplog.records if record.name == link.__name__]
    assert levels.count(logging.WARNING) == 2


async def test_open_goes_on_in_this_process_from_what_it_last_knew(
    open_redis: Open, own_server: RedisServer, notices: Listened
) -> None:
    settings = BreakerSettings(failures=1, open_for=300.0)
    one = await open_redis(own_server, settings, when_away="open")
    other = await open_redis(own_server, settings, when_away="open")
    for _ in range(90):
        assert await other.buckets.take("a", ONE, LIMITS) == 0
    assert await one.buckets.take("a", ONE, LIMITS) == 0
    (await one.circuits.admit("failing")).fail()
    with pytest.raises(CircuitOpenError):
        await one.circuits.admit("failing")
    standing = await one.circuits.admit("working")
    await one.reservations.reserve([ask("0.75")], ignored)
    own_server.kill()

    for _ in range(9):
        assert await one.buckets.take("a", ONE, LIMITS) == 0
    assert await one.buckets.take("a", ONE, LIMITS) > 0
    with pytest.raises(CircuitOpenError):
        await one.circuits.admit("failing")
    await standing.check()
    (await one.circuits.admit("working")).fail()
    with pytest.raises(CircuitOpenError):
        await one.circuits.admit("working")
    with pytest.raises(CircuitOpenError):
        await standing.check()
    await one.reservations.reserve([ask("0.25")], ignored)
    with pytest.raises(BudgetExceededError):
        await one.reservations.reserve([ask("0.01")], ignored)
    assert [notice.name for notice in notices.kept if notice.name.startswith("state.")] == ["state.unavailable"]


async def test_what_is_spent_while_redis_hangs_is_told_when_it_is_back(
    open_redis: Open, own_server: RedisServer, notices: Listened
) -> None:
    state = await open_redis(own_server, BreakerSettings(failures=1), when_away="open", timeout=0.2)
    before = await state.reservations.reserve([ask("0.5")], ignored)
    verdict = await state.circuits.admit("a")
    own_server.send(signal.SIGSTOP)
    during = await state.reservations.reserve([ask("0.5")], ignored)
    before.settle(Decimal("0.125"), 1)
    during.settle(Decimal("0.25"), 1)
    during.settle(Decimal("0.25"), 1)
    verdict.fail()
    back = notices.until("state.back")
    own_server.send(signal.SIGCONT)
    await back
    assert await left(state) == Decimal("0.625")
    with pytest.raises(CircuitOpenError):
        await state.circuits.admit("a")


async def test_nobody_waits_for_a_redis_that_hangs_longer_than_its_timeout(
    open_redis: Open, own_server: RedisServer
) -> None:
    state = await open_redis(own_server, timeout=0.1)
    own_server.send(signal.SIGSTOP)
    try:
        async with asyncio.timeout(20):
            with pytest.raises(StateUnavailableError):
                await state.buckets.take("a", ONE, LIMITS)
    finally:
        own_server.send(signal.SIGCONT)


@pytest.mark.parametrize("cancelled", [True, False])
async def test_what_was_reserved_for_a_call_that_never_heard_of_it_is_given_back(
    open_redis: Open, own_server: RedisServer, notices: Listened, cancelled: bool
) -> None:
    state = await open_redis(own_server, timeout=20.0 if cancelled else 0.2)
    assert await left(state) == 1
    own_server.send(signal.SIGSTOP)
    reserving = asyncio.ensure_future(state.reservations.reserve([ask("0.5")], ignored))
    trying = asyncio.ensure_future(state.circuits.admit("a"))
    await settle()  # until both are sent
    assert not state.link._queue
    if cancelled:
        reserving.cancel()
        trying.cancel()
        await asyncio.wait([reserving, trying])
        own_server.send(signal.SIGCONT)
    else:
        with pytest.raises(StateUnavailableError):
            await reserving
        with pytest.raises(StateUnavailableError):
            await trying
        back = notices.until("state.back")
        own_server.send(signal.SIGCONT)
        await back
    assert await left(state) <= 1
    assert await left(state) == 1


async def test_a_call_that_is_cancelled_before_it_is_sent_takes_nothing(
    open_redis: Open, redis_server: RedisServer
) -> None:
    state = await open_redis(redis_server)
    reserving = asyncio.ensure_future(state.reservations.reserve([ask("0.5")], ignored))
    await asyncio.sleep(0)
    reserving.cancel()
    assert await left(state) == 1


async def test_what_was_told_is_known_to_others_once_a_process_has_closed(
    open_redis: Open, redis_server: RedisServer
) -> None:
    leaving = await open_redis(redis_server, BreakerSettings(failures=3))
    staying = await open_redis(redis_server, BreakerSettings(failures=3))
    for verdict in [await leaving.circuits.admit("a") for _ in range(3)]:
        verdict.fail()
    await leaving.close()
    with pytest.raises(CircuitOpenError):
        await staying.circuits.admit("a")


async def test_what_cannot_be_kept_or_told_is_said(
    open_redis: Open, own_server: RedisServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(link, "_KEPT", 3)
    state = await open_redis(own_server)
    verdicts = [await state.circuits.admit("a") for _ in range(5)]
    own_server.kill()
    with pytest.raises(StateUnavailableError):
        await state.circuits.admit("a")
    for verdict in verdicts:
        verdict.succeed()
    await state.close()
    # Of the call that was refused, too: its trial, if it was one, is given back.
    assert "Redis was not told of 6 verdicts and settlements" in caplog.text


async def test_a_server_that_has_lost_its_scripts_gets_them_again(
    open_redis: Open, own_server: RedisServer, notices: Listened
) -> None:
    state = await open_redis(own_server)
    assert await state.buckets.take("a", ONE, LIMITS) == 0
    async with Redis.from_url(own_server.url) as client:
        await client.script_flush()
    assert await asyncio.gather(*(state.buckets.take("a", ONE, LIMITS) for _ in range(10))) == [0.0] * 10
    assert notices.kept == []


async def test_a_server_that_takes_no_writes_is_away_until_it_does(
    open_redis: Open, own_server: RedisServer, notices: Listened
) -> None:
    state = await open_redis(own_server)
    reservation = await state.reservations.reserve([ask("1")], ignored)
    async with Redis.from_url(own_server.url) as client:
        await client.replicaof("127.0.0.1", own_server.port)
        away = asyncio.ensure_future(notices.until("state.unavailable"))
        await asyncio.sleep(0)
        reservation.settle(Decimal("0.25"), 1)
        assert "read only" in (await away).fields["reason"]
        back = notices.until("state.back")
        await client.replicaof("NO", "ONE")
        await back
    assert await left(state) == Decimal("0.75")


async def test_an_answer_that_is_an_error_costs_that_one_message_only(
    open_redis: Open, own_server: RedisServer, notices: Listened
) -> None:
    state = await open_redis(own_server)
    async with Redis.from_url(own_server.url) as client:
        await client.set(state.link.name("bucket", "foreign"), "what another program has put there")
    with pytest.raises(StateUnavailableError) as caught:
        await state.buckets.take("foreign", ONE, LIMITS)
    assert "WRONGTYPE" in str(caught.value.__cause__)
    if state.link.away:
        await notices.until("state.back")
    assert await state.buckets.take("a", ONE, LIMITS) == 0


async def test_a_listener_that_fails_leaves_the_others_their_answers(
    open_redis: Open, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("broken")

    state = await open_redis(redis_server)
    reservation = await state.reservations.reserve([ask("0.5")], broken)
    reservation.settle(Decimal("0.25"), 1)
    assert await left(state) == Decimal("0.75")
    assert "RuntimeError: broken" in caplog.text


async def test_every_key_of_a_namespace_expires(open_redis: Open, redis_server: RedisServer, namespace: str) -> None:
    state = await open_redis(redis_server, BreakerSettings(failures=1, open_for=0.001))
    await state.buckets.take("a", ONE, LIMITS)
    state.buckets.hold("b", 3.0)
    (await state.circuits.admit("a")).fail()
    (await state.circuits.admit("b")).succeed()
    (await state.reservations.reserve([ask("0.5")], ignored)).settle(Decimal("0.5"), 1)
    await state.close()
    async with Redis.from_url(redis_server.url) as client:
        keys = [key async for key in client.scan_iter(f"{namespace}:*")]
        assert len(keys) >= 5
        assert all([await client.ttl(key) > 0 for key in keys])


# Redis that was never there


async def test_a_redis_that_cannot_be_reached_is_refused_with_what_is_allowed(
    open_redis: Open, own_server: RedisServer
) -> None:
    own_server.kill()
    with pytest.raises(ConfigurationError) as caught:
        await open_redis(own_server, when_away="closed")
    [problem] = caught.value.context["problems"]
    assert (problem["key"], problem["value"]) == ("state.url", own_server.url)
    assert problem["allowed"] == ("the address of a Redis server that runs", "state.when_away=open", "state=memory")
    assert "cannot be reached" in caught.value.message


async def test_open_begins_without_a_redis_and_finds_it_later(
    open_redis: Open, own_server: RedisServer, notices: Listened
) -> None:
    own_server.kill()
    state = await open_redis(own_server, when_away="open")
    assert await state.buckets.take("a", ONE, LIMITS) == 0
    back = notices.until("state.back")
    own_server.start()
    await back
    assert await state.buckets.take("a", ONE, LIMITS) == 0
    async with Redis.from_url(own_server.url) as client:
        assert await client.exists(state.link.name("bucket", "a"))


async def test_the_password_comes_from_the_environment_and_shows_nowhere(
    open_redis: Open, make_server: MakeServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server = make_server("--requirepass", "hush-hush")
    with pytest.raises(ConfigurationError, match="cannot be reached"):
        await open_redis(server)
    monkeypatch.setenv("REDIS_PASSWORD", "wrong-one")
    with pytest.raises(ConfigurationError) as caught:
        await open_redis(server)
    monkeypatch.setenv("REDIS_PASSWORD", "hush-hush")
    state = await open_redis(server)
    assert await state.buckets.take("a", ONE, LIMITS) == 0
    assert "wrong-one" not in f"{caught.value!r} {caught.value.context}"
    assert "hush-hush" not in caplog.text


async def test_who_asks_after_the_end_is_refused(open_redis: Open, redis_server: RedisServer) -> None:
    state = await open_redis(redis_server)
    await state.close()
    with pytest.raises(StateUnavailableError):
        await state.buckets.take("a", ONE, LIMITS)
