"""The layer: what it takes down, when it looks at the rules, and what never happens to a call because of it."""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import UTC, datetime
from random import Random

import pytest

import claudeprov
from claudeprov.alerts.baseline import Baselines, without_ledger
from claudeprov.errors import ConfigurationError, ServerError
from claudeprov.middleware.alerts import Alerts
from claudeprov.notice import Notices
from claudeprov.testing import ManualClock, ScriptedProvider, check_middleware, text_events
from claudeprov.testing.clock import settle
from tests.alerts.made import NOON, alerts, rule
from tests.ledger.rows import ledger, row
from tests.server import Answer, Server

HI = {"messages": [{"role": "user", "content": "Hi"}], "model": "claude-haiku-4-5"}


@pytest.fixture(autouse=True)
def key(no_settings, no_credentials, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "none")


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def notices(clock):
    return Notices(clock)


class Pager:
    """A channel that keeps what it gets, or fails."""

    def __init__(self, error=None):
        self.error, self.got, self.closed = error, [], False

    async def send(self, alert):
        if self.error:
            raise self.error
        self.got.append(alert)

    async def close(self):
        self.closed = True


def made(clock, notices, settings, baselines=None, **channels):
    settings = settings.model_copy(update={"channels": dict.fromkeys(channels, settings.channels["log"])})
    return Alerts(
        settings,
        clock=clock,
        random=Random(1),
        notices=notices,
        baselines=baselines or Baselines(without_ledger, clock),
        channels=channels,
    )


async def test_keeps_the_contract(clock, notices):
    settings = claudeprov.open_provider(["alerts=standard"]).settings.alerts
    await check_middleware(lambda: made(clock, notices, settings, pager=Pager()), clock=clock)


async def test_an_alert_fires_and_is_resolved_though_no_call_comes(clock, notices):
    heard, pager = [], Pager()
    notices.listen(heard.append)
    layer = made(clock, notices, alerts(errors=rule("error_rate", above=0.5, pending_for=60)), pager=pager)
    await layer.open()
    provider = ScriptedProvider(ServerError("no"), layers=[layer], clock=clock)
    for _ in range(3):
        with pytest.raises(ServerError):
            await provider.send_message(HI, tags={"run": "r7"})
    await clock.advance(600)
    await clock.run(layer.close())
    assert [(alert.state, (alert.at - alert.since).total_seconds()) for alert in pager.got] == [
        ("firing", 60),
        ("resolved", 285),
    ]
    assert [notice.name for notice in heard] == ["alert.firing", "alert.resolved"]
    assert (
        heard[0].fields["message"] == "errors firing: errors 100 %, the threshold is 50 %, in 3 calls of the last 5 min"
    )
    assert (heard[0].fields["run"], heard[0].call_id) == ("r7", None)
    assert pager.closed


@pytest.mark.parametrize(
    ("measure", "threshold", "said"),
    [
        ("latency", {"above": 5}, "p95 latency 6 s"),
        ("first_chunk", {"above": 2}, "p95 time to first chunk 2 s"),
        ("throughput", {"below": 1}, "throughput 0.333 tokens/s"),
        ("refusals", {"above": 1}, "refusals 100 %"),
        ("cost_rate", {"above": 0.0001}, "cost 0.000132 USD/h"),
    ],
)
async def test_each_measure_is_taken_from_the_call(clock, notices, measure, threshold, said):
    start, *rest = text_events("a", "b", model="claude-haiku-4-5-20251001", stop_reason="refusal")
    pager = Pager()
    layer = made(clock, notices, alerts(x=rule(measure, per="model", **threshold)), pager=pager)
    await layer.open()
    await clock.run(ScriptedProvider([2, start, 4, *rest], layers=[layer], clock=clock).send_message(HI))
    await layer.evaluate()
    await settle()
    assert pager.got[0].message.startswith(f"x firing: {said} for claude-haiku-4-5, the threshold is")
    await layer.close()


async def test_calls_that_are_left_count_for_what_they_have_told(clock, notices):
    pager = Pager()
    rules = {"errors": rule("error_rate", above=0.1), "start": rule("first_chunk", above=1)}
    layer = made(clock, notices, alerts(**rules), pager=pager)
    await layer.open()
    start, *rest = text_events("a")
    stream = ScriptedProvider([2, start, 4, *rest], layers=[layer], clock=clock).send_message(HI)
    task = asyncio.ensure_future(anext(aiter(stream)))
    await clock.run(task)
    await stream.cancel()
    await layer.evaluate()
    await settle()
    assert [alert.name for alert in pager.got] == ["start"]
    await layer.close()


async def test_a_call_knows_nothing_of_a_channel_that_fails_or_of_a_ledger_that_does_not_answer(clock, notices, caplog):
    def ask(questions):
        raise RuntimeError("a bug")

    settings = alerts(slow=rule(times_baseline=2), errors=rule("error_rate", above=0.1))
    layer = made(
        clock, notices, settings, Baselines(ask, clock), broken=Pager(RuntimeError("a bug")), pager=(pager := Pager())
    )
    await layer.open()
    provider = ScriptedProvider(ServerError("no"), "Hello", layers=[layer], clock=clock)
    with pytest.raises(ServerError):
        await provider.send_message(HI)
    await clock.advance(30)
    assert (await provider.send_message(HI)).text == "Hello"
    assert [alert.name for alert in pager.got] == ["errors"]
    assert "the channel broken failed at an alert" in caplog.text
    await layer.close()


async def test_rules_are_looked_at_again_after_a_look_that_failed(clock, notices, caplog, monkeypatch):
    layer = made(clock, notices, alerts(errors=rule("error_rate", above=0.1)))
    looks = []

    async def fail():
        looks.append(clock.monotonic())
        raise RuntimeError("a bug")

    await layer.open()
    with monkeypatch.context() as patched:
        patched.setattr(layer, "evaluate", fail)
        await clock.advance(45)
    assert looks == [15, 30, 45]
    assert "could not be looked at" in caplog.text
    await layer.close()


async def test_closing_is_bounded_and_leaves_no_task(clock, notices):
    class Stuck(Pager):
        async def send(self, alert):
            await asyncio.Event().wait()

    before = asyncio.all_tasks()
    layer = made(clock, notices, alerts(errors=rule("error_rate", above=0.1)), one=Stuck(), two=Stuck())
    await layer.open()
    with pytest.raises(ServerError):
        await ScriptedProvider(ServerError("no"), layers=[layer], clock=clock).send_message(HI)
    await clock.run(layer.close())
    assert clock.monotonic() == 5
    await layer.close()
    assert asyncio.all_tasks() == before


async def test_calls_go_on_while_the_rules_are_looked_at(clock, notices):
    layer = made(clock, notices, alerts(slow=rule(above=10, per="model")))
    await layer.open()
    provider = ScriptedProvider(*["Hello"] * 20, layers=[layer], clock=clock)
    for number in range(20):
        await provider.send_message(HI | {"model": f"m{number}"})
    turns = 0

    async def count():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.ensure_future(count())
    await layer.evaluate()
    counting.cancel()
    assert turns >= 20
    await layer.close()


async def test_a_call_that_is_cancelled_before_its_stream_is_no_failure(clock, notices):
    layer = made(clock, notices, alerts(errors=rule("error_rate", above=0.01)), pager=(pager := Pager()))
    await layer.open()

    async def never(call):
        await asyncio.Event().wait()

    provider = ScriptedProvider("Hello", layers=[layer, lambda call, call_next: never(call)], clock=clock)
    task = asyncio.ensure_future(anext(aiter(provider.send_message(HI))))
    await settle()
    task.cancel()
    await asyncio.wait([task])
    await layer.evaluate()
    await settle()
    assert pager.got == []
    assert len(layer._monitor._windows["whole"][None]) == 1
    await layer.close()


class Unreadable:
    """A tag that cannot be told."""

    def __str__(self):
        raise RuntimeError("a tag's bug")


async def test_a_call_is_none_the_worse_for_a_tag_that_cannot_be_told(clock, notices, caplog):
    layer = made(clock, notices, alerts(errors=rule("error_rate", above=0.5)))
    provider = ScriptedProvider(ServerError("its own"), "Hello", layers=[layer], clock=clock)
    with pytest.raises(ServerError, match="its own"):
        await provider.send_message(HI, tags={"run": Unreadable()})
    assert (await provider.send_message(HI, tags={"run": Unreadable()})).text == "Hello"
    assert caplog.text.count("alerts could not take down the call") == 2


async def test_closing_that_is_cancelled_still_gives_back_all_that_it_holds(clock, notices, caplog):
    class Stuck(Pager):
        async def send(self, alert):
            await asyncio.Event().wait()

        async def close(self):
            await super().close()
            raise RuntimeError("a bug")

    before = asyncio.all_tasks()
    one, two = Stuck(), Stuck()
    layer = made(clock, notices, alerts(errors=rule("error_rate", above=0.1)), one=one, two=two)
    await layer.open()
    with pytest.raises(ServerError):
        await ScriptedProvider(ServerError("no"), layers=[layer], clock=clock).send_message(HI)
    closing = asyncio.ensure_future(layer.close())
    await settle()
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert asyncio.all_tasks() == before
    assert (one.closed, two.closed, notices._listeners) == (True, True, ())
    assert "the channel one could not be closed" in caplog.text


async def test_nobody_listens_once_a_provider_is_disposed_of():
    async with answering() as service:
        provider = claudeprov.open_provider(chosen(service))
        for _ in range(20):
            await provider.initialize()
            assert provider.notices._listeners
            await provider.dispose()
        assert provider.notices._listeners == ()


ANY = "+alerts.rules.any={measure: latency, above: 0.000001, minimum_calls: 1}"
HOOK = "+alerts.channels.hook={kind: webhook, url_env: HOOK}"
PATH = "/nobody-may-see-this"


def answering():
    """A service that answers every call."""
    events = (f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in text_events("Hello"))
    return Server(Answer("".join(events).encode()))


def chosen(service, *overrides):
    return ["alerts=standard", "alerts.interval=0.1", "cassette=live", f"endpoint.base_url={service.url}", *overrides]


@pytest.mark.parametrize("answer", [Answer(), Answer(status=0, end="hang")], ids=["answers", "is silent"])
async def test_a_provider_tells_a_real_receiver_and_no_call_waits_for_it(monkeypatch, capfd, caplog, answer):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr("claudeprov.alerts.delivery.CLOSING", 0.2)
    fired = asyncio.Event()
    async with Server(answer) as receiver, answering() as service, asyncio.timeout(20):
        monkeypatch.setenv("HOOK", receiver.url + PATH)
        async with claudeprov.open_provider(chosen(service, ANY, HOOK)) as provider:
            provider.notices.listen(lambda notice: fired.set() if notice.name == "alert.firing" else None)
            await provider.send_message(HI)
            await fired.wait()
            assert (await provider.send_message(HI)).text == "Hello"
    assert receiver.asked[0].body["rule"] == "any"
    assert PATH not in f"{provider.settings!r} {caplog.text} {capfd.readouterr()}"


async def test_a_replay_alerts_nobody():
    async with claudeprov.open_provider(["alerts=standard", HOOK, "cassette=replay"]) as provider:
        assert not any(isinstance(layer, Alerts) for layer in provider._layers)


async def test_a_variable_that_is_not_set_is_said_before_any_call(monkeypatch):
    monkeypatch.delenv("HOOK", raising=False)
    provider = claudeprov.open_provider(["alerts=standard", HOOK, "cassette=live"])
    with pytest.raises(ConfigurationError, match=r"alerts\.channels\.hook\.url_env = 'HOOK': the environment has no"):
        await provider.initialize()


async def test_a_provider_compares_with_its_own_ledger(tmp_path):
    ago = (datetime.now(UTC) - NOON).total_seconds()
    rows = [row(after=ago - 86400 * day, total=1e-6, model="claude-haiku-4-5") for day in range(1, 6)]
    ledger(tmp_path / "ledger.db", rows).close()
    much = "+alerts.rules.much={measure: latency, times_baseline: 2, minimum_calls: 1, per: model}"
    messages = []
    async with answering() as service, asyncio.timeout(20):
        overrides = chosen(service, "ledger=sqlite", f"ledger.path={tmp_path}/ledger.db", much)
        async with claudeprov.open_provider(overrides) as provider:
            fired = asyncio.Event()
            provider.notices.listen(lambda notice: fired.set() if notice.name == "alert.firing" else None)
            provider.notices.listen(lambda notice: messages.append(notice.fields.get("message")))
            await provider.send_message(HI)
            await fired.wait()
    assert "times last week's 1e-06 s" in messages[0]
