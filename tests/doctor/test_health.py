"""``provider.health_check()``: what it looks at, and how seldom."""

from __future__ import annotations

import asyncio
import json
from email.utils import format_datetime

import pytest

from claudeprov import AnthropicClaudeProvider, open_provider
from claudeprov.clock import SYSTEM_CLOCK
from claudeprov.errors import (
    AuthenticationError,
    CircuitOpenError,
    ConfigurationError,
    ServerError,
    StateUnavailableError,
)
from claudeprov.testing import ManualClock
from tests.server import Answer, Server

HI = {"messages": [{"role": "user", "content": "hi"}]}
LISTED = {"data": [{"id": "claude-sonnet-5-5", "max_tokens": 7}], "has_more": False}


def answer(status=200, body=LISTED, date=None, end="clean"):
    headers = {"content-type": "application/json"} | ({"date": date} if date else {})
    return Answer(json.dumps(body).encode(), status=status, headers=headers, end=end)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def opened(clock, monkeypatch):
    """Makes a provider of a server."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "fake-key-for-a-test")

    def opened(server, *overrides, clock=clock):
        words = ["endpoint=compatible", f"endpoint.base_url={server.url}", "cassette=live", "telemetry=off", *overrides]
        return AnthropicClaudeProvider(open_provider(words).settings, clock=clock)

    return opened


def statuses(health):
    return {check.name: check.status for check in health.checks}


async def test_it_tells_each_check(opened, clock):
    date = format_datetime(clock.now(), usegmt=True)
    async with Server(answer(date=date)) as server, opened(server) as provider:
        health = await provider.health_check()
    assert (health.ok, health.error) == (True, None)
    assert statuses(health) == {
        **{"endpoint": "ok", "clock": "ok", "breaker": "ok"},
        **{"redis": "skipped", "database": "skipped"},
    }


async def test_it_changes_nothing_that_is_known_of_models_and_counts_nowhere(opened):
    async with Server(answer(500)) as server, opened(server, "breaker.failures=1") as provider:
        known = provider.catalog
        health = await provider.health_check()
        assert type(health.error) is ServerError
        assert len(server.asked) == 1  # no retry
        assert provider.catalog is known
        assert provider.rate_limits() == {}
        assert statuses(health)["breaker"] == "ok"


async def test_it_asks_at_most_once_in_ten_seconds_however_it_went(opened, clock):
    async with Server(answer(500), answer()) as server, opened(server) as provider:
        first = await provider.health_check()
        await clock.advance(9.9)
        assert await provider.health_check() is first
        await clock.advance(0.1)
        assert (first.ok, (await provider.health_check()).ok) == (False, True)
    assert len(server.asked) == 2


async def test_all_who_ask_at_once_share_a_look_and_one_who_leaves_takes_it_from_nobody(opened, clock):
    async with Server(answer(end="hang")) as server, opened(server) as provider:
        asking = [asyncio.create_task(provider.health_check()) for _ in range(20)]
        await server.hanging.wait()
        asking.pop(0).cancel()
        await clock.advance(5)
        (health,) = {id(health): health for health in await asyncio.gather(*asking)}.values()
    assert (health.ok, health.error.code, health.seconds) == (False, "timeout", 5)
    assert len(server.asked) == 1


async def test_whoever_asks_a_provider_that_is_closed_meanwhile_is_told_so(opened):
    async with Server(answer(end="hang")) as server, opened(server) as provider:
        asking = asyncio.create_task(provider.health_check())
        await server.hanging.wait()
        await provider.dispose()
        assert isinstance((await asking).error, ConfigurationError)
        assert isinstance((await provider.health_check()).error, ConfigurationError)


async def test_a_breaker_that_is_open_is_a_fault_until_a_trial_is_due(opened, clock):
    answers = answer(500), answer()
    overrides = ["breaker.failures=1", "breaker.open_for=60", "retry=off"]
    async with Server(*answers) as server, opened(server, *overrides) as provider:
        with pytest.raises(ServerError):
            await provider.send_message(HI)
        health = await provider.health_check()
        assert (health.ok, type(health.error)) == (False, CircuitOpenError)
        assert statuses(health)["endpoint"] == "ok"
        await clock.advance(60)
        assert (await provider.health_check()).ok


async def test_a_breaker_on_trial_is_a_warning(opened, clock):
    overrides = ["breaker.failures=1", "breaker.open_for=60", "retry=off"]
    async with Server(answer(500), answer(end="hang"), answer()) as server, opened(server, *overrides) as provider:
        with pytest.raises(ServerError):
            await provider.send_message(HI)
        await clock.advance(60)
        trying = asyncio.ensure_future(provider.send_message(HI))
        await server.hanging.wait()
        health = await provider.health_check()
        assert (health.ok, statuses(health)["breaker"]) == (True, "warning")
        trying.cancel()
        await asyncio.wait([trying])


async def test_a_breaker_that_is_forced_open_is_a_fault(opened):
    async with Server(answer()) as server, opened(server, "breaker.force=open") as provider:
        assert isinstance((await provider.health_check()).error, CircuitOpenError)


async def test_without_a_breaker_or_in_a_replay_there_is_none(opened):
    async with Server(answer()) as server, opened(server, "breaker=off") as provider:
        assert statuses(await provider.health_check())["breaker"] == "skipped"
    async with opened(server, "cassette=replay") as provider:
        health = await provider.health_check()
        assert health.ok
        assert set(statuses(health).values()) == {"skipped"}


async def test_where_recordings_only_stand_in_for_credentials_it_says_so():
    async with open_provider(["endpoint=anthropic", "telemetry=off"]) as provider:
        health = await provider.health_check()
    assert (health.ok, type(health.error)) == (False, AuthenticationError)


async def test_redis_that_is_away_is_a_fault_where_calls_are_refused(opened, own_server):
    words = ["state=redis", f"state.url={own_server.url}", "state.timeout=10.0"]
    async with Server(answer()) as server, opened(server, *words, clock=SYSTEM_CLOCK) as provider:
        assert (await provider.health_check()).ok
        await provider.dispose()
        await provider.initialize()
        own_server.kill()
        health = await provider.health_check()
    assert isinstance(health.error, StateUnavailableError)


async def test_redis_that_tells_nothing_of_itself_is_no_outage(opened, as_ordinary_user):
    words = ["state=redis", f"state.url={as_ordinary_user.url}", "state.timeout=10.0"]
    async with Server(answer()) as server, opened(server, *words, clock=SYSTEM_CLOCK) as provider:
        health = await provider.health_check()
    assert (health.ok, statuses(health)["redis"]) == (True, "ok")


async def test_a_database_that_is_away_is_told_and_is_no_reason_to_send_no_calls(opened):
    words = ["ledger=postgres", "ledger.url=postgresql://me@127.0.0.1:1/db"]
    async with Server(answer()) as server, opened(server, *words, clock=SYSTEM_CLOCK) as provider:
        health = await provider.health_check()
    assert (health.ok, health.error, statuses(health)["database"]) == (True, None, "fault")


async def test_a_hundred_that_ask_cost_one_request(opened):
    async with Server(answer()) as server, opened(server, clock=SYSTEM_CLOCK) as provider:
        for _ in range(100):
            assert (await provider.health_check()).ok
    assert len(server.asked) == 1
