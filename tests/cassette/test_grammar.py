from __future__ import annotations

import json

import pytest

from claudeprov.cassette.answer import answer_of
from claudeprov.cassette.grammar import grammar_changes, stream_problem
from claudeprov.cassette.interaction import interactions
from tests.cassette.sessions import TEXT, TOOL, answer, block, exchange, recording, text

START = {"type": "message_start", "message": {}}
OPEN = {"type": "content_block_start", "index": 0}
FILL = {"type": "content_block_delta", "index": 0, "delta": {}}
CLOSE = {"type": "content_block_stop", "index": 0}
DELTA = {"type": "message_delta"}
STOP = {"type": "message_stop"}
PING = {"type": "ping"}
ERROR = {"type": "error", "error": {}}
WHOLE = (START, PING, OPEN, FILL, FILL, CLOSE, {"type": "new_event"}, DELTA, DELTA, STOP)


def stream(*events: object) -> bytes:
    return b"".join(b"data: %s\n\n" % json.dumps(event).encode() for event in events)


@pytest.mark.parametrize(
    "events",
    [
        WHOLE,
        (START, DELTA, STOP),
        (START, OPEN, CLOSE, OPEN | {"index": 1}, CLOSE | {"index": 1}, DELTA, STOP),
        (ERROR,),
    ],
)
def test_a_stream_of_the_apis_grammar_has_no_problem(events):
    assert stream_problem(stream(*events), whole=True) is None


@pytest.mark.parametrize(
    ("events", "problem"),
    [
        ((OPEN,), "event 1, content_block_start, must not stand there"),
        ((START, START), "event 2, message_start, must not stand there"),
        ((START, FILL), "event 2, content_block_delta, must not stand there"),
        ((START, OPEN, OPEN), "event 3, content_block_start, must not stand there"),
        ((START, OPEN, FILL | {"index": 1}), "event 3, content_block_delta, must not stand there"),
        ((START, OPEN, DELTA), "event 3, message_delta, must not stand there"),
        ((START, CLOSE), "event 2, content_block_stop, must not stand there"),
        ((START, STOP), "event 2, message_stop, must not stand there"),
        ((*WHOLE, STOP), "event 11, message_stop, must not stand there"),
        ((*WHOLE, ERROR), "event 11, error, must not stand there"),
        ((START, [1]), "event 2 is no JSON object"),
        ((START, OPEN, FILL), "the stream ends without message_stop"),
        ((), "the stream ends without message_stop"),
    ],
)
def test_where_a_stream_leaves_the_grammar_is_said(events, problem):
    assert stream_problem(stream(*events), whole=True) == problem


def test_a_stream_that_broke_may_stop_within_an_event():
    cut = stream(START, OPEN)[:-9]
    assert stream_problem(cut, whole=False) is None
    assert stream_problem(cut, whole=True) == "event 2 is no JSON object"


def changed(old: object, new: object) -> list[tuple[str, str]]:
    answers = ([answer_of(item) for item in interactions(recording(exchange(body)))] for body in (old, new))
    return list(grammar_changes(*answers))


OLD = answer(text("a"))


@pytest.mark.parametrize(
    ("new", "change"),
    [
        (answer(text("a"), tier="fast"), ("message_start", "the field message.tier is new")),
        (answer(text("a"), model={"id": "x"}), ("message_start", "message.model is object, was string")),
        ([*OLD[:-1], {"type": "message_note"}, OLD[-1]], ("message_note", "is new")),
        (answer(text("a"), block({"type": "picture"}, index=1)), ("content_block_start picture", "is new")),
        (
            answer(block(TEXT, {"type": "text_delta", "text": "a", "weight": 1})),
            ("content_block_delta text_delta", "the field weight is new"),
        ),
        (
            answer(text("a"), usage={"output_tokens": 2, "tier": "x"}),
            ("message_delta", "the field usage.tier is new"),
        ),
    ],
)
def test_what_is_new_in_a_stream_is_told_and_seen_from_the_other_side_it_is_gone(new, change):
    place, what = change
    assert changed(OLD, new) == [change]
    [(gone_place, gone)] = changed(new, OLD)
    assert gone_place == place
    assert gone == (what.replace("is new", "is gone") if "is new" in what else "message.model is string, was object")


@pytest.mark.parametrize(
    "new",
    [
        answer(text("something else entirely", " in pieces")),
        answer(block(TOOL, {"type": "input_json_delta", "partial_json": '{"a": 1}'}), stop="tool_use"),
        answer(text("a"), block({"type": "web_search_tool_result", "content": [{"a": 1}]}, index=1)),
        [OLD[0], {"type": "ping"}, *OLD[1:]],
        answer(),
    ],
)
def test_what_the_model_chose_to_write_is_no_change_of_the_grammar(new):
    assert changed(OLD, new) == []


def test_the_fields_of_what_is_null_are_not_compared():
    one, other = (answer(text("a"), stop_details=value) for value in (None, {"category": "x"}))
    assert changed(one, other) == []


def test_plain_messages_are_compared_block_by_block():
    old = {"type": "message", "content": [{"type": "text", "text": "a"}], "usage": {"input_tokens": 1}}
    new = {"type": "message", "content": [{"type": "text", "text": "b", "lang": "en"}], "usage": {"tokens": 1}}
    assert changed(old, new) == [
        ("block text", "the field lang is new"),
        ("message", "the field usage.input_tokens is gone"),
        ("message", "the field usage.tokens is new"),
    ]


def test_the_input_of_a_tool_call_is_the_models():
    old, new = ({"type": "message", "content": [TOOL | {"input": given}]} for given in ({"a": 1}, {"b": [2]}))
    assert changed(old, new) == []
