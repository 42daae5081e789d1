"""What a stream's events add up to; every stream here is made up."""

import json

import pytest
from anthropic.lib.streaming._beta_messages import accumulate_event
from hypothesis import given
from hypothesis import strategies as st

from claudeprov.chunk import chunks_of
from claudeprov.errors import InvalidResponseError, StreamInterruptedError
from claudeprov.snapshot import Snapshot

PING = {"type": "ping"}
STOP = {"type": "message_stop"}


def start(**fields) -> dict:
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": []}
    message |= {"stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 3, "output_tokens": 1}}
    return {"type": "message_start", "message": message | fields}


def block(index: int, *deltas: dict, **fields) -> list[dict]:
    """A block's events, from its start to its stop."""
    return [
        {"type": "content_block_start", "index": index, "content_block": fields},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def text(piece: str) -> dict:
    return {"type": "text_delta", "text": piece}


def thinking(piece: str) -> dict:
    return {"type": "thinking_delta", "thinking": piece}


def tool_json(piece: str) -> dict:
    return {"type": "input_json_delta", "partial_json": piece}


def end(reason: str | None = "end_turn", usage: dict | None = None, delta: dict | None = None, **fields) -> dict:
    given = {"stop_reason": reason, "stop_sequence": None, **(delta or {})}
    return {"type": "message_delta", "delta": given, "usage": usage or {"output_tokens": 9}, **fields}


def snapshot(*events) -> Snapshot:
    taken = Snapshot()
    for event in events:
        for chunk in chunks_of([f"event: {event['type']}\ndata: {json.dumps(event)}".encode()]):
            taken.add(chunk)
    return taken


def message(*events) -> dict:
    """The message of a stream with *events* between its start and its end."""
    taken = snapshot(start(), *events, end(), STOP)
    taken.finish()
    return taken.message()


def content(*events) -> list[dict]:
    return message(*events)["content"]


def test_a_whole_message():
    assert message(*block(0, text("one "), text("two"), type="text", text="")) == {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": "one two"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "stop_details": None,
        "usage": {"input_tokens": 3, "output_tokens": 9},
    }


def test_pings_may_stand_anywhere():
    first, *rest = block(0, text("a"), text("b"), type="text", text="")
    with_pings = [
        PING,
        start(),
        PING,
        first,
        PING,
        rest[0],
        PING,
        rest[1],
        PING,
        rest[2],
        PING,
        end(),
        PING,
        STOP,
        PING,
    ]
    assert snapshot(*with_pings).message() == message(first, *rest)


def test_before_its_start_a_message_is_nothing():
    assert snapshot(PING).message() == {}


def test_a_message_may_be_empty():
    assert content() == []


@pytest.mark.parametrize(
    ("pieces", "input"),
    [
        ([], {}),
        ([""], {}),
        (["", '{"a": [1', ', "zw', 'ei"]}'], {"a": [1, "zwei"]}),
        (['{"a": 1, "b": [2, "thr'], {"a": 1, "b": [2]}),
        (['{"a": "\\ud83d'], {}),
    ],
)
def test_tool_input_is_its_joined_json_as_far_as_it_goes(pieces, input):
    assert content(*block(0, *map(tool_json, pieces), type="tool_use", id="t", name="n", input={})) == [
        {"type": "tool_use", "id": "t", "name": "n", "input": input}
    ]


def test_tool_input_that_is_no_json_is_wrapped_as_the_api_wants_it_back():
    (block_,) = content(*block(0, tool_json('{"a": nope'), type="tool_use", id="t", name="n", input={}))
    assert block_["input"] == {"INVALID_JSON": '{"a": nope'}


def test_tool_input_can_come_with_the_start_of_its_block():
    assert content(*block(0, tool_json(""), type="tool_use", input={"a": 1}))[0]["input"] == {"a": 1}


def test_tool_input_is_also_kept_as_it_was_written():
    taken = snapshot(
        start(), *block(0, type="text", text=""), *block(1, tool_json('{"a"'), tool_json(": 1}"), type="tool_use")
    )
    assert taken.tool_json() == {1: '{"a": 1}'}


def test_a_block_without_deltas_is_as_it_started():
    result = {
        "type": "web_search_tool_result",
        "tool_use_id": "s",
        "content": [{"type": "web_search_result", "url": "u"}],
    }
    assert content(*block(0, **result), *block(1, type="text", text="")) == [result, {"type": "text", "text": ""}]


def test_thinking_may_be_a_signature_only():
    assert content(
        *block(0, {"type": "signature_delta", "signature": "c2ln"}, type="thinking", thinking="", signature="")
    ) == [{"type": "thinking", "thinking": "", "signature": "c2ln"}]


def test_thinking_is_joined_and_signed():
    deltas = [thinking(""), thinking("hm"), thinking("..."), {"type": "signature_delta", "signature": "c2ln"}]
    assert content(*block(0, *deltas, type="thinking", thinking="", signature="")) == [
        {"type": "thinking", "thinking": "hm...", "signature": "c2ln"}
    ]


def test_redacted_thinking_is_kept():
    assert content(*block(0, type="redacted_thinking", data="b64")) == [{"type": "redacted_thinking", "data": "b64"}]


def test_a_block_of_an_unknown_kind_takes_whatever_comes():
    assert content(*block(0, text("a"), tool_json("{}"), type="new"))[0]["text"] == "a"


def test_usage_may_be_told_within_a_block():
    first, *rest = block(0, text("a"), type="text", text="")
    assert content(first, end(None), *rest) == [{"type": "text", "text": "a"}]


@pytest.mark.parametrize("given", [{}, {"citations": None}, {"citations": []}])
def test_citations_are_collected(given):
    deltas = [{"type": "citations_delta", "citation": {"n": n}} for n in (1, 2)]
    assert content(*block(0, text("a"), *deltas, text("b"), type="text", text="", **given)) == [
        {"type": "text", "text": "ab", "citations": [{"n": 1}, {"n": 2}]}
    ]


def test_a_compaction_comes_in_one_piece():
    assert content(*block(0, {"type": "compaction_delta", "content": "short"}, type="compaction", content=None)) == [
        {"type": "compaction", "content": "short", "encrypted_content": None}
    ]


def test_a_fallback_block_names_the_model_that_serves():
    events = block(0, type="fallback", **{"from": {"model": "m"}, "to": {"model": "other"}})
    assert message(*events)["model"] == "other"


def test_unknown_events_blocks_deltas_and_fields_are_no_trouble_and_the_message_keeps_them():
    events = [
        {"type": "weather", "index": 0, "delta": {"type": "rain"}},
        *block(0, {"type": "new_delta", "text": "?"}, type="new_block", deep={"er": [1]}),
        *block(1, text("a"), type="text", text="", new_field=2),
    ]
    taken = snapshot(start(new=1), *events, end(also_new=[3], delta={"newer": 4}), STOP)
    assert taken.complete
    assert taken.message()["content"] == [
        {"type": "new_block", "deep": {"er": [1]}},
        {"type": "text", "text": "a", "new_field": 2},
    ]
    assert {name: taken.message()[name] for name in ("new", "also_new", "newer")} == {
        "new": 1,
        "also_new": [3],
        "newer": 4,
    }


def test_a_delta_of_a_known_kind_may_hold_unknown_fields():
    assert (
        content(*block(0, {**thinking("a"), "estimated_tokens": 5}, type="thinking", thinking=""))[0]["thinking"] == "a"
    )


def test_usage_is_cumulative_and_what_is_null_or_left_out_keeps_its_earlier_value():
    first = {
        "input_tokens": 3,
        "cache_read_input_tokens": 5,
        "output_tokens": 1,
        "service_tier": "standard",
        "geo": None,
    }
    last = {"input_tokens": 700, "cache_read_input_tokens": None, "output_tokens": 20, "iterations": [{"n": 1}]}
    taken = snapshot(start(usage=first), end(None, {"output_tokens": 10}), end(usage=last))
    assert taken.message()["usage"] == {
        "input_tokens": 700,
        "cache_read_input_tokens": 5,
        "output_tokens": 20,
        "service_tier": "standard",
        "geo": None,
        "iterations": [{"n": 1}],
    }


@pytest.mark.parametrize("usage", [None, {}])
def test_usage_may_be_missing(usage):
    taken = snapshot(start(usage=usage), end(), STOP)
    assert taken.message()["usage"] == {"output_tokens": 9}


def test_the_end_of_a_message_brings_its_details():
    details = {"type": "refusal", "category": "cyber", "explanation": None}
    container = {"id": "c", "expires_at": "2026-11-22T00:00:00Z"}
    last = end(
        "refusal", delta={"stop_details": details, "container": container}, context_management={"applied_edits": []}
    )
    taken = snapshot(start(container=None), last, STOP).message()
    assert (taken["stop_reason"], taken["stop_details"]) == ("refusal", details)
    assert (taken["container"], taken["context_management"]) == (container, {"applied_edits": []})


def test_a_stop_sequence_is_told():
    assert snapshot(start(), end("stop_sequence", delta={"stop_sequence": "\n\n"})).message()["stop_sequence"] == "\n\n"


def test_a_stream_without_message_stop_is_complete_if_it_gave_a_reason_to_stop():
    taken = snapshot(start(), *block(0, text("a"), type="text", text=""), end())
    assert not taken.complete
    taken.finish()
    assert taken.complete


@pytest.mark.parametrize(
    ("events", "where"),
    [
        ([], "before the message began"),
        ([PING], "before the message began"),
        ([start()], "without a stop reason"),
        ([start(), *block(0, text("a"), type="text", text="")], "without a stop reason"),
        ([start(), *block(0, text("a"), type="text", text="")[:-1]], "inside content block 0"),
        ([start(), *block(0, type="text", text=""), *block(1, type="new")[:-1]], "inside content block 1"),
        ([start(), end(None)], "without a stop reason"),
    ],
)
def test_a_stream_that_ends_early_is_no_success(events, where):
    taken = snapshot(*events)
    with pytest.raises(StreamInterruptedError, match=f"the stream ended {where}") as caught:
        taken.finish()
    assert caught.value.code == "truncated"
    assert not taken.complete


@pytest.mark.parametrize(
    "events",
    [
        [*block(0, type="text", text="")],
        [end()],
        [STOP],
        [start(), start()],
        [start(), *block(1, type="text", text="")],
        [start(), *block(0, type="text", text=""), *block(0, type="text", text="")],
        [start(), {"type": "content_block_delta", "index": 0, "delta": text("a")}],
        [start(), *block(0, type="text", text=""), {"type": "content_block_delta", "index": 0, "delta": text("a")}],
        [
            start(),
            *block(0, type="text", text="")[:1],
            {"type": "content_block_delta", "index": -1, "delta": text("a")},
        ],
        [
            start(),
            *block(0, type="text", text="")[:1],
            {"type": "content_block_delta", "index": False, "delta": text("a")},
        ],
        [start(), *block(0, type="text", text="")[:1], {"type": "content_block_delta", "delta": text("a")}],
        [start(), *block(0, type="text", text="")[:1], {"type": "content_block_delta", "index": 0}],
        [start(), *block(0, {"type": "text_delta"}, type="text", text="")],
        [start(), *block(0, {"type": "signature_delta"}, type="thinking")],
        [start(), *block(0, text("a"), type="text", text=5)],
        [start(), *block(0, type="text", text=""), {"type": "content_block_stop", "index": 0}],
        [start(), {"type": "content_block_stop"}],
        [start(), *block(0, type="text", text="")[:1], STOP],
        [start(), {"type": "content_block_start", "index": 0}],
        [start(), {"type": "content_block_start", "index": 0, "content_block": "text"}],
        [start(), {"type": "content_block_start", "index": 0, "content_block": {}}],
        [start(), {"type": "message_delta"}],
        [start(), {"type": "message_delta", "delta": "none"}],
        [start(), end(usage={"a": 1}) | {"usage": "none"}],
        [{"type": "message_start"}],
        [{"type": "message_start", "message": "none"}],
        [start(usage="none")],
        [start(stop_reason=5)],
        [start(), end(5)],
        [start(), end("")],
        [start(), end(), *block(0, type="text", text="")],
        [start(), *block(0, type="text", text="")[:1], end()],
        [start(), *block(0, type="text", text="")[:1], *block(1, type="text", text="")],
        [start(), *block(0, text("a"), type="tool_use", input={})],
        [start(), *block(0, text("a"), type="thinking", thinking="")],
        [start(), *block(0, tool_json("{}"), type="text", text="")],
        [start(), *block(0, thinking("a"), type="text", text="")],
        [start(), *block(0, thinking("a"), type="server_tool_use", input={})],
    ],
)
def test_an_event_without_a_place_or_a_field_breaks_the_stream(events):
    with pytest.raises(StreamInterruptedError, match="left its grammar") as caught:
        snapshot(*events)
    assert caught.value.code == "out_of_grammar"


def test_the_error_names_the_event_that_had_no_place():
    with pytest.raises(StreamInterruptedError) as caught:
        snapshot(start(), {"type": "content_block_stop", "index": 4})
    assert caught.value.context == {"event": "content_block_stop", "index": 4}


def test_what_was_taken_of_a_message_does_not_change_as_it_goes_on():
    taken = snapshot(start(), *block(0, text("a"), type="text", text="")[:-1])
    before = taken.message()
    for chunk in chunks_of(
        [b'event: x\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"b"}}']
    ):
        taken.add(chunk)
    assert [each["content"][0]["text"] for each in (before, taken.message())] == ["a", "ab"]


def test_the_message_of_a_plain_exchange_is_taken_as_it_is():
    text = {"type": "text", "text": "a"}
    whole = {
        "type": "message",
        "content": [text],
        "stop_reason": "end_turn",
        "usage": {"output_tokens": 1},
        "new": None,
    }
    taken = Snapshot()
    taken.take(whole)
    assert taken.message() == whole
    assert taken.complete


@pytest.mark.parametrize(
    "changed",
    [
        {"stop_reason": None},
        {"stop_reason": ""},
        {"content": None},
        {"content": [5]},
        {"content": [{"type": "text", "text": 5}]},
        {"usage": 5},
        {"usage": {"input_tokens": "ten"}},
        {"usage": {"output_tokens": -1}},
    ],
)
def test_what_is_no_whole_message_is_not_taken_for_one(changed):
    whole = {"content": [{"type": "text", "text": "a"}], "stop_reason": "end_turn", "usage": {"output_tokens": 1}}
    with pytest.raises(InvalidResponseError):
        Snapshot().take(whole | changed)


def test_a_message_that_stops_without_a_reason_is_not_complete():
    taken = Snapshot()
    start, stop = chunks_of(
        [
            b'event: message_start\ndata: {"type": "message_start", "message": {"content": []}}',
            b'event: message_stop\ndata: {"type": "message_stop"}',
        ]
    )
    taken.add(start)
    with pytest.raises(StreamInterruptedError):
        taken.add(stop)


TEXTS = st.lists(st.text(max_size=6), max_size=4)
BLOCKS = st.one_of(
    TEXTS.map(lambda pieces: ({"type": "text", "text": ""}, [*map(text, pieces)])),
    TEXTS.map(lambda pieces: ({"type": "text", "text": "a", "citations": None}, [*map(text, pieces)])),
    TEXTS.map(lambda pieces: ({"type": "thinking", "thinking": "", "signature": ""}, [*map(thinking, pieces)])),
    st.just(({"type": "redacted_thinking", "data": "x"}, [])),
    st.tuples(
        st.sampled_from(["tool_use", "server_tool_use"]),
        st.dictionaries(st.text(max_size=3), st.text(max_size=5) | st.integers(), max_size=3).map(json.dumps),
        st.integers(0, 9),
    ).map(
        lambda made: (
            {"type": made[0], "id": "t", "name": "web_search", "input": {}},
            [tool_json(made[1][: made[2]]), tool_json(made[1][made[2] :])],
        )
    ),
)


@given(st.lists(BLOCKS, max_size=4), st.integers(0, 40))
def test_at_any_point_the_message_is_what_the_official_sdk_has_accumulated(blocks, length):
    events = [start(), *(event for n, (fields, deltas) in enumerate(blocks) for event in block(n, *deltas, **fields))]
    events = [*events, end("tool_use", context_management={"applied_edits": []}), STOP][: length + 1]
    theirs, buffers = None, {}
    for event in events:
        theirs = accumulate_event(
            event=json.loads(json.dumps(event)), current_snapshot=theirs, json_bufs=buffers, request_headers={}
        )
    assert snapshot(*events).message() == theirs.to_dict(mode="json")
