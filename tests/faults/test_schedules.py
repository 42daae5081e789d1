"""Whatever the network does and however its readers behave, nothing is lost and nothing is kept."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections import defaultdict
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claudeprov import AnthropicClaudeProvider
from claudeprov.compose import compose
from claudeprov.errors import ProviderError
from claudeprov.testing import ManualClock
from claudeprov.testing.faulty import FaultyTransport
from tests.faults.recorder import Recorder
from tests.faults.reference import Reference
from tests.faults.schedule import Planned, Schedule

SCHEDULES = 2000
HI = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 100}


def _recorder(name):
    return f"{{_target_: tests.faults.recorder.Recorder, name: {name}}}"


CHAIN = (
    f"chain=[{_recorder('outer')},telemetry,deadline,fallback,{_recorder('tries')},budget,resume,"
    f"{_recorder('calls')},breaker,{_recorder('admitted')},retry,ratelimit,{_recorder('attempts')}]"
)
OPTIONS = {
    "plain": [],
    "recovering": ["resume=standard", "fallback=standard"],
    "patient": ["retry=patient", "breaker=off", "deadline.total=300"],
    "limited": ["ratelimit=custom", "ratelimit.requests=30", "ratelimit.output_tokens=9000", "budget=standard"],
    "all": ["resume=standard", "fallback=standard", "ratelimit=start", "budget=standard", "budget.stop=true"],
}
"""What is configured beside the default chain."""
SETTINGS = {}


class _Bug(Exception):
    """The reader's own."""


@pytest.fixture(scope="module", autouse=True)
def warmed_up():
    """Compose, and import all that there is; a collection of garbage then need not go through it each time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("CLAUDEPROV_CONFIG_DIR", raising=False)
        for name, overrides in OPTIONS.items():
            SETTINGS[name] = compose([CHAIN, "allow_targets=[tests]", "cassette=live", *overrides])
            asyncio.run(_run(SETTINGS[name], Schedule(seed=0, size=1, faults=0)))
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@settings(max_examples=SCHEDULES)
@given(
    st.integers(0, 2**32),
    st.sampled_from([*range(1, 9)] * 4 + [20, 30, 40, 200]),
    st.sampled_from((0.1, 0.5, 0.9)),
    st.sampled_from(sorted(OPTIONS)),
)
def test_every_call_ends_once_and_gives_back_what_it_took(seed, size, faults, options):
    schedule = Schedule(seed, size, faults)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # of the readers who abandon their streams
        transport, changes = asyncio.run(_run(SETTINGS[options], schedule))
    for _, entry in Recorder.journal:
        assert entry.ends == 1, f"{entry.name} was told {entry.ends} ends"
    calls = Recorder.entries("outer")
    assert len(calls) == size
    assert transport.open == 0
    assert transport.asked == len(Recorder.entries("attempts")) == sum(len(entry.call.attempts) for entry in calls)
    if SETTINGS[options].breaker is not None:
        assert changes == _expected_changes(SETTINGS[options].breaker)


async def _run(configured, schedule: Schedule) -> tuple[FaultyTransport, dict[str, list[tuple[str, str]]]]:
    """Run all calls to their ends; return what carried them, and the breaker's changes by route."""
    Recorder.journal.clear()
    clock = ManualClock()
    transport = FaultyTransport(schedule.reply, clock)
    changes = defaultdict(list)
    async with AnthropicClaudeProvider(configured, clock=clock, transport=transport) as provider:
        provider.notices.listen(
            lambda notice: (
                changes[notice.fields["route"]].append((notice.fields["from"], notice.fields["to"]))
                if notice.name == "breaker.changed"
                else None
            )
        )
        reads = [_read(provider, clock, planned) for planned in schedule.calls]
        results = await clock.run(asyncio.gather(*reads, return_exceptions=True))
        gc.collect()
        await clock.run(asyncio.sleep(0))
        for route, limits in provider.rate_limits().items():
            assert limits.queue == 0, f"{limits.queue} calls still wait for {route}"
        if configured.budget is not None:
            for accounts in provider._state.reservations._accounts.values():
                assert not any(account.reserved for account in accounts.values())
    for result in results:
        if result is not None and not isinstance(result, ProviderError):
            raise result
    assert asyncio.all_tasks() == {asyncio.current_task()}
    return transport, dict(changes)


async def _read(provider: AnthropicClaudeProvider, clock: ManualClock, planned: Planned) -> None:
    await clock.sleep(planned.at)
    stream = provider.send_message(HI | {"stream": not planned.plain})
    match planned.reader:
        case "read":
            await _all(stream)
        case "await":
            await stream
        case "leave":
            async with stream:
                seen = 0
                async for _ in stream:
                    if seen == planned.chunks:
                        break
                    seen += 1
        case "raise":
            with suppress(_Bug):
                async with stream:
                    async for _ in stream:
                        raise _Bug
        case "stop":
            reading = asyncio.ensure_future(_all(stream))
            await clock.sleep(planned.after)
            await stream.cancel()
            await reading
        case "cancel":
            reading = asyncio.ensure_future(_all(stream))
            await clock.sleep(planned.after)
            reading.cancel()
            try:
                await reading
            except asyncio.CancelledError:
                assert reading.cancelled()
        case "break":
            async for _ in stream:
                break


async def _all(stream) -> None:
    async for _ in stream:
        pass


def _expected_changes(breaker) -> dict[str, list[tuple[str, str]]]:
    """What the reference makes of the calls that came to the breaker, and of the ends of those that it let through."""
    routes = defaultdict(lambda: Reference(breaker.failures, breaker.window, breaker.open_for))
    admitted = {}
    for position, (what, entry) in enumerate(Recorder.journal):
        route = routes[entry.route]
        if entry.name == "calls" and what == "begin":
            following = Recorder.journal[position + 1]
            was_admitted = following[0] == "begin" and following[1].name == "admitted"
            assert route.admits(entry.begun) == was_admitted
            if was_admitted:
                admitted[following[1]] = len(route.changes)
        elif entry.name == "admitted" and what == "end":
            route.judge(admitted[entry], _failed(breaker, entry), entry.ended)
    return {name: route.changes for name, route in routes.items() if route.changes}


def _failed(breaker, entry) -> bool | None:
    """Whether the service failed in a call; ``None``: nothing is known of it."""
    if entry.outcome.kind == "read":
        return False
    error = entry.outcome.error
    codes = {error.code, type(error).code} if isinstance(error, ProviderError) else set()
    if entry.outcome.kind == "cancelled" and entry.call.attempts:  # perhaps by the deadline, which has cut it short
        codes = {entry.call.attempts[-1].error_code} & {"deadline_exceeded"}
    elif "deadline_exceeded" in codes:
        return None
    return True if codes & set(breaker.counts) else None
