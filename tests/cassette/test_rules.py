from __future__ import annotations

import json

import pytest

from claudeprov.cassette.match import Sent
from claudeprov.cassette.rules import Rules

URL = "https://api.anthropic.com/v1/messages"


def key(rules: Rules, body: object) -> bytes:
    return Sent("POST", URL, json.dumps(body).encode(), rules).key


@pytest.mark.parametrize(
    ("ignore", "recorded", "sent"),
    [
        ("$.metadata.user_id", {"metadata": {"user_id": "a", "x": 1}}, {"metadata": {"user_id": "b", "x": 1}}),
        ("$.metadata.user_id", {"metadata": {"user_id": "a"}}, {"metadata": {}}),
        ("$.metadata", {"metadata": {"user_id": "a"}}, {}),
        ("$.messages[0].content", {"messages": [{"content": "a"}]}, {"messages": [{"content": "b"}]}),
        ("$.tools[*].description", {"tools": [{"description": "a"}, {}]}, {"tools": [{}, {"description": "b"}]}),
        ("$.stop[1]", {"stop": ["a", "b"]}, {"stop": ["a", "c"]}),
        ("timestamps", {"system": "It is 2026-11-22T10:00:00.123Z."}, {"system": "It is 2027-01-02 11:30."}),
        ("timestamps", {"system": [{"text": "on 2026-11-22"}]}, {"system": [{"text": "on 2027-01-02"}]}),
    ],
)
def test_what_is_ignored_does_not_count_on_either_side(ignore, recorded, sent):
    assert key(Rules(), recorded) != key(Rules(), sent)
    assert key(Rules([ignore]), recorded) == key(Rules([ignore]), sent)


@pytest.mark.parametrize(
    ("ignore", "recorded", "sent"),
    [
        ("$.metadata.user_id", {"metadata": {"user_id": "a", "x": 1}}, {"metadata": {"user_id": "a", "x": 2}}),
        ("$.messages[0].content", {"messages": [{}, {"content": "a"}]}, {"messages": [{}, {"content": "b"}]}),
        ("$.stop[1]", {"stop": ["a", "b"]}, {"stop": ["a"]}),
        ("timestamps", {"system": "10:30 on 22.11.2026"}, {"system": "10:31 on 22.11.2026"}),
    ],
)
def test_what_is_not_ignored_still_counts(ignore, recorded, sent):
    assert key(Rules([ignore]), recorded) != key(Rules([ignore]), sent)


def test_what_is_scrubbed_becomes_another_text_of_the_same_shape_always_the_same():
    rules = Rules(scrub=[r"user-\d+", r"[\w.]+@acme\.test"])
    text = 'say "user-10203" to jürgen.k@acme.test, or user-10203'.encode()
    scrubbed = rules.scrubbed(text)
    assert b"10203" not in scrubbed
    assert b"acme" not in scrubbed
    assert len(scrubbed) == len(text)
    first, last = scrubbed.split(b'"')[1], scrubbed.split()[-1]
    assert first == last
    assert rules.scrubbed(text) == scrubbed


def test_json_stays_json_where_a_number_is_scrubbed():
    assert isinstance(json.loads(Rules(scrub=[r"\d{5}"]).scrubbed(b'{"account": 10203}'))["account"], int)


def test_bytes_that_are_no_text_stay():
    assert Rules(scrub=["abc"]).scrubbed(b"\xff abd") == b"\xff abd"


def test_a_match_that_only_the_joined_deltas_hold_is_noticed():
    def stream(*texts: str) -> bytes:
        deltas = [{"type": "content_block_delta", "index": 0, "delta": {"text": text}} for text in texts]
        return "".join(f"data: {json.dumps(event)}\n\n" for event in deltas).encode()

    rules = Rules(scrub=[r"user-\d+"])
    assert rules.torn(stream("for us", "er-12"))
    assert not rules.torn(stream("for ", "user-12"))
    assert not Rules().torn(stream("for us", "er-12"))
