from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from claudeprov.bench import run as running
from claudeprov.bench.grade import GradingError
from claudeprov.cassette.file import load
from claudeprov.cassette.interaction import interactions
from claudeprov.cassette.verify import verify
from claudeprov.commands import main

KEY = "only-" + "for-this-test"
EVENTS = (
    {
        "type": "message_start",
        "message": {
            "id": "m",
            "type": "message",
            "role": "assistant",
            "model": "small",
            "content": [],
            "stop_reason": None,
            "usage": {"input_tokens": 1, "output_tokens": 0},
        },
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "42"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
    {"type": "message_stop"},
)


class Service(ThreadingHTTPServer):
    """Answers every message with 42, or refuses it with the next of ``statuses``."""

    statuses: Sequence[int] = ()


class Handler(BaseHTTPRequestHandler):
    server: Service

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        answer = "".join(f"data: {json.dumps(event)}\n\n" for event in EVENTS).encode()
        status, *self.server.statuses = self.server.statuses or [200]
        self.send_response(status)
        self.send_header("content-type", "text/event-stream" if status == 200 else "application/json")
        self.end_headers()
        self.wfile.write(answer if status == 200 else b"{}")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def service(tmp_path, monkeypatch) -> Iterator[Service]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    with Service(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def record(service: Service, *overrides: str) -> int:
    url = f"http://127.0.0.1:{service.server_port}"
    return main(["record", "endpoint=compatible", f"endpoint.base_url={url}", "model=qwen", *overrides])


CASSETTE = Path("cassettes/bench/code/qwen.yaml")


def test_a_recorded_suite_is_right_and_holds_no_key(service, capsys):
    assert record(service, "suite.tasks=[late-binding,type-error]") == 0
    assert verify(CASSETTE) == []
    assert KEY not in CASSETTE.read_text(encoding="utf-8")
    told = capsys.readouterr()
    assert told.out == f"{CASSETTE}: 2 recording(s): 2 of new requests, 0 recorded again, 0 kept as they were\n"
    assert "2 call(s) of suite code to qwen at http://127.0.0.1:" in told.err


def test_recording_some_tasks_again_keeps_the_others(service, capsys):
    assert record(service, "suite.tasks=[late-binding,type-error]") == 0
    assert record(service, "suite.tasks=[late-binding]") == 0
    assert "2 recording(s): 0 of new requests, 1 recorded again, 1 kept" in capsys.readouterr().out
    assert len(load(CASSETTE)) == 2


def test_a_recording_whose_calls_all_fail_leaves_the_old_one(service, capsys):
    assert record(service, "suite.tasks=[late-binding]") == 0
    before = CASSETTE.read_bytes()
    service.statuses = [400]
    assert record(service, "suite.tasks=[late-binding]") == 1
    assert CASSETTE.read_bytes() == before
    assert "1 of 1 call(s) failed\nnothing was written" in capsys.readouterr().err


def test_one_failed_call_among_others_is_recorded_as_it_was(service):
    service.statuses = [400, 200]
    assert record(service, "suite.tasks=[late-binding,type-error]", "concurrency=1") == 1
    assert [interaction.status for interaction in interactions(load(CASSETTE))] == [400, 200]


def test_an_interrupted_recording_leaves_the_old_one(service, monkeypatch):
    assert record(service, "suite.tasks=[late-binding]") == 0
    before = CASSETTE.read_bytes()

    async def interrupted(provider, *_: object, **__: object) -> None:
        await provider.send_message({"messages": [{"role": "user", "content": "Hi"}]})
        raise KeyboardInterrupt

    monkeypatch.setattr("claudeprov.commands.record.run_suite", interrupted)
    assert record(service) == 130
    assert CASSETTE.read_bytes() == before


def test_recording_the_whole_suite_drops_what_is_no_part_of_it(service, capsys, tmp_path):
    small, large = tmp_path / "small.yaml", tmp_path / "large.yaml"
    task = "{id: %s, kind: analysis, prompt: %s, max_tokens: 9, answer: 42}"
    small.write_text(f"name: own\ntasks: [{task % ('a', 'six')}]", encoding="utf-8")
    large.write_text(f"name: own\ntasks: [{task % ('a', 'six')}, {task % ('b', 'seven')}]", encoding="utf-8")
    assert record(service, "suite.name=own", f"suite.path={large}") == 0
    assert record(service, "suite.name=own", f"suite.path={small}") == 0
    assert "1 recording(s): 0 of new requests, 1 recorded again, 1 dropped" in capsys.readouterr().out


def test_a_recording_is_kept_whether_its_answers_can_be_graded_or_not(service, monkeypatch):
    async def refuse(task, text):
        raise GradingError("Too many open files")

    monkeypatch.setattr(running, "grade", refuse)
    assert record(service, "suite.tasks=[count-vowels]") == 0
    assert len(load(CASSETTE)) == 1
