"""Events become chunks, and lose nothing by it."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claudeprov.chunk import chunk_of_message, chunks_of
from claudeprov.errors import StreamInterruptedError
from claudeprov.sse import EventReader


def event(data: object, name: str = "x") -> bytes:
    return f"event: {name}\ndata: {data if isinstance(data, str) else json.dumps(data)}".encode()


def chunk(data: object, name: str = "x"):
    (only,) = chunks_of([event(data, name)])
    return only


def delta(kind: str, **fields) -> dict:
    return {"type": "content_block_delta", "index": 3, "delta": {"type": kind, **fields}}


@pytest.mark.parametrize(
    ("kind", "field"),
    [("text_delta", "text"), ("thinking_delta", "thinking"), ("input_json_delta", "partial_json")],
)
def test_a_delta_tells_its_piece_its_block_and_its_type(kind, field):
    found = chunk(delta(kind, **{field: "Zürich"}))
    pieces = {name: getattr(found, name) for name in ("text", "thinking", "partial_json")}
    assert pieces == {"text": "", "thinking": "", "partial_json": "", field: "Zürich"}
    assert (found.type, found.index, found.delta_type) == ("content_block_delta", 3, kind)
    assert found.data == delta(kind, **{field: "Zürich"})


@pytest.mark.parametrize(
    "data",
    [
        {"type": "ping"},
        {"type": "ping", "cost": None},
        {"type": "content_block_stop", "index": 0},
        {"type": "brand_new_event", "index": 1, "deep": {"er": [1, 2.5, None, True]}},
        delta("brand_new_delta", anything=[1]),
        delta("text_delta", text="a", confidence=0.5),
        delta("thinking_delta", thinking="", estimated_tokens=7),
        delta("citations_delta", citation={"cited_text": "q"}),
        delta("signature_delta", signature="c2ln"),
        delta("text_delta"),
        delta("text_delta", text=None),
        delta("text_delta", text=7),
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}, "extra": 1},
        {"type": "content_block_delta", "delta": "none"},
        {"type": "x", "index": "first"},
        {"type": "x", "index": 2**70},
    ],
)
def test_an_event_is_kept_whole(data):
    assert chunk(data).data == data


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1), inner, max_size=3),
    max_leaves=8,
)
DELTAS = st.fixed_dictionaries(
    {"type": st.sampled_from(["text_delta", "thinking_delta", "input_json_delta", "new_delta"])},
    optional={"text": st.text(), "thinking": st.text(), "partial_json": st.text(), "new": JSON},
)
EVENTS = st.fixed_dictionaries(
    {"type": st.sampled_from(["content_block_delta", "message_delta", "ping", "new_event"])},
    optional={"index": st.integers() | st.text(), "delta": DELTAS | st.integers(), "usage": JSON, "new": JSON},
)


@given(st.lists(EVENTS, max_size=6), st.lists(st.integers(0, 2000), max_size=10), st.sampled_from(["\n", "\r\n", "\r"]))
def test_however_the_network_cuts_a_stream_its_chunks_are_the_same(events, cuts, newline):
    lines = [f": hello{newline}event: {data['type']}{newline}data: {json.dumps(data)}" for data in events]
    body = (newline * 2).join([*lines, ""]).encode()
    reader, found = EventReader(), []
    marks = [0, *sorted(cut for cut in cuts if cut < len(body)), len(body)]
    for start, end in pairwise(marks):
        found += chunks_of(reader.feed(body[start:end]))
    found += chunks_of(reader.finish())
    assert [each.data for each in found] == events


def test_characters_that_are_cut_in_two_by_the_network_are_whole_again():
    data = delta("text_delta", text="日本語 🙂 é")
    body = f"event: x\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()
    reader, found = EventReader(), []
    for byte in body:
        found += chunks_of(reader.feed(bytes([byte])))
    assert [each.text for each in found] == ["日本語 🙂 é"]


def test_bytes_that_are_no_utf_8_become_replacement_characters():
    (found,) = chunks_of([event(delta("text_delta", text="a?b")).replace(b"?", b"\xff")])
    assert found.text == "a\ufffdb"


def test_half_a_surrogate_pair_is_text_like_any_other():
    assert (
        chunk('{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"\\ud83d"}}').text
        == "\ud83d"
    )


def test_white_space_around_and_within_the_json_means_nothing():
    found = chunk(
        '  { "type" : "content_block_delta", "index":0,\t"delta":{"type":"text_delta","text":" a "}       }   '
    )
    assert found.text == " a "


def test_data_over_several_lines_is_one_event():
    assert [each.data for each in chunks_of([b'data: {"type":\ndata: "ping"}'])] == [{"type": "ping"}]


def test_an_event_without_a_space_after_the_colon_is_read():
    assert [
        each.text for each in chunks_of([b"event:x\ndata:" + json.dumps(delta("text_delta", text="a")).encode()])
    ] == ["a"]


def test_events_without_data_give_no_chunk():
    assert list(chunks_of([b": keep-alive", b"event: ping", b"", event({"type": "ping"})])) == [chunk({"type": "ping"})]


def test_an_event_without_a_type_has_that_of_its_line():
    assert chunk({"a": 1}, name="ping").type == "ping"


@pytest.mark.parametrize(
    "data", ["{", "no", '{"type":"ping"},{"type":"ping"}', "[1]", "null", '{"type": "x", "deep": ' + "[" * 100_000]
)
def test_what_is_no_json_object_breaks_the_stream_after_the_chunks_before_it(data):
    given = []
    with pytest.raises(StreamInterruptedError) as caught:
        given.extend(chunks_of([event({"type": "ping"}), event(data), event({"type": "ping"})]))
    assert caught.value.code == "invalid_json"
    found = iter(chunks_of([event({"type": "ping"}), event(data)]))
    assert next(found).type == "ping"


def test_a_plain_exchange_is_one_chunk_of_the_whole_message():
    message = {
        "type": "message",
        "content": [{"type": "text", "text": "a"}, {"type": "new"}, {"type": "text", "text": "b"}],
    }
    found = chunk_of_message(message)
    assert (found.type, found.text, found.data, found.delta_type) == ("message", "ab", message, None)


def test_a_chunk_cannot_be_changed():
    with pytest.raises(AttributeError):
        chunk({"type": "ping"}).type = "pong"
