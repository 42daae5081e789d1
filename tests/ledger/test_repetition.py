from __future__ import annotations

from decimal import Decimal

import pytest

from claudeprov.ledger.repetition import repetitions, unread_writes
from claudeprov.pricing import Rates
from tests.ledger.rows import NOON, row

RATES = Rates(input="3", output="15", cache_write_5m="3.75", cache_write_1h="6", cache_read="0.3")
MODEL = "claude-sonnet-4-5-20250929"
END = NOON.timestamp() + 86400


def prompt(*prefixes, after=0.0, tokens=2000, **more):
    """A call whose prompt has so many tokens, each of one character, with the prefixes named."""
    text = " ".join(f"{name}:{length}" for name, length in prefixes)
    return row(after=after, input_tokens=tokens, first_chunk=1.0, total=5.0, prefixes=text, **more)


def found(*rows, minimum=1024, rates=RATES):
    return repetitions(rows, lambda row: rates, lambda model: minimum)


def usd(tokens, price):
    return Decimal(tokens) * Decimal(price) / 1_000_000


def test_a_prefix_that_returns_within_five_minutes_is_written_once_and_read_thereafter():
    (one,) = found(*(prompt(("sys", 1500), (f"all{n}", 2000), after=60.0 * n) for n in range(10)))
    assert (one.model, one.prefix, one.tokens, one.calls, one.lifetime) == (MODEL, "sys", 1500, 10, "5m")
    assert one.paid_usd == usd(20_000, 3)
    assert one.cached_usd == usd(1500, "3.75") + usd(9 * 1500, "0.3") + usd(10 * 500, 3)


def test_each_read_lengthens_the_life_of_an_entry_and_a_pause_ends_it():
    times = [0, 299, 598, 8000, 8100]
    (one,) = found(*(prompt(("sys", 2000), after=float(at)) for at in times))
    assert one.cached_usd == 2 * usd(2000, "3.75") + 3 * usd(2000, "0.3")
    assert one.lifetime == "5m"


def test_an_hour_is_chosen_where_five_minutes_are_too_short():
    (one,) = found(*(prompt(("sys", 2000), after=1200.0 * n) for n in range(6)))
    assert one.lifetime == "1h"
    assert one.cached_usd == usd(2000, 6) + usd(5 * 2000, "0.3")


def test_calls_that_start_before_the_first_answer_begins_read_nothing():
    together = [prompt(("sys", 2000), after=0.1 * n) for n in range(5)]
    assert found(*together) == []
    (one,) = found(*together, *(prompt(("sys", 2000), after=10.0 + n) for n in range(20)))
    assert one.cached_usd == 5 * usd(2000, "3.75") + 20 * usd(2000, "0.3")


def test_a_conversation_reads_the_turn_before_and_writes_the_rest():
    (one,) = found(
        prompt(("sys", 10), ("t1", 2000), after=0, tokens=2000),
        prompt(("sys", 10), ("t1", 2000), ("t2", 3000), after=30, tokens=3000),
        prompt(("sys", 10), ("t2", 3000), ("t3", 4000), after=60, tokens=4000),
    )
    assert (one.prefix, one.calls, one.tokens) == ("sys", 3, 2000)
    assert one.paid_usd == usd(9000, 3)
    assert one.cached_usd == usd(3000, "3.75") + usd(2000 + 3000, "0.3") + usd(1000, 3)


def test_what_repeats_too_seldom_is_no_saving():
    assert found(*(prompt(("sys", 2000), after=7200.0 * n) for n in range(9))) == []


def test_a_prompt_that_comes_once_is_not_cached():
    assert found(*(prompt((f"sys{n}", 2000)) for n in range(9))) == []


def test_what_is_shorter_than_the_models_minimum_is_not_cached():
    calls = [prompt(("sys", 1000), (f"all{n}", 2000), after=float(60 * n)) for n in range(10)]
    assert found(*calls) == []
    assert len(found(*calls, minimum=1000)) == 1
    assert found(*calls, minimum=None) == []


def test_calls_that_use_the_cache_already_need_no_advice():
    calls = [prompt(("sys", 1900), after=60.0 * n, tokens=100, cache_read_tokens=1900) for n in range(10)]
    assert found(*calls) == []


def test_without_a_price_nothing_is_estimated():
    assert found(*(prompt(("sys", 2000), after=60.0 * n) for n in range(9)), rates=Rates(input="3")) == []


def test_the_largest_saving_comes_first():
    few = [prompt(("few", 2000), after=60.0 * n) for n in range(3)]
    many = [prompt(("many", 2000), after=60.0 * n) for n in range(9)]
    assert [one.prefix for one in found(*few, *many)] == ["many", "few"]


def writes(*rows, now=END, rates=RATES):
    return list(unread_writes(rows, lambda row: rates, now=now))


def test_writes_that_nobody_reads_are_added_up_by_model():
    (one,) = writes(
        prompt(("a", 2000), cache_write_5m_tokens=2000, tokens=0),
        prompt(("b", 1000), cache_write_1h_tokens=1000, tokens=0),
    )
    assert (one.model, one.calls, one.tokens) == (MODEL, 2, 3000)
    assert one.paid_usd == usd(2000, "3.75") + usd(1000, 6)
    assert one.plain_usd == usd(3000, 3)


@pytest.mark.parametrize(
    ("after", "lifetime", "unread"), [(299, "5m", 0), (301, "5m", 1), (301, "1h", 0), (3601, "1h", 1)]
)
def test_a_write_is_read_by_a_call_that_comes_in_its_lifetime(after, lifetime, unread):
    written = prompt(("a", 2000), tokens=0, **{f"cache_write_{lifetime}_tokens": 2000})
    read = prompt(("a", 2000), ("b", 2010), after=after, tokens=10, cache_read_tokens=2000)
    assert len(writes(written, read)) == unread


def test_a_write_is_not_read_by_a_prompt_that_begins_otherwise_or_by_another_model():
    written = prompt(("a", 2000), tokens=0, cache_write_5m_tokens=2000)
    assert len(writes(written, prompt(("b", 2000), after=10, tokens=0, cache_read_tokens=2000))) == 1
    other = prompt(("a", 2000), after=10, tokens=0, cache_read_tokens=2000, served="claude-haiku-4-5-20251001")
    assert len(writes(written, other)) == 1


def test_a_reader_of_an_older_part_has_not_read_what_was_written_behind_it():
    turn = prompt(("sys", 1500), ("t1", 2000), tokens=0, cache_read_tokens=1500, cache_write_5m_tokens=500)
    other = prompt(("sys", 1500), ("t2", 2000), after=10, tokens=500, cache_read_tokens=1500)
    assert len(writes(turn, other)) == 1
    goes_on = prompt(("sys", 1500), ("t1", 2000), ("t3", 2500), after=10, tokens=500, cache_read_tokens=2000)
    assert writes(turn, goes_on) == []


def test_a_write_that_still_lives_may_yet_be_read():
    written = prompt(("a", 2000), tokens=0, cache_write_5m_tokens=2000)
    assert writes(written, now=NOON.timestamp() + 299) == []


@pytest.mark.parametrize("rates", [Rates(input="3"), Rates(cache_write_5m="3")])
def test_a_write_without_a_price_is_not_told(rates):
    assert writes(prompt(("a", 2000), tokens=0, cache_write_5m_tokens=2000), rates=rates) == []
