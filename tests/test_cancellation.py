"""Whoever stops reading, in whichever way and whenever: the connection is closed, and the service is not blamed."""

from __future__ import annotations

import asyncio

import pytest

import claudeprov
from claudeprov.errors import ServerError, StreamInterruptedError
from claudeprov.testing import text_events
from claudeprov.testing.clock import settle
from tests.server import Answer, Server
from tests.test_anthropic import refused, sse, streamed

HI = {"messages": [{"role": "user", "content": "Hi"}], "model": "claude-haiku-4-5", "max_tokens": 20}
PARTLY = Answer(sse(*text_events("Hel", "lo", model="claude-haiku-4-5")[:4]), end="hang")
SILENT = Answer(status=0, end="hang")
BUSY = refused(529, "overloaded_error")

pytestmark = pytest.mark.usefixtures("no_settings", "key")


@pytest.fixture
def key(monkeypatch, no_credentials):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "made-up")


class Watched:
    """A provider with every layer of the chain, and what has been seen of its calls."""

    def __init__(self, server, *overrides):
        self.server = server
        self.reached = asyncio.Event()
        self.provider = claudeprov.open_provider(
            [
                "endpoint=compatible",
                f"endpoint.base_url={server.url}",
                "cassette=live",
                "breaker.failures=1",
                "resume=standard",
                "fallback=standard",
                "fallback.reasons=[refusal]",
                *overrides,
            ]
        )

    def reach(self, name):
        """Take note when a layer posts *name*."""
        self.provider.notices.listen(lambda notice: notice.name == name and self.reached.set())

    async def is_blamed(self):
        """Whether the breaker, which one failure opens, refuses the next call."""
        self.server.answers = (streamed(),)
        try:
            await self.provider.send_message(HI)
        except claudeprov.CircuitOpenError:
            return True
        return False

    async def connections_are_closed(self):
        """Wait until the server has seen each of its connections end."""
        await asyncio.gather(*self.server._connections)


async def leave(stream, reached):
    async with stream:
        async for chunk in stream:
            if chunk.text:
                return


async def fail(stream, reached):
    async def read_and_fail():
        async with stream:
            async for chunk in stream:
                if chunk.text:
                    raise KeyError

    with pytest.raises(KeyError):
        await read_and_fail()


async def cancel_within(stream, reached):
    async for chunk in stream:
        if chunk.text:
            await stream.cancel()


async def read(stream, reached):
    async with stream:
        async for chunk in stream:
            if chunk.text:
                reached.set()


async def cancel_from_elsewhere(stream, reached):
    reader = asyncio.create_task(read(stream, reached))
    await reached.wait()
    await stream.cancel()
    await reader


async def cancel_the_task(stream, reached):
    reader = asyncio.create_task(read(stream, reached))
    await reached.wait()
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader


class TestWhileItIsRead:
    @pytest.mark.parametrize("stop", [leave, fail, cancel_within, cancel_from_elsewhere, cancel_the_task])
    async def test_it_counts_as_cancelled_and_its_connection_is_closed(self, stop):
        async with Server(PARTLY) as server, (watched := Watched(server)).provider as provider:
            stream = provider.send_message(HI)
            await stop(stream, watched.reached)
            await watched.connections_are_closed()
            with pytest.raises(StreamInterruptedError) as raised:
                await stream
            assert raised.value.code == "cancelled"
            assert stream.response.text.startswith("Hel")
            assert stream.response.cost.total_usd is None
            assert 0 < stream.response.cost.low_usd <= stream.response.cost.high_usd
            assert not await watched.is_blamed()

    async def test_a_bare_break_abandons_it_with_a_warning(self):
        async with Server(PARTLY) as server, (watched := Watched(server)).provider as provider:
            stream = provider.send_message(HI)
            async for chunk in stream:
                if chunk.text:
                    break
            with pytest.warns(ResourceWarning, match="was abandoned before its end"):
                await settle()
            await watched.connections_are_closed()
            assert repr(stream).endswith(": abandoned>")
            assert not await watched.is_blamed()

    async def test_closing_the_provider_cancels_it(self):
        async with Server(PARTLY) as server:
            watched = Watched(server)
            async with watched.provider as provider:
                stream = provider.send_message(HI)
                reader = asyncio.ensure_future(stream)
                await server.hanging.wait()
            with pytest.raises(StreamInterruptedError):
                await reader
            await watched.connections_are_closed()


@pytest.mark.parametrize("stop", [cancel_from_elsewhere, cancel_the_task])
class TestBeforeItIsOpen:
    async def test_while_an_attempt_waits_for_its_answer(self, stop):
        async with Server(SILENT) as server, (watched := Watched(server)).provider as provider:
            stream = provider.send_message(HI)
            await stop(stream, server.hanging)
            await watched.connections_are_closed()
            assert [attempt.error_code for attempt in stream.response.attempts] == ["cancelled"]
            assert not await watched.is_blamed()

    async def test_while_it_backs_off(self, stop):
        overrides = "retry.overloaded_base=1000", "retry.overloaded_cap=1000", "retry.budget=1000", "deadline.total=1e6"
        async with Server(BUSY) as server, (watched := Watched(server, *overrides)).provider as provider:
            watched.reach("retry.waiting")
            stream = provider.send_message(HI)
            await stop(stream, watched.reached)
            assert not stream.active
            assert [attempt.error_code for attempt in stream.response.attempts] == ["overloaded"]
            assert not await watched.is_blamed()

    async def test_while_it_queues(self, stop):
        overrides = ["ratelimit=start", "ratelimit.requests=6"]
        async with Server(streamed()) as server, (watched := Watched(server, *overrides)).provider as provider:
            await provider.send_message(HI)
            watched.reach("ratelimit.waiting")
            stream = provider.send_message(HI)
            await stop(stream, watched.reached)
            assert not stream.active
            assert stream.response.attempts == ()
            assert len(server.asked) == 1

    async def test_while_a_continuation_waits_for_its_answer(self, stop):
        breaks = Answer(sse(*text_events("Hel")[:3]), end="reset")
        async with Server(breaks, SILENT) as server, Watched(server, "breaker.failures=9").provider as provider:
            stream = provider.send_message(HI)
            await stop(stream, server.hanging)
            assert repr(stream).endswith(": cancelled>")
            assert stream.response.text == "Hel"
            await asyncio.gather(*server._connections)


async def test_what_fails_is_blamed():
    async with Server(Answer(status=500)) as server, (watched := Watched(server, "retry=off")).provider as provider:
        with pytest.raises(ServerError):
            await provider.send_message(HI)
        assert await watched.is_blamed()


async def test_no_task_is_left_of_it():
    async with Server(PARTLY) as server, (watched := Watched(server)).provider as provider:
        tasks = []
        for stop in [leave, cancel_within, cancel_from_elsewhere] * 2:
            await stop(provider.send_message(HI), asyncio.Event())
            await watched.connections_are_closed()
            await settle()
            tasks.append(len(asyncio.all_tasks()))
        assert tasks == [tasks[0]] * 6
