from __future__ import annotations

import base64
import gzip
import json
from datetime import UTC, datetime
from pathlib import Path

from vcr.request import Request

from claudeprov.cassette.file import new_cassette, save
from claudeprov.cassette.users import Project
from claudeprov.cassette.verify import verify
from claudeprov.catalog import catalog
from claudeprov.testing import ManualClock
from tests.cassette.sessions import answer, exchange, text, written

START = {"type": "message_start", "message": {}}
WHOLE = (START, {"type": "message_delta"}, {"type": "message_stop"})


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


def test_a_stale_recording_is_a_problem_once_for_each_reason(tmp_path):
    retired = next(model for model in catalog() if model.lifecycle.status == "retired")
    old = exchange(answer(text("a")), model=retired.id, versions={"claudeprov": "0.1.0", "api": "2023-06-01"})
    gone = exchange(answer(text("a")), model=retired.id)
    path = written(tmp_path / "x.yaml", old, old, gone)
    assert [problem.partition(", ")[0] for problem in verify(path)] == [
        f"stale: {retired.id} is retired",
        "stale: recorded with API version 2023-06-01",
    ]


def test_age_makes_stale_where_a_limit_is_given(tmp_path):
    path = written(tmp_path / "x.yaml", exchange(answer(text("a"))))
    clock = ManualClock(start=datetime(2027, 11, 22, tzinfo=UTC))
    assert verify(path, clock=clock) == []
    assert verify(path, clock=clock, max_age=180) == ["stale: recorded more than 180 days ago"]


def test_an_orphan_of_the_project_is_a_problem(tmp_path):
    path = written(tmp_path / "cassettes" / "x.yaml", exchange(answer(text("a")), suite="gone"))
    project = Project(tmp_path)
    assert verify(path, project=project) == [
        "orphan: no suite, test or file of the project uses it; it was recorded for gone"
    ]
    used = written(tmp_path / "cassettes" / "y.yaml", exchange(answer(text("a")), suite="code"))
    assert verify(used, project=project) == []
    elsewhere = written(tmp_path / "x.yaml", exchange(answer(text("a")), suite="gone"))
    assert verify(elsewhere, project=project) == []
