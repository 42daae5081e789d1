"""Server-sent events, held against a plain reading of the WHATWG's rules."""

import re
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from claudeprov import sse
from claudeprov.errors import StreamInterruptedError
from claudeprov.sse import EventReader, data_of, name_of

NEWLINES = st.sampled_from([b"\n", b"\r\n", b"\r"])
VALUES = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=8).map(str.encode),
    st.binary(max_size=6).map(lambda data: data.translate(None, b"\r\n")),
    st.sampled_from(["é", "日本語", "🙂", "\u2028", " two", ":"]).map(str.encode),
)
FIELDS = st.sampled_from([b"event", b"data", b"id", b"retry", b"", b"other", b"\xef\xbb\xbfdata"])
LINES = st.one_of(
    st.just(b""),
    st.tuples(FIELDS, st.sampled_from([b": ", b":", b""]), VALUES).map(b"".join),
    VALUES.map(lambda value: b"data: " + value),
)
STREAMS = st.builds(
    lambda bom, lines, end: bom + b"".join(line + newline for line, newline in lines) + end,
    st.sampled_from([b"", b"", b"\xef\xbb\xbf", b"\xef", b"\xef\xbb\xbf\xef\xbb\xbf"]),
    st.lists(st.tuples(LINES, NEWLINES), max_size=20),
    st.sampled_from([b"", b"data: cut", b"data", b":"]),
)
CUTS = st.lists(st.integers(0, 400), max_size=30)


def read(stream: bytes, cuts) -> list[tuple[str, bytes]]:
    """The names and data of the events in *stream*, which the network cuts at *cuts*."""
    reader, events = EventReader(), []
    marks = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    for start, end in pairwise(marks):
        events += reader.feed(stream[start:end])
    return [(name_of(event), data_of(event)) for event in (*events, *reader.finish()) if data_of(event)]


def by_the_rules(stream: bytes) -> list[tuple[str, bytes]]:
    """As the standard says, but for the last event, which needs no empty line here."""
    events, name, data = [], b"", []
    for line in (*re.split(rb"\r\n|\r|\n", stream.removeprefix(b"\xef\xbb\xbf")), b""):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if not line:
            if b"\n".join(data):
                events.append((name.decode("utf-8", "replace"), b"\n".join(data)))
            name, data = b"", []
        elif field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
    return events


@settings(max_examples=500)
@given(STREAMS, CUTS)
@example(b"\xef\xbb\xbfdata: 1\n\n", [1])
@example(b"\xef\xbb\xbfdata: 1\n\n", [2])
@example(b"data: 1\r\n\r\ndata: 2\r\n\r\n", range(99))
@example(b"data: 1\r\r\ndata: 2\n\r\n", range(99))
@example(b"data: 1\r\ndata", [8, 8])
@example("data: 日\n\n".encode(), [7, 8])
def test_however_the_network_cuts_a_stream_its_events_are_those_of_the_standard(stream, cuts):
    assert read(stream, cuts) == by_the_rules(stream)


@given(STREAMS)
def test_a_stream_that_comes_byte_by_byte_has_the_same_events(stream):
    assert read(stream, range(len(stream))) == by_the_rules(stream)


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_an_event_is_given_as_soon_as_its_empty_line_is_there(newline):
    reader = EventReader()
    first, second = (f"event: a{newline}data: {text}{newline}{newline}" for text in ("one", "two"))
    for byte in first[: -len(newline)]:
        assert not any(reader.feed(byte.encode()))
    assert [data_of(event) for event in reader.feed(newline[:1].encode())] == [b"one"]
    given = [event for byte in newline[1:] + second for event in reader.feed(byte.encode())]
    assert [data_of(event) for event in given if event] == [b"two"]


def test_several_data_lines_are_one_data():
    assert read(b"data: {\ndata:\ndata:  }\n\n", []) == [("", b"{\n\n }")]


def test_a_comment_is_no_event():
    assert read(b": keep-alive\n\n:\n\ndata: 1\n: within\n\n", []) == [("", b"1")]


def test_the_last_of_several_names_counts():
    assert read(b"event: a\nevent: b\ndata: 1\n\n", []) == [("b", b"1")]


def test_a_name_that_is_no_utf_8_has_replacement_characters():
    assert read(b"event: a\xff\ndata: 1\n\n", []) == [("a\ufffd", b"1")]


@pytest.mark.parametrize(("length", "size"), [(2**17, 1), (2**20, 64), (2**20, 4096), (2**20, 65536)])
def test_a_very_long_line_is_looked_at_once_however_it_comes(length, size):
    line = b"data: " + b"x" * length
    looked_at = 0

    class Counted(bytes):
        def __contains__(self, item):
            nonlocal looked_at
            looked_at += len(self)
            return super().__contains__(item)

        def split(self, *args):
            nonlocal looked_at
            looked_at += len(self)
            return super().split(*args)

    reader = EventReader()
    reads = [Counted(line[start : start + size]) for start in range(0, len(line), size)]
    assert not any(event for data in reads for event in reader.feed(data))
    (event,) = reader.feed(Counted(b"\n\n"))
    assert data_of(event) == line[6:]
    assert looked_at <= 3 * len(line)


def test_an_event_beyond_all_bounds_breaks_the_stream(monkeypatch):
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 100)
    reader = EventReader()
    assert reader.feed(b"data: " + b"x" * 80) == []
    with pytest.raises(StreamInterruptedError, match="longer than 100 bytes") as caught:
        reader.feed(b"x" * 80)
    assert caught.value.code == "event_too_large"


def test_the_bound_is_one_of_single_events(monkeypatch):
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 100)
    reader = EventReader()
    assert sum(len(reader.feed(b"data: " + b"x" * 60 + b"\n\nda")) for _ in range(10)) == 10
