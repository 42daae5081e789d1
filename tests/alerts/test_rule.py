"""When a rule begins to be told, and when it is over."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claudeprov.alerts.rule import Watch
from tests.alerts.made import rule


def told(watch, looks):
    """What it tells at each of *looks*, pairs of a time and whether it is bad."""
    return [(now, change) for now, is_bad in looks if (change := watch.see(is_bad, now))]


def test_it_fires_once_it_has_been_bad_for_so_long():
    watch = Watch(rule(above=1, pending_for=30))
    assert told(watch, [(0, True), (15, True), (29, True), (30, True), (45, True)]) == [(30, "firing")]
    assert watch.since == 0


def test_one_good_look_begins_the_wait_anew():
    watch = Watch(rule(above=1, pending_for=30))
    assert told(watch, [(0, True), (15, True), (20, False), (30, True), (45, True)]) == []
    assert told(watch, [(60, True)]) == [(60, "firing")]


def test_it_is_resolved_once_it_has_been_good_for_so_long():
    watch = Watch(rule(above=1, clear_for=60))
    assert told(watch, [(0, True), (10, False), (60, False), (70, False)]) == [(0, "firing"), (70, "resolved")]


def test_flapping_is_one_alert():
    watch = Watch(rule(above=1, clear_for=60))
    looks = [(now, now % 30 == 0) for now in range(0, 3600, 15)]
    assert told(watch, looks) == [(0, "firing")]


def test_it_is_told_again_only_where_that_is_asked_for():
    always = [(now, True) for now in range(0, 3601, 15)]
    assert len(told(Watch(rule(above=1)), always)) == 1
    assert told(Watch(rule(above=1, repeat=1800)), always) == [(0, "firing"), (1800, "firing"), (3600, "firing")]


def test_a_bad_look_begins_the_wait_for_the_end_anew_also_where_it_is_told_again():
    for repeat in (None, 1000.0):
        watch = Watch(rule(above=1, clear_for=60, repeat=repeat))
        looks = [(0, True), (10, False), (40, True), (50, False), (80, False), (110, False)]
        assert told(watch, looks) == [(0, "firing"), (110, "resolved")]


def test_it_is_told_again_so_long_after_it_was_last_told_and_not_while_it_is_good():
    watch = Watch(rule(above=1, clear_for=60, repeat=30))
    looks = [(0, True), (20, True), (31, False), (35, True), (60, True), (65, True)]
    assert told(watch, looks) == [(0, "firing"), (35, "firing"), (65, "firing")]


def test_an_alert_keeps_its_id_until_it_is_resolved():
    watch = Watch(rule(above=1, repeat=10))
    ids = []
    for now, is_bad in [(0, True), (10, True), (20, False), (30, True)]:
        assert watch.see(is_bad, now)
        ids.append(watch.id)
    assert ids[0] == ids[1] == ids[2] != ids[3]


@pytest.mark.parametrize(
    ("given", "bad", "better", "good"),
    [
        ({"above": 10}, 10, 9.5, 8.9),
        ({"below": 10}, 10, 10.5, 11.1),
        ({"times_baseline": 2}, 10, 9.5, 8.9),
        ({"times_baseline": 0.5}, 2.5, 2.6, 2.8),
    ],
)
def test_what_fires_must_be_better_than_its_threshold_to_be_good(given, bad, better, good):
    watch = Watch(rule(**given))
    assert watch.is_bad(bad, 5, 5.0)
    assert not watch.is_bad(better, 5, 5.0)
    watch.see(True, 0)
    assert watch.is_bad(better, 5, 5.0)
    assert not watch.is_bad(good, 5, 5.0)


def test_all_thresholds_must_be_passed():
    watch = Watch(rule(above=10, times_baseline=2))
    assert not watch.is_bad(9, 5, 1.0)
    assert not watch.is_bad(11, 5, 6.0)
    assert watch.is_bad(12, 5, 6.0)


def test_few_calls_say_nothing_but_that_it_lasts():
    watch = Watch(rule(above=10, minimum_calls=20))
    assert not watch.is_bad(50, 19, None)
    assert watch.is_bad(50, 20, None)
    watch.see(True, 0)
    assert watch.is_bad(50, 1, None)
    assert not watch.is_bad(None, 0, None)


def test_without_a_baseline_nothing_is_compared():
    assert not Watch(rule(times_baseline=2)).is_bad(1e9, 1000, None)


def test_anything_is_more_than_a_baseline_of_nothing_except_nothing():
    watch = Watch(rule("error_rate", times_baseline=3))
    assert watch.is_bad(0.01, 100, 0.0)
    assert not watch.is_bad(0.0, 100, 0.0)


@given(st.lists(st.booleans(), max_size=60))
def test_firing_and_resolved_take_turns(looks):
    watch = Watch(rule(above=1, pending_for=2, clear_for=3))
    changes = [change for _, change in told(watch, enumerate(looks))]
    assert changes == ["firing", "resolved"] * (len(changes) // 2) + ["firing"] * (len(changes) % 2)
