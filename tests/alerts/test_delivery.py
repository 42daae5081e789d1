"""The way of alerts to a channel: tried again, bounded, and in nobody's way."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from random import Random

import pytest

from claudeprov.alerts.channel import NotDeliveredError, Webhook
from claudeprov.alerts.delivery import ATTEMPTS, CLOSING, WAITING, Delivery
from claudeprov.testing import ManualClock
from claudeprov.testing.clock import settle
from tests.alerts.made import alert
from tests.server import Answer, Server


class Failing:
    """A channel that fails as it is told, then delivers; it takes *seconds*."""

    def __init__(self, clock, *errors, seconds=0.0):
        self.clock, self.errors, self.seconds = clock, list(errors), seconds
        self.tried, self.got = [], []

    async def send(self, alert):
        self.tried.append(self.clock.monotonic())
        if self.seconds:
            await self.clock.sleep(self.seconds)
        if self.errors and (error := self.errors.pop(0)):
            raise error
        self.got.append(alert.id)

    async def close(self):
        pass


AWAY = NotDeliveredError("away", passes=True)
REFUSED = NotDeliveredError("refused", passes=False)


@pytest.fixture
def clock():
    return ManualClock()


@asynccontextmanager
async def delivering(channel, clock):
    delivery = Delivery("pager", channel, timeout=10.0, clock=clock, random=Random(1))
    task = asyncio.ensure_future(delivery.run())
    yield delivery
    task.cancel()
    await asyncio.wait([task])


async def test_alerts_arrive_in_order(clock):
    channel = Failing(clock)
    async with delivering(channel, clock) as delivery:
        for number in range(5):
            delivery.put(alert(id=str(number)))
        await settle()
    assert channel.got == ["0", "1", "2", "3", "4"]


async def test_what_may_pass_is_tried_again_with_growing_waits(clock):
    channel = Failing(clock, *[AWAY] * (ATTEMPTS - 1))
    async with delivering(channel, clock) as delivery:
        delivery.put(alert())
        await clock.advance(300)
    assert channel.got == ["alert_1"]
    waits = [after - before for before, after in zip(channel.tried, channel.tried[1:], strict=False)]
    assert all(2**number / 2 <= wait <= 2**number for number, wait in enumerate(waits[:6]))
    assert 30 <= waits[6] <= 60


async def test_the_waits_of_two_processes_differ(clock):
    channel = Failing(clock, *[AWAY] * 3)
    async with delivering(channel, clock) as delivery:
        delivery.put(alert())
        await clock.advance(60)
    random = Random(1)
    waits = [2**number * random.uniform(0.5, 1) for number in range(3)]
    assert channel.tried == pytest.approx([0, waits[0], sum(waits[:2]), sum(waits)])


async def test_what_never_arrives_is_given_up_and_logged_and_the_next_still_goes(clock, caplog):
    channel = Failing(clock, *[AWAY] * ATTEMPTS, REFUSED, RuntimeError("a bug"))
    async with delivering(channel, clock) as delivery:
        for number in range(4):
            delivery.put(alert(id=str(number)))
        await clock.advance(600)
    assert (channel.got, len(channel.tried)) == (["3"], ATTEMPTS + 3)
    assert [record.message.partition(": slow")[0] for record in caplog.records] == [
        "an alert could not be delivered by pager: away",
        "an alert could not be delivered by pager: refused",
        "the channel pager failed at an alert",
    ]


async def test_an_attempt_is_bounded(clock):
    channel = Failing(clock, seconds=1e6)
    async with delivering(channel, clock) as delivery:
        delivery.put(alert())
        await clock.advance(10)
        assert len(channel.tried) == 1
        await clock.advance(1000)
    assert len(channel.tried) == ATTEMPTS


async def test_only_so_many_wait_and_the_oldest_is_dropped(clock, caplog):
    channel = Failing(clock)
    async with delivering(channel, clock) as delivery:
        for number in range(WAITING + 7):
            delivery.put(alert(id=str(number)))
        assert delivery.dropped == 7
        await settle()
    assert channel.got == [str(number) for number in range(7, WAITING + 7)]
    assert [record.message for record in caplog.records] == [
        f"alerts by pager are dropped, the oldest first: {WAITING} wait"
    ]


async def test_closing_waits_for_what_can_be_delivered_but_not_for_ever(clock, caplog):
    async with delivering(Failing(clock, AWAY), clock) as delivery:
        delivery.put(alert())
        await settle()
        await clock.run(delivery.flush())
        assert clock.monotonic() <= 1
    async with delivering(Failing(clock, seconds=1e6), clock) as delivery:
        delivery.put(alert())
        delivery.put(alert())
        await settle()
        before = clock.monotonic()
        await clock.run(delivery.flush())
        assert clock.monotonic() == before + CLOSING
    assert caplog.records[-1].message == "alerts by pager were not delivered: 2"


async def test_a_receiver_that_has_failed_gets_it_after_all(clock):
    async with Server(Answer(status=500), Answer()) as receiver:
        webhook = Webhook(receiver.url, "json")
        async with delivering(webhook, clock) as delivery, asyncio.timeout(10):
            delivery.put(alert())
            while len(receiver.asked) < 2:
                await clock.step()  # to its next try, or to nothing while the network is busy
                await asyncio.sleep(0)
            await delivery.flush()
        await webhook.close()
    assert [asked.body["id"] for asked in receiver.asked] == ["alert_1"] * 2


async def test_a_receiver_that_never_answers_is_left(clock, caplog):
    async with Server(Answer(status=0, end="hang")) as receiver:
        webhook = Webhook(receiver.url, "json")
        async with delivering(webhook, clock) as delivery:
            delivery.put(alert())
            async with asyncio.timeout(10):
                await receiver.hanging.wait()
            await clock.advance(10)
            await clock.run(delivery.flush())
        await webhook.close()
    assert "alerts by pager were not delivered: 1" in caplog.text
