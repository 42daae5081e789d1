"""The layer that tells observers of each call: what they see, and that they touch nothing."""

from __future__ import annotations

import asyncio
import logging
import math
from contextlib import contextmanager
from random import Random

import pytest

from claudeprov.errors import OverloadedError, ServerError
from claudeprov.middleware.retry import Retry
from claudeprov.middleware.telemetry import Telemetry
from claudeprov.notice import Notices
from claudeprov.settings.retry import RetrySettings
from claudeprov.settings.telemetry import TelemetrySettings
from claudeprov.telemetry import Observer
from claudeprov.telemetry.log import Log
from claudeprov.telemetry.names import Names
from claudeprov.testing import ManualClock, ScriptedProvider, check_middleware
from claudeprov.testing.clock import settle

HI = {"messages": [{"role": "user", "content": "Hi"}], "model": "claude-haiku-4-5"}


class Diary(Observer):
    """Writes down what it sees, under its name."""

    def __init__(self, seen, name="it"):
        self.seen = seen
        self.name = name

    def _write(self, *words):
        self.seen.append((self.name, *words))

    @contextmanager
    def opening(self, call):
        self._write("opening")
        try:
            yield
        except BaseException as error:
            self._write("not opened", type(error).__name__)
            raise
        self._write("opening is over")

    @contextmanager
    def attempting(self, call):
        self._write("attempt", len(call.attempts) + 1)
        try:
            yield
        finally:
            self._write("attempted", call.attempts[-1].error_code)

    def opened(self, call, stream):
        self._write("opened", stream.call is call)

    def ended(self, call, outcome, answered):
        self._write("ended", outcome.kind, answered().text)

    def noticed(self, notice):
        self._write(notice.name)

    def close(self):
        self._write("closed")


class Broken(Observer):
    """Fails at everything."""

    def __init__(self, at="entry"):
        self.at = at

    @contextmanager
    def opening(self, call):
        if self.at == "entry":
            raise KeyError("a bug")
        yield
        raise KeyError("a bug")

    attempting = opening

    def opened(self, call, stream):
        raise KeyError("a bug")

    def ended(self, call, outcome, answered):
        raise KeyError("a bug")

    def noticed(self, notice):
        raise KeyError("a bug")

    def close(self):
        raise KeyError("a bug")


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def seen():
    return []


@pytest.mark.parametrize("form", ["none", "quiet", "listening", "broken"])
async def test_keeps_the_contract(form, caplog):
    caplog.set_level(logging.INFO if form == "listening" else logging.CRITICAL, logger="claudeprov")
    observers = {"none": [], "broken": [Broken(), Broken("exit")]}.get(form, [Names(), Log(TelemetrySettings())])
    await check_middleware(lambda: Telemetry(observers))


async def test_an_observer_sees_a_call_from_its_opening_to_its_end(seen, clock):
    notices = Notices(clock)
    retry = Retry(RetrySettings(), clock=clock, random=Random(1), notices=notices)
    layers = [Telemetry([Diary(seen)], notices), retry]
    await clock.run(ScriptedProvider(OverloadedError("529"), "Hello", layers=layers, clock=clock).send_message(HI))
    assert [words[1:] for words in seen] == [
        ("opening",),
        ("attempt", 1),
        ("attempted", "overloaded"),
        ("retry.waiting",),
        ("attempt", 2),
        ("attempted", None),
        ("opening is over",),
        ("opened", True),
        ("ended", "read", "Hello"),
    ]


async def test_the_first_to_see_a_call_begin_is_the_last_to_see_it_end(seen):
    layer = Telemetry([Diary(seen, "first"), Diary(seen, "second")])
    await ScriptedProvider("Hello", layers=[layer]).send_message(HI)
    at = {what: [who for who, name, *_ in seen if name == what] for _, what, *_ in seen}
    assert at.pop("attempted") == at.pop("opening is over") == at.pop("ended") == ["second", "first"]
    assert set(map(tuple, at.values())) == {("first", "second")}


@pytest.mark.parametrize("error", [ServerError("500"), RuntimeError("a bug")])
async def test_a_call_that_cannot_be_opened_ends(seen, error):
    with pytest.raises(type(error)):
        await ScriptedProvider(error, layers=[Telemetry([Diary(seen)])]).send_message(HI)
    assert seen[-2:] == [("it", "not opened", type(error).__name__), ("it", "ended", "failed", "")]


async def test_a_call_that_is_cancelled_while_it_opens_ends(seen, clock):
    provider = ScriptedProvider([math.inf, "never"], layers=[Telemetry([Diary(seen)])], clock=clock)
    task = asyncio.ensure_future(provider.send_message(HI))
    await settle()
    task.cancel()
    await settle()
    assert seen[-1] == ("it", "ended", "cancelled", "")


@pytest.mark.parametrize("at", ["entry", "exit"])
async def test_an_observer_that_fails_touches_neither_the_call_nor_the_others(seen, clock, caplog, at):
    notices = Notices(clock)
    layer = Telemetry([Broken(at), Diary(seen), Broken(at)], notices)
    response = await ScriptedProvider("Hello", layers=[layer]).send_message(HI)
    notices.post("breaker.changed")
    await layer.close()
    assert response.text == "Hello"
    assert [words[1] for words in seen] == [
        *("opening", "attempt", "attempted", "opening is over", "opened", "ended"),
        *("breaker.changed", "closed"),
    ]
    assert caplog.text.count("KeyError: 'a bug'") == 12


async def test_the_error_of_a_call_comes_through_an_observer_that_fails():
    with pytest.raises(ServerError):
        await ScriptedProvider(ServerError("500"), layers=[Telemetry([Broken(), Broken("exit")])]).send_message(HI)


async def test_nothing_is_held_or_left_for_what_no_observer_wants_to_see():
    async with ScriptedProvider("Hello", layers=[Telemetry([Observer()])]).send_message(HI) as stream:
        assert stream._call.around == []
    async with ScriptedProvider("Hello", layers=[Telemetry()]).send_message(HI) as stream:
        assert stream._stream._ends == []


async def test_a_call_that_passes_twice_is_told_of_each_attempt_once(seen):
    async def twice(call, call_next):
        await (await call_next(call)).close()
        return await call_next(call)

    await ScriptedProvider("a", "b", layers=[twice, Telemetry([Diary(seen)])]).send_message(HI)
    assert [words[1:] for words in seen if words[1] == "attempt"] == [("attempt", 1), ("attempt", 2)]


async def test_what_sends_is_closed_before_the_observers_who_tell_it_of_states_to_the_end(seen):
    async def close():
        seen.append(("exporter", "closed"))

    await Telemetry([Diary(seen)], close=close).close()
    assert seen == [("exporter", "closed"), ("it", "closed")]


async def test_observers_are_closed_even_where_what_sends_cannot_be(seen):
    async def close():
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        await Telemetry([Diary(seen)], close=close).close()
    assert seen == [("it", "closed")]


async def test_a_later_pass_of_a_call_has_its_own_attempts_and_waits(clock):
    told = []

    class Ended(Observer):
        def ended(self, call, outcome, answered):
            response = answered()
            told.append((len(response.attempts), response.timing.queue, response.timing.backoff))

    async def twice(call, call_next):
        await (await call_next(call)).close()
        return await call_next(call)

    async def wait(call, call_next):
        call.queue += 3
        call.backoff += 2
        return await call_next(call)

    await ScriptedProvider("a", "b", layers=[twice, Telemetry([Ended()]), wait]).send_message(HI)
    assert told == [(1, 3, 2), (1, 3, 2)]


async def test_a_closed_layer_hears_no_more(seen, clock):
    notices = Notices(clock)
    layer = Telemetry([Diary(seen)], notices)
    notices.post("retry.waiting")
    await layer.close()
    told = list(seen)
    notices.post("retry.waiting")
    assert seen == told
    assert any("retry.waiting" in words for words in told)


async def test_the_answer_is_not_put_together_where_nobody_asks_for_it(monkeypatch, caplog):
    monkeypatch.setattr("claudeprov.middleware.telemetry.response_of", lambda *_: pytest.fail("it holds all text"))
    layer = Telemetry([Names(), Log(TelemetrySettings())])
    async with ScriptedProvider("Hello", layers=[layer]).send_message(HI) as stream:
        async for _ in stream:
            pass
    assert stream.outcome.kind == "read"
    assert not caplog.records
