"""What a window holds, against lists that hold everything."""

from __future__ import annotations

import math
import tracemalloc
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claudeprov.alerts.measure import read
from claudeprov.alerts.window import SIZE, Window
from tests.alerts.made import rule, sample

GAPS = st.lists(st.sampled_from([0.0, 0.25, 1.0, 7.5, 60.0]), max_size=80)
ONE = st.fixed_dictionaries(
    {
        "failed": st.sampled_from([True, False, None]),
        "refused": st.booleans(),
        "latency": st.one_of(st.none(), st.integers(0, 50).map(float)),
        "tokens": st.integers(0, 1000),
        "served": st.integers(0, 20).map(float),
        "usd": st.integers(0, 10).map(float),
    }
)


@given(gaps=GAPS, after=st.sampled_from([0.0, 0.25, 30.0, 400.0]), seconds=st.sampled_from([0.25, 7.5, 60.0, 300.0]))
def test_it_slides_to_the_instant(gaps, after, seconds):
    window, ends, now = Window(), [], 0.0
    for gap in gaps:
        now += gap
        ends.append(now)
        window.add(sample(now))
        window.forget(now, 300.0)
    now += after
    assert [one.at for one in window.latest(now, seconds)] == [at for at in ends if now - at < seconds]


@given(calls=st.lists(ONE, max_size=60), percentile=st.sampled_from([1.0, 50.0, 95.0, 99.9, 100.0]))
def test_every_figure_is_that_of_its_definition(calls, percentile):
    samples = [sample(**call) for call in calls]
    judged = [call["failed"] for call in calls if call["failed"] is not None]
    assert read(rule("error_rate", above=0.1), samples, 60) == (
        sum(judged) / len(judged) if judged else None,
        len(judged),
    )
    refused = [call["refused"] for call in calls if call["failed"] is False]
    assert read(rule("refusals", above=0.1), samples, 60).value == (sum(refused) / len(refused) if refused else None)
    times = [call["latency"] for call in calls if call["latency"] is not None]
    value = read(rule(above=1, percentile=percentile), samples, 60).value
    if times:  # nearest rank: the least value that so many percent of the values do not exceed
        share = Fraction(str(percentile)) / 100
        assert value == min(x for x in times if sum(y <= x for y in times) >= share * len(times))
    else:
        assert value is None
    told = [call for call in calls if call["tokens"] and call["served"]]
    speed = sum(call["tokens"] for call in told) / sum(call["served"] for call in told) if told else None
    assert read(rule("throughput", below=1), samples, 60) == (speed, len(told))
    assert read(rule("cost_rate", above=1), samples, 60).value == math.fsum(call["usd"] for call in calls) * 60


def test_a_million_calls_take_no_more_memory_than_it_has_room_for():
    window = Window()
    tracemalloc.start()
    for number in range(2 * SIZE):
        window.add(sample(float(number)))
    full = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    one = sample(0.0)
    for number in range(2 * SIZE, 1_000_000):
        window.add(one._replace(at=number) if number % 100 == 0 else one)
    assert len(window) == SIZE
    assert full < 512 * SIZE


def test_what_is_too_much_for_it_is_no_lower_rate():
    window = Window()
    for number in range(3 * SIZE):
        window.add(sample(number / 100, usd=0.01))  # a dollar a second
    now, seconds = 3 * SIZE / 100, 3600.0
    figure = read(rule("cost_rate", above=1), window.latest(now, seconds), window.covered(now, seconds))
    assert figure.value == pytest.approx(3600, rel=0.01)
