from __future__ import annotations

import json

import pytest

from claudeprov.cassette.diff import Change, changes, summary
from claudeprov.cassette.rules import Rules
from tests.cassette.sessions import REQUEST, TOOL, answer, block, exchange, recording, text

SAME = answer(text("Be", "cause."))


def told(old, new, **kwargs) -> list[tuple[str, str]]:
    return [(change.kind, change.text) for change in changes(recording(old), recording(new), **kwargs)]


def test_a_recording_differs_in_nothing_from_itself():
    same = recording(exchange(SAME), exchange({"type": "message", "content": []}), exchange(b"<p>"))
    assert changes(same, same) == []
    assert summary([]) == "no change in meaning"


def test_other_chunks_of_the_same_words_are_no_change():
    assert told(exchange(SAME), exchange(answer(text("Because", ".")))) == []


def test_other_words_are_told_with_their_likeness_and_are_no_change_of_the_grammar():
    old, new = exchange(answer(text("one two three four"))), exchange(answer(text("one two three five")))
    assert told(old, new) == [("words", 'text 75% alike, "one two three four" → "one two three five"')]
    assert summary(changes(recording(old), recording(new))) == (
        "the API's grammar is the same; changes by kind: words 1"
    )


def test_a_new_event_is_a_change_of_the_grammar_and_not_of_the_words():
    new = [*SAME[:-1], {"type": "message_note", "note": 1}, SAME[-1]]
    found = changes(recording(exchange(SAME)), recording(exchange(new)))
    assert found == [Change("grammar", "message_note", "is new")]
    assert summary(found) == "the API's grammar changed (message_note: is new)"


def test_each_difference_is_told_by_its_kind():
    tools = [block(TOOL, {"type": "input_json_delta", "partial_json": json.dumps({"at": place})}) for place in "ab"]
    old = exchange(answer(tools[0], usage={"output_tokens": 2}), served="one", times=[100_000] * 8)
    request = REQUEST | {"max_tokens": 10}
    new = exchange(
        answer(tools[1], stop="tool_use", usage={"output_tokens": 4}),
        request,
        headers={"anthropic-version": "2026-10-21"},
        served="two",
        times=[10_000] * 8,
    )
    assert told(old, new) == [
        ("parameters", "max_tokens: 9 → 10"),
        ("parameters", "anthropic-version: None → 2026-10-21"),
        ("model", "one → two"),
        ("tools", "look(at='a') → look(at='b')"),
        ("stop", "end_turn → tool_use"),
        ("usage", "output_tokens: 2 → 4"),
        ("timing", "first chunk 0.2 s → 0.02 s"),
        ("timing", "total 0.8 s → 0.08 s"),
    ]


def test_a_little_slower_is_no_change():
    assert told(exchange(SAME, times=[10] * 8), exchange(SAME, times=[14] * 8)) == []


def test_another_status_and_another_end_are_told():
    broken = {"end": "broken", "error": "ReadError: gone"}
    assert told(exchange(SAME), exchange(SAME[:3], **broken))[:2] == [
        ("outcome", "complete → broken"),
        ("stop", "end_turn → None"),
    ]
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "no"}}
    assert told(exchange(SAME), exchange(error, status=529))[0] == ("outcome", "status 200 → status 529")


def test_a_stream_that_leaves_the_grammar_where_the_old_one_did_not_is_a_change_of_the_grammar():
    new = [SAME[0], SAME[2], *SAME[3:]]
    assert ("grammar", "event 2, content_block_delta, must not stand there") in told(exchange(SAME), exchange(new))


def test_an_answer_that_is_no_message_is_compared_as_json():
    assert told(exchange({"input_tokens": 3}), exchange({"input_tokens": 4})) == [("words", "input_tokens: 3 → 4")]


def test_requests_are_compared_with_their_equals_in_whatever_order():
    first, second = (exchange(answer(text(word)), REQUEST | {"system": word}) for word in ("a", "b"))
    assert changes(recording(first, second), recording(second, first)) == []


def test_the_nth_of_equal_requests_is_compared_with_the_nth():
    one, two = exchange(answer(text("one"))), exchange(answer(text("two")))
    assert [change.place for change in changes(recording(one, one), recording(one, two))] == ["interaction 2"]


def test_requests_of_one_recording_only_are_named():
    models = exchange({"data": []})
    models[0].uri, models[0].method = "https://x/v1/models", "GET"
    assert told(exchange(SAME), models) == [
        ("requests", "is gone: POST /v1/messages qwen"),
        ("requests", "is new: GET /v1/models qwen"),
    ]


def test_what_is_ignored_in_requests_is_no_change():
    old, new = (exchange(SAME, REQUEST | {"metadata": {"user_id": name}}) for name in ("a", "b"))
    assert told(old, new) == [("parameters", 'metadata.user_id: "a" → "b"')]
    assert told(old, new, rules=Rules(["$.metadata.user_id"])) == []


@pytest.mark.parametrize("size", [3000, 300_000])
def test_long_texts_are_compared_by_their_beginning(size):
    old, new = (exchange(answer(text(f"{word} " * size))) for word in ("x", "y"))
    [(kind, what)] = told(old, new)
    assert kind == "words"
    assert what.startswith("text 0% alike")
