"""Processes that share a Redis server."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from claudeprov.clock import SYSTEM_CLOCK
from claudeprov.errors import BudgetExceededError, CircuitOpenError
from claudeprov.settings.state import StateSettings
from claudeprov.state import Ask, Counter, Limit
from claudeprov.state.redis import RedisState
from tests.state.shared import Listened, MakeServer, RedisServer, settings_of

PROCESSES, CALLS = 8, 500
RATE, BURST = 300.0, 1300.0
"""Requests a second, and at once."""

LIMITS: Mapping[Counter, Limit] = {"requests": Limit(RATE, BURST)}

Workers = Sequence[asyncio.subprocess.Process]


@asynccontextmanager
async def workers(
    server: RedisServer,
    namespace: str,
    *do: str,
    calls: int = CALLS,
    when_away: Sequence[str] = ("closed",) * PROCESSES,
    killed: bool = False,
) -> AsyncIterator[Workers]:
    """Run processes of worker.py, and let them begin together."""
    overrides = [
        *("state=redis", f"state.url={server.url}", f"state.namespace={namespace}"),
        *(
            "state.timeout=10.0",
            "chain=[retry,ratelimit]",
            "retry.max_attempts=1000",
            "retry.tokens=null",
            "retry.base=0.01",
            "retry.cap=0.1",
        ),
        *("ratelimit=custom", f"ratelimit.requests={RATE * 60:.0f}", f"ratelimit.burst={BURST / RATE}"),
    ]
    options = {"do": do, "calls": calls, "killed": killed}
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    running = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, Path(__file__).with_name("worker.py")),
            json.dumps(options | {"overrides": [*overrides, f"state.when_away={policy}"]}),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=environment,
        )
        for policy in when_away
    ]
    try:
        async with asyncio.timeout(60):
            await until(running, "ready")
            for worker in running:
                assert worker.stdin is not None
                worker.stdin.write(b"begin\n")
            yield running
    finally:
        for worker in running:
            if worker.returncode is None:
                worker.kill()
            await worker.communicate()


async def until(running: Workers, word: str) -> None:
    """Read what each process says, up to *word*."""
    for worker in running:
        assert worker.stdout is not None
        said = (await worker.stdout.readline()).decode().strip()
        assert said == word


async def results(running: Workers) -> list[dict[str, Any]]:
    """Read each process's result."""
    found = []
    for worker in running:
        assert worker.stdout is not None
        found.append(json.loads((await worker.stdout.read()).splitlines()[-1]))
    return found


@asynccontextmanager
async def granted_times(server: RedisServer) -> AsyncIterator[list[int]]:
    """Listen to the server's own monitor for when it grants a request, in microseconds of its clock."""
    times: list[int] = []
    listening = asyncio.Event()

    async def listen() -> None:
        async with client.monitor() as monitor:
            listening.set()
            taking = False
            async for command in monitor.listen():
                words = command["command"].split()
                if command["client_type"] == "lua":
                    if taking and words[0] == "HSET":
                        times.append(int(words[words.index("requests:at") + 1]))
                elif words == ["ECHO", "enough"]:
                    return
                else:
                    taking = "take" in words

    async with Redis.from_url(server.url, decode_responses=True, socket_timeout=None) as client:
        listener = asyncio.create_task(listen())
        await listening.wait()
        try:
            yield times
        finally:
            await client.echo("enough")
            await listener


@pytest.fixture
def notices() -> Listened:
    return Listened()


@pytest.fixture
async def state(redis_server: RedisServer, namespace: str, notices: Listened) -> AsyncIterator[RedisState]:
    """What the processes share, as the test sees it."""
    settings = StateSettings(kind="redis", url=redis_server.url, namespace=namespace, timeout=10.0)
    state = RedisState(settings_of(settings), SYSTEM_CLOCK, notices)
    await state.open()
    yield state
    await state.close()


async def take_all_that_is_left(state: RedisState, key: str) -> int:
    """Take request by request, so that a limit that was not reached yet is."""
    taken: list[float] = []
    while not any(taken):
        taken += await asyncio.gather(*(state.buckets.take(key, {"requests": 1.0}, LIMITS) for _ in range(200)))
    return taken.count(0.0)


async def test_8_processes_and_4000_calls_exceed_neither_a_bucket_nor_a_budget(
    redis_server: RedisServer, namespace: str, state: RedisState
) -> None:
    async with granted_times(redis_server) as times, workers(redis_server, namespace, "budget", "calls") as running:
        found = await results(running)
        left = await take_all_that_is_left(state, "anthropic/sonnet-5")
    async with Redis.from_url(redis_server.url, decode_responses=True) as client:
        assert await client.keys(f"{namespace}:bucket:*") == [f"{namespace}:bucket:anthropic/sonnet-5"]
    assert all(one["read"] == one["begun"] >= CALLS for one in found)
    assert times == sorted(times)
    assert len(times) - left == sum(one["begun"] for one in found) >= PROCESSES * CALLS
    # In every window from one grant to another: number <= burst + rate * seconds.
    lowest, most = float("inf"), 0.0
    for number, at in enumerate(times):
        lowest = min(lowest, number - RATE * at / 1e6)
        most = max(most, number + 1 - RATE * at / 1e6 - lowest)
    assert most <= BURST + 0.01
    assert most > BURST - 1

    reserved = [one["reserved"] for one in found]
    assert sum(reserved) == 100  # each costs 0.009999 USD of 1 USD, and may cost 0.01: the 101st could break it
    assert sum(one["refused"] for one in found) == PROCESSES * CALLS - 100


async def test_killing_redis_in_the_middle_loses_no_call(make_server: MakeServer, namespace: str) -> None:
    server = make_server()
    policies = ["open", "closed"] * (PROCESSES // 2)
    async with workers(server, namespace, "calls", calls=200, when_away=policies, killed=True) as running:
        await until(running, "half")
        server.kill()
        await until(running, "away")
        server.start()
        await until(running, "back")
        found = await results(running)
    # While it was away, calls went on (open), or were tried again until it was back (closed): each was answered.
    assert all(one["read"] == one["begun"] >= 200 for one in found)


async def test_what_a_process_has_done_stays_when_it_is_killed(
    redis_server: RedisServer, namespace: str, state: RedisState, notices: Listened
) -> None:
    async with workers(redis_server, namespace, "hold_all", when_away=["closed"]) as running:
        await until(running, "half")
        running[0].kill()
        await running[0].wait()
        with pytest.raises(CircuitOpenError):
            await state.circuits.admit("opened")
        assert [notice.fields["to"] for notice in notices.named("breaker.changed")] == ["open"]
        ask = Ask("month", "budget.month.usd", None, "month", "usd", Decimal(1), Decimal("0.4"))
        with pytest.raises(BudgetExceededError) as caught:
            await state.reservations.reserve([ask], lambda *_: None)
        assert caught.value.context["reserved"] == Decimal("0.7")
