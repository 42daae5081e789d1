from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path

import pytest
from vcr.request import Request

from claudeprov.cassette.file import new_cassette, save
from claudeprov.cassette.verify import stream_problem, verify

START = {"type": "message_start", "message": {}}
OPEN = {"type": "content_block_start", "index": 0}
TEXT = {"type": "content_block_delta", "index": 0, "delta": {}}
CLOSE = {"type": "content_block_stop", "index": 0}
DELTA = {"type": "message_delta"}
STOP = {"type": "message_stop"}
PING = {"type": "ping"}
ERROR = {"type": "error", "error": {}}
WHOLE = (START, PING, OPEN, TEXT, TEXT, CLOSE, {"type": "new_event"}, DELTA, DELTA, STOP)


def stream(*events: object) -> bytes:
    return b"".join(b"data: %s\n\n" % json.dumps(event).encode() for event in events)


def cassette(path: Path, body: bytes, **changed: object) -> Path:
    """A cassette that is right unless *changed*."""
    recording = new_cassette(path)
    details = {
        "format": 1,
        "recorded_at": "2026-11-22T10:00:00Z",
        "server": "https://api.anthropic.com",
        "versions": {"claudeprov": "0.1.0"},
        "end": "complete",
        "chunks": str(len(body)),
        "times": "1 2 3",
    }
    response = {
        "status": {"code": 200, "message": "OK"},
        "headers": {"content-type": ["text/event-stream"]},
        "claudeprov": details,
        "body": {"string": body},
    }
    recording.append(Request("POST", "https://x/v1/messages", b'{"a": 1}', {}), response | changed)
    save(recording)
    return path


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
        ((START, TEXT), "event 2, content_block_delta, must not stand there"),
        ((START, OPEN, OPEN), "event 3, content_block_start, must not stand there"),
        ((START, OPEN, TEXT | {"index": 1}), "event 3, content_block_delta, must not stand there"),
        ((START, OPEN, DELTA), "event 3, message_delta, must not stand there"),
        ((START, CLOSE), "event 2, content_block_stop, must not stand there"),
        ((START, STOP), "event 2, message_stop, must not stand there"),
        ((*WHOLE, STOP), "event 11, message_stop, must not stand there"),
        ((*WHOLE, ERROR), "event 11, error, must not stand there"),
        ((START, [1]), "event 2 is no JSON object"),
        ((START, OPEN, TEXT), "the stream ends without message_stop"),
        ((), "the stream ends without message_stop"),
    ],
)
def test_where_a_stream_leaves_the_grammar_is_said(events, problem):
    assert stream_problem(stream(*events), whole=True) == problem


def test_a_stream_that_broke_may_stop_within_an_event():
    cut = stream(START, OPEN)[:-9]
    assert stream_problem(cut, whole=False) is None
    assert stream_problem(cut, whole=True) == "event 2 is no JSON object"


def test_a_right_cassette_has_no_problem(tmp_path):
    assert verify(cassette(tmp_path / "x.yaml", stream(*WHOLE))) == []


def test_a_page_that_is_neither_stream_nor_json_is_no_problem(tmp_path):
    assert verify(cassette(tmp_path / "x.yaml", b"<p>", headers={"content-type": ["text/html"]})) == []


def test_a_stream_that_leaves_the_grammar_is_a_problem_of_its_interaction(tmp_path):
    path = cassette(tmp_path / "x.yaml", stream(START))
    assert verify(path) == ["interaction 1: the stream ends without message_stop"]


def test_what_claudeprov_did_not_record_is_said(tmp_path):
    path = cassette(tmp_path / "x.yaml", stream(*WHOLE), claudeprov=None)
    assert verify(path) == ["interaction 1: not recorded by claudeprov: it has no details"]


def test_a_broken_message_is_a_problem(tmp_path):
    path = cassette(tmp_path / "x.yaml", b"{", headers={"content-type": ["application/json"]})
    assert [problem.partition(": Exp")[0] for problem in verify(path)] == ["interaction 1: the body is no JSON"]


def test_what_was_added_by_hand_is_found(tmp_path):
    path = cassette(tmp_path / "x.yaml", stream(*WHOLE))
    secret = "sk-" + "ant-api03-aaaaaaaaaaaaaaaa"
    text = path.read_text(encoding="utf-8").replace("    headers: {}", f"    headers: {{x-api-key: [{secret}]}}")
    path.write_text(text, encoding="utf-8")
    assert verify(path) == [
        "interaction 1: the request header x-api-key must not be kept",
        "interaction 1: an Anthropic key in request header x-api-key",
    ]


def test_a_file_that_is_no_cassette_is_one_problem(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("[", encoding="utf-8")
    [problem] = verify(path)
    assert problem.startswith(f"{path} is no cassette")


def test_details_without_the_server_are_a_problem(tmp_path):
    path = cassette(tmp_path / "x.yaml", stream(*WHOLE))
    text = path.read_text(encoding="utf-8").replace("https://api.anthropic.com", "")
    path.write_text(text, encoding="utf-8")
    assert verify(path) == ["interaction 1: its details lack the server or the version of claudeprov"]


def test_an_answer_that_plain_vcrpy_would_replay_otherwise_is_a_problem(tmp_path):
    path = cassette(tmp_path / "x.yaml", stream(*WHOLE))
    head, _, _ = path.read_text(encoding="utf-8").partition("    claudeprov:")
    head = head.replace("content-type:", 'content-encoding: ["gzip"]\n      content-type:')
    packed = base64.b64encode(gzip.compress(stream(*WHOLE))).decode()
    path.write_text(f"{head}    body: {{string: !!binary {packed}}}\n", encoding="utf-8")
    assert verify(path) == [
        "interaction 1: not recorded by claudeprov: it has no details",
        "interaction 1: the response header content-length must not be kept",
        "interaction 1: plain vcrpy replays another answer",
    ]
