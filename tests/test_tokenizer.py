"""The offline tokenizer. What is expected was counted by ctok 1.3.0, whose vocabularies were measured."""

import string
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claudeprov.tokenizer import Tokenizer, tokenizer

OLD, NEW = tokenizer("claude-3"), tokenizer("claude-4.7")


@pytest.mark.parametrize(
    ("text", "old", "new"),
    [
        ("", 0, 0),
        ("hello, world", 3, 4),
        ("Hello World", 2, 4),  # a capital is a mark
        ("HELLO world API", 4, 6),  # only the old generation has one for words in capitals
        ("It's Tom's, isn't it?", 9, 12),
        ("a  b\n\n\tc", 6, 6),
        ("x = 1234567", 6, 6),  # three digits at a time
        ("def f(x: int) -> None:\n    return {'a': [x, 1]}", 22, 25),
        ("Grüße aus 東京, “zitiert”", 14, 16),
        ("Привет, мир! Как дела?", 12, 12),
        ("こんにちは世界。", 8, 8),
        ("مرحبا بالعالم", 10, 10),
        ("नमस्ते दुनिया", 11, 11),
        ("ok 🙂👍🏽", 10, 11),
        ("camelCase snake_case SCREAMING_CASE", 12, 18),
        ("the 'quoted' word", 6, 8),
        ("http://example.org/a?b=c&d=%20", 15, 16),
        ("word " * 49 + "word", 50, 50),
        ("e\u0301te\u0301", 1, 1),  # composed first
        ("---\n***\n===", 5, 5),
        ("x" * 40, 7, 40),
    ],
)
def test_a_text_is_so_many_tokens(text, old, new):
    assert (OLD.count(text), NEW.count(text)) == (old, new)


def test_what_the_service_drops_is_no_token():
    assert OLD.count("a\x07\x1b\ue001\r\nb") == OLD.count("a\nb")


def test_a_lone_surrogate_is_counted_and_no_error():
    assert OLD.count("\ud800") > 0


def test_a_long_run_without_spaces_takes_no_long_time():
    # 100,000 letters at random, of which hardly two make a piece; laid out in one go it would take minutes
    text = "".join(Random(1).choices(string.ascii_letters, k=100_000))
    assert 60_000 < OLD.count(text) < 100_000


def test_a_long_run_of_accents_takes_no_long_time():
    # each is put in order among those of its character: in one go that of 200,000 would take half a minute
    assert OLD.count("\u0301\u0316" * 100_000) > 100_000


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.text(), st.text())
def test_a_text_is_no_more_than_its_bytes_and_marks_and_two_are_no_more_than_both(one, other):
    for counter in (OLD, NEW):
        assert 0 <= counter.count(one) <= 3 * len(one.encode("utf-8", "replace"))
        assert counter.count(f"{one}\n{other}") <= counter.count(one) + counter.count(other) + 3


def test_only_the_latest_texts_are_remembered():
    counter = Tokenizer(
        {group: [] for group in ("whole", "start", "end", "inner", "title", "capitals", "bytes")} | CASES
    )
    for number in range(5_000):
        counter.count(f"text {number}")
    assert len(counter._counted) == 4_096


CASES = {"normalizes_quotes": False, "shortest_capitals": None}
