"""Time, handed in."""

from __future__ import annotations

import asyncio
import math
from datetime import datetime

import pytest

from claudeprov.clock import SYSTEM_CLOCK, day_of, month_of, within
from claudeprov.testing import ManualClock
from claudeprov.testing.clock import settle


class Late(Exception):
    pass


@pytest.fixture
def clock():
    return ManualClock()


async def after(clock, seconds, error=None):
    await clock.sleep(seconds)
    if error is not None:
        raise error
    return "done"


async def test_what_ends_in_time_gives_its_value(clock):
    assert await clock.run(within(clock, 10, after(clock, 9), Late)) == "done"


async def test_what_does_not_is_cancelled_and_the_given_error_raised(clock):
    with pytest.raises(Late) as raised:
        await clock.run(within(clock, 10, after(clock, math.inf), Late))
    assert clock.monotonic() == 10
    assert isinstance(raised.value.__cause__, TimeoutError)


async def test_a_time_that_has_passed_already_is_none(clock):
    with pytest.raises(Late):
        await clock.run(within(clock, -1, after(clock, 1), Late))
    assert clock.monotonic() == 0


async def test_a_timeout_of_its_own_goes_on_as_it_is(clock):
    own = TimeoutError("another")
    with pytest.raises(TimeoutError) as raised:
        await clock.run(within(clock, 10, after(clock, 9, own), Late))
    assert raised.value is own


async def test_a_cancellation_from_outside_stays_one(clock):
    task = asyncio.ensure_future(within(clock, 10, after(clock, math.inf), Late))
    await clock.advance(5)
    task.cancel()
    await settle()
    assert task.cancelled()


async def test_it_works_with_the_machines_own_clock():
    with pytest.raises(Late):
        await within(SYSTEM_CLOCK, 0, after(SYSTEM_CLOCK, 3600), Late)


@pytest.mark.parametrize(
    ("at", "day", "month"),
    [
        ("2026-12-31T23:59:59+00:00", ("2026-12-31", "2027-01-01"), ("2026-12-01", "2027-01-01")),
        ("2027-01-01T00:00:00+00:00", ("2027-01-01", "2027-01-02"), ("2027-01-01", "2027-02-01")),
        ("2028-02-29T12:00:00+00:00", ("2028-02-29", "2028-03-01"), ("2028-02-01", "2028-03-01")),
        ("2026-12-01T01:00:00+02:00", ("2026-11-30", "2026-12-01"), ("2026-11-01", "2026-12-01")),
    ],
)
def test_days_and_months_are_those_of_utc(at, day, month):
    moment = datetime.fromisoformat(at)
    for found, dates in ((day_of(moment), day), (month_of(moment), month)):
        assert [edge.isoformat() for edge in found] == [f"{date}T00:00:00+00:00" for date in dates]
