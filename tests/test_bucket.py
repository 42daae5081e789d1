"""Token buckets: never more than the burst and what came in, however calls come, leave and are corrected."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from claudeprov.state import Limit
from claudeprov.state.bucket import MemoryBuckets, Pool, TokenBucket
from claudeprov.testing import ManualClock

SLOW = {"requests": Limit(rate=1.0, burst=2.0)}
"""60 a minute, two at once."""


def one(pool: Pool, now: float = 0.0, limits: Any = SLOW) -> float:
    return pool.take({"requests": 1.0}, limits, now)


class TestBucket:
    def test_holds_a_burst_and_is_refilled_continuously(self):
        pool = Pool()
        assert [one(pool), one(pool), one(pool)] == [0, 0, 1]
        assert one(pool, 0.75) == 0.25
        assert one(pool, 1) == 0
        assert one(pool, 1) == 1

    def test_holds_no_more_than_its_burst_however_long_it_rests(self):
        pool = Pool()
        one(pool)
        assert [one(pool, 3600), one(pool, 3600), one(pool, 3600)] == [0, 0, 1]

    def test_takes_of_all_counters_or_of_none(self):
        limits = {"requests": Limit(1, 10), "input_tokens": Limit(10, 100)}
        pool = Pool()
        assert pool.take({"requests": 1, "input_tokens": 90}, limits, 0) == 0
        assert pool.take({"requests": 1, "input_tokens": 60}, limits, 0) == 5
        assert pool.levels(0)["requests"].remaining == 9

    def test_the_rounding_of_many_small_refills_lets_nobody_wait_twice(self):
        pool, now, limits = Pool(), 0.0, {"requests": Limit(1000 / 60, 1)}
        for _ in range(1000):
            if wait := one(pool, now, limits):
                now += wait
                assert one(pool, now, limits) == 0

    def test_what_is_given_back_can_be_taken_at_once_but_is_not_added_to_a_full_bucket(self):
        pool = Pool()
        one(pool), one(pool)
        pool.give({"requests": 1}, 0)
        assert [one(pool), one(pool)] == [0, 1]
        pool.give({"requests": 50}, 0)
        assert pool.levels(0)["requests"].remaining == 2

    def test_a_correction_may_leave_a_debt_that_is_refilled_first(self):
        pool = Pool()
        one(pool)
        pool.give({"requests": -4}, 0)
        level = pool.levels(0)["requests"]
        assert (level.remaining, level.reset) == (-3, 5)
        assert one(pool) == 4

    def test_another_limit_is_taken_over_without_a_new_burst(self):
        pool = Pool()
        one(pool), one(pool)
        assert one(pool, 0, {"requests": Limit(10, 100)}) == 0.1
        assert one(pool, 1000, {"requests": Limit(1, 1)}) == 0
        assert one(pool, 1000, {"requests": Limit(1, 1)}) == 1

    def test_a_counter_without_a_bucket_is_no_matter(self):
        pool = Pool()
        pool.give({"input_tokens": -1000}, 0)
        pool.steer({"input_tokens": 0}, {"input_tokens": 60}, 0)
        assert one(pool) == 0


class TestHolding:
    def test_nobody_takes_until_it_is_over_then_one_and_the_others_at_the_rate(self):
        pool = Pool()
        assert one(pool) == 0
        pool.hold(30, 0)
        assert one(pool, 10) == 20
        assert [one(pool, 30), one(pool, 30), one(pool, 31)] == [0, 1, 0]

    def test_a_shorter_hold_does_not_end_a_longer_one(self):
        pool = Pool()
        one(pool)
        pool.hold(30, 0)
        pool.hold(5, 1)
        assert one(pool, 10) == 20

    def test_a_route_that_nobody_has_used_is_held_too(self):
        pool = Pool()
        pool.hold(30, 0)
        assert one(pool, 10) == 20


class TestSteering:
    def test_little_that_remains_is_spread_evenly_until_the_reset(self):
        pool = Pool()
        one(pool)
        pool.steer({"requests": 4}, {"requests": 40}, 0)
        assert one(pool) == 10
        assert [one(pool, 10), one(pool, 20), one(pool, 30), one(pool, 40)] == [0, 0, 0, 0]
        assert one(pool, 40) == 1

    def test_where_nothing_remains_nobody_takes_until_the_reset(self):
        pool = Pool()
        one(pool)
        pool.steer({"requests": 0}, {"requests": 30}, 0)
        assert one(pool) == 31
        assert one(pool, 30) == 1

    def test_the_latest_word_counts(self):
        pool = Pool()
        one(pool)
        pool.steer({"requests": 0}, {"requests": 60}, 0)
        pool.steer({"requests": 5}, {"requests": 50}, 0)
        assert one(pool) == 10
        pool.steer({"requests": 50}, {"requests": 0}, 0)
        assert one(pool) == 1

    def test_it_never_adds(self):
        pool = Pool()
        one(pool), one(pool)
        pool.steer({"requests": 60}, {"requests": 0}, 0)
        pool.steer({"requests": 50}, {"requests": 1}, 0)
        assert one(pool) == 1


AMOUNT = st.floats(0, 10)
STEP = st.one_of(
    st.tuples(st.just("rest"), st.floats(0, 30)),
    st.tuples(st.just("take"), AMOUNT),
    st.tuples(st.just("give"), st.floats(-20, 10)),
    st.tuples(st.just("hold"), st.floats(0, 20)),
    st.tuples(st.just("steer"), st.floats(0, 100), st.floats(0, 60)),
)


@given(st.lists(STEP, max_size=60), st.floats(0.01, 5), st.floats(10, 50))
def test_in_no_window_is_more_taken_than_burst_plus_rate_times_time(steps, rate, burst):
    pool, now = Pool(), 0.0
    limits = {"requests": Limit(rate, burst)}
    events: list[tuple[float, float, float]] = []  # when, taken, given back
    for kind, *values in steps:
        if kind == "rest":
            now += values[0]
        elif kind == "take" and pool.take({"requests": values[0]}, limits, now) == 0:
            events.append((now, values[0], 0))
        elif kind == "give":
            pool.give({"requests": values[0]}, now)
            events.append((now, 0, max(values[0], 0)))
        elif kind == "hold":
            pool.hold(values[0], now)
        elif kind == "steer":
            pool.steer({"requests": values[0]}, {"requests": values[1]}, now)
    for first, (start, *_) in enumerate(events):
        window = events[first:]
        for last, (end, *_) in enumerate(window):
            taken = sum(event[1] for event in window[: last + 1])
            given_back = sum(event[2] for event in window[: last + 1])
            assert taken <= burst + rate * (end - start) + given_back + 1e-4


@given(st.lists(STEP, max_size=30), AMOUNT)
def test_after_the_wait_that_it_tells_an_amount_can_be_taken(steps, amount):
    bucket, now = TokenBucket(Limit(0.5, 10), 0), 0.0
    for kind, *values in steps:
        if kind == "rest":
            now += values[0]
        elif kind == "take" and bucket.wait(values[0], now) == 0:
            bucket.give(-values[0], now)
        elif kind == "give":
            bucket.give(values[0], now)
        elif kind == "hold":
            bucket.restart(1, now + values[0])
        elif kind == "steer":
            bucket.steer(*values, now)
    wait = bucket.wait(amount, now)
    assert bucket.wait(amount, now + wait) <= 1e-6


async def test_routes_do_not_share_their_buckets():
    clock = ManualClock()
    buckets = MemoryBuckets(clock)
    for _ in range(2):
        assert await buckets.take("a", {"requests": 1}, SLOW) == 0
    buckets.hold("b", 7)
    assert await buckets.take("a", {"requests": 1}, SLOW) == 1
    assert await buckets.take("b", {"requests": 1}, SLOW) == 7
    await clock.advance(7)
    assert await buckets.take("b", {"requests": 1}, SLOW) == 0
    buckets.give("b", {"requests": -1})
    buckets.steer("b", {"requests": 0}, {"requests": 60})
    assert buckets.levels("b")["requests"].remaining == 0
