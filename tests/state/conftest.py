"""A Redis server of the tests' own, and state that is kept in memory or in Redis, by a clock that the tests move."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from claudeprov.settings.breaker import BreakerSettings
from claudeprov.settings.state import StateSettings
from claudeprov.state import Memory, State
from tests.state.shared import MakeServer, RedisServer, Shared, settings_of


@pytest.fixture(scope="session")
def make_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeServer]:
    """Makes servers; each is started, and killed when the tests end."""
    if shutil.which("redis-server") is None:
        if os.environ.get("SERVERS_REQUIRED"):
            pytest.fail("redis-server is not installed")
        pytest.skip("redis-server is not installed")
    servers: list[RedisServer] = []

    def make(*options: str) -> RedisServer:
        servers.append(RedisServer(tmp_path_factory.mktemp("redis"), *options))
        servers[-1].start()
        return servers[-1]

    yield make
    for server in servers:
        server.kill()


@pytest.fixture(scope="session")
def redis_server(make_server: MakeServer) -> RedisServer:
    """A server that no test kills; each names a namespace of its own."""
    return make_server()


@pytest.fixture
def own_server(make_server: MakeServer) -> Iterator[RedisServer]:
    """A server for one test to do to what it likes."""
    server = make_server()
    yield server
    server.kill()


@pytest.fixture
def namespace(request: pytest.FixtureRequest) -> str:
    return hashlib.sha1(request.node.nodeid.encode()).hexdigest()[:12]


@pytest.fixture(params=["memory", "redis"])
async def shared(request: pytest.FixtureRequest, namespace: str) -> AsyncIterator[Shared]:
    """State in memory, then in Redis."""
    shared = Shared(request.param, _memory)
    if request.param == "redis":
        server = request.getfixturevalue("redis_server")
        await _with_redis(shared, server.url, namespace)
    yield shared
    for state in shared.opened:
        await state.close()
    if shared.kind == "redis":
        assert shared.notices.named("state.unavailable") == []


def _memory(shared: Shared, breaker: BreakerSettings) -> State:
    return Memory(settings_of(StateSettings(), breaker), shared.clock, shared.notices)


async def _with_redis(shared: Shared, url: str, namespace: str) -> None:
    from redis.asyncio import Redis

    from claudeprov.state.redis import RedisState

    settings = StateSettings(kind="redis", url=url, namespace=namespace, timeout=10.0)
    time_keys = [f"{namespace}:test:seconds", f"{namespace}:test:microseconds"]

    def make(shared: Shared, breaker: BreakerSettings) -> State:
        state = RedisState(settings_of(settings, breaker), shared.clock, shared.notices)
        for policy in (state.buckets, state.circuits, state.reservations):
            _follow_test_time(policy._script, time_keys)
        return state

    async def set_time(elapsed: float) -> None:
        seconds, rest = divmod(round((1_800_000_000 + elapsed) * 1_000_000), 1_000_000)
        async with Redis.from_url(url) as client:
            await client.mset(dict(zip(time_keys, (seconds, rest), strict=True)))

    shared.make, shared.server_time = make, set_time
    await set_time(0.0)


def _follow_test_time(script: Any, keys: list[str]) -> None:
    """Let a script read the time from where the test has set it, not from the server."""
    script.text = script.text.replace("redis.call('TIME')", f"redis.call('MGET', '{keys[0]}', '{keys[1]}')")
    script.sha = hashlib.sha1(script.text.encode()).hexdigest()
