from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

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
    events: Sequence[object] = EVENTS
    asked = 0
    folder: Path


class Handler(BaseHTTPRequestHandler):
    server: Service

    def do_POST(self) -> None:
        self.server.asked += 1
        self.rfile.read(int(self.headers["content-length"]))
        answer = "".join(f"data: {json.dumps(event)}\n\n" for event in self.server.events).encode()
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
        server.folder = tmp_path
        yield server
        server.shutdown()
        thread.join()


def record(service: Service, *overrides: str) -> int:
    url = f"http://127.0.0.1:{service.server_port}"
    return main(["record", "endpoint=compatible", f"endpoint.base_url={url}", "model=qwen", *overrides])


CASSETTE = Path("cassettes/bench/code/qwen.yaml")


def statuses(file: Path = CASSETTE) -> list[int]:
    return [interaction.status for interaction in interactions(load(file))]


def change(old: str, new: str, file: Path = CASSETTE) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def suite(name: str, *tasks: str) -> list[str]:
    """A suite of the user's own, whose tasks ask what they are called."""
    listed = ", ".join(f"{{id: {task}, kind: analysis, prompt: {task}, max_tokens: 9, answer: 42}}" for task in tasks)
    Path("suite.yaml").write_text(f"name: {name}\ntasks: [{listed}]", encoding="utf-8")
    return ["suite.path=suite.yaml"]


def test_a_recorded_suite_is_right_and_holds_no_key(service, capsys):
    assert record(service, "suite.tasks=[late-binding,type-error]", "concurrency=1") == 0
    assert verify(CASSETTE) == []
    assert KEY not in CASSETTE.read_text(encoding="utf-8")
    told = capsys.readouterr()
    assert told.out == f"{CASSETTE}: 2 recording(s), all new\n"
    plan, *progress = told.err.split("1/2 ")
    assert f"2 of 2 call(s) of code are to be recorded, from http://127.0.0.1:{service.server_port}" in plan
    assert "not recorded: late-binding, type-error" in plan
    assert "2/2 type-error: 1 output tokens, cost unknown" in progress[0]


def test_what_is_recorded_and_not_stale_is_not_asked_for_again(service, capsys):
    assert record(service, "suite.tasks=[late-binding]") == 0
    assert record(service, "suite.tasks=[late-binding,type-error]") == 0
    assert service.asked == 2
    assert record(service, "suite.tasks=[late-binding,type-error]") == 0
    assert service.asked == 2
    assert "0 of 2 call(s) of code are to be recorded" in capsys.readouterr().err


def test_an_override_records_everything_again_in_its_place(service, capsys):
    assert record(service, "suite.tasks=[late-binding,type-error]", "concurrency=1") == 0
    before = [interaction.request.body for interaction in interactions(load(CASSETTE))]
    assert record(service, "suite.tasks=[type-error]", "cassette.all=true") == 0
    assert service.asked == 3
    told = capsys.readouterr()
    assert "cassette.all is set: type-error" in told.err
    assert f"{CASSETTE}: 2 recording(s), 2 before; " in told.out
    assert [interaction.request.body for interaction in interactions(load(CASSETTE))] == before


@pytest.mark.parametrize(
    ("old", "new", "overrides", "reason"),
    [
        ('api: "2026-10-21"', 'api: "2023-06-01"', [], "recorded with API version 2023-06-01, requests ask for 2026"),
        ('recorded_at: "', 'recorded_at: "2020-01-01T00:00:00Z" # "', ["cassette.max_age=30"], "more than 30 days ago"),
        ('end: "complete"', 'end: "cancelled"', [], "its recording is cancelled"),
        ("code: 200", "code: 529", [], "its recording is an error of status 529"),
    ],
)
def test_a_stale_recording_is_made_again(service, capsys, old, new, overrides, reason):
    assert record(service, "suite.tasks=[late-binding]") == 0
    change(old, new)
    assert record(service, "suite.tasks=[late-binding]", *overrides) == 0
    assert reason in capsys.readouterr().err
    assert service.asked == 2
    assert new not in CASSETTE.read_text(encoding="utf-8")


def test_a_plan_says_what_it_would_cost_and_sends_nothing(service, capsys, monkeypatch):
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    priced = ["pricing.input=1", "pricing.output=5", "pricing.reason=null"]
    assert record(service, *suite("own", "a"), *priced, "--plan") == 0
    told = capsys.readouterr().out
    assert "1 of 1 call(s) of own are to be recorded" in told
    assert "estimated cost: at most $0.00" in told
    assert "for 1 call(s), an upper bound by length and max_tokens" in told
    assert service.asked == 0
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    assert record(service, *suite("own", "a")) == 0
    capsys.readouterr()
    assert record(service, *suite("own", "a", "b"), *priced, "cassette.all=true", "--plan") == 0
    told = capsys.readouterr().out
    assert "$0.000006 for 1 call(s), as much as was used before; at most $0.00" in told


def test_a_price_that_is_unknown_is_said_to_be(service, capsys):
    assert record(service, *suite("own", "a"), "--plan") == 0
    assert "estimated cost: unknown for 1 call(s): a local model has no list price" in (capsys.readouterr().out)


def test_a_change_of_the_api_is_told_apart_from_one_of_the_models_words(service, capsys):
    assert record(service, "suite.tasks=[late-binding]") == 0
    service.events = [*EVENTS[:-1], {"type": "message_verdict"}, EVENTS[-1]]
    capsys.readouterr()
    assert record(service, "suite.tasks=[late-binding]", "cassette.all=true") == 0
    told = capsys.readouterr().out
    assert "the API's grammar changed" in told
    assert "message_verdict" in told


def test_a_recording_whose_calls_all_fail_leaves_the_old_one(service, capsys):
    assert record(service, "suite.tasks=[late-binding]") == 0
    before = CASSETTE.read_bytes()
    service.statuses = [400]
    assert record(service, "suite.tasks=[late-binding]", "cassette.all=true") == 1
    assert CASSETTE.read_bytes() == before
    assert "1 of 1 call(s) failed\nnothing was written" in capsys.readouterr().err


def test_one_failed_call_among_others_is_recorded_as_it_was(service):
    service.statuses = [400, 200]
    assert record(service, "suite.tasks=[late-binding,type-error]", "concurrency=1") == 1
    assert statuses() == [400, 200]


def test_a_failure_replaces_no_recorded_answer(service, capsys):
    assert record(service, "suite.tasks=[late-binding,type-error]", "concurrency=1") == 0
    service.statuses = [400, 200]
    assert record(service, "suite.tasks=[late-binding,type-error]", "concurrency=1", "cassette.all=true") == 1
    assert statuses() == [200, 200]
    assert "1 recorded answer(s) were kept, since their calls failed" in capsys.readouterr().err


def test_a_stream_that_ends_in_an_error_replaces_no_recorded_answer_and_is_no_good_recording(service, capsys):
    assert record(service, "suite.tasks=[late-binding]") == 0
    before = CASSETTE.read_bytes()
    error = {"type": "error", "error": {"type": "invalid_request_error", "message": "no"}}
    service.events = [EVENTS[0], error]
    tasks = "suite.tasks=[late-binding,type-error]"
    assert record(service, "suite.tasks=[late-binding]", "cassette.all=true") == 1
    assert CASSETTE.read_bytes() == before
    change('{"type": "message_stop"}', '{"type": "message_stay"}')
    service.events = EVENTS
    assert record(service, tasks) == 0
    assert "its recording is a stream that does not reach its end: late-binding" in capsys.readouterr().err


def test_each_attempt_of_a_call_is_recorded(service):
    service.statuses = [529, 429, 200]
    assert record(service, "suite.tasks=[late-binding]", "retry.base=0", "retry.overloaded_base=0") == 0
    assert statuses() == [529, 429, 200]
    assert record(service, "suite.tasks=[late-binding]") == 0
    assert service.asked == 3


def test_an_interruption_keeps_what_was_answered_and_the_rest_is_recorded_next_time(service, monkeypatch, capsys):
    from claudeprov.commands import record as command

    make = command._make

    async def interrupted(provider, call):
        if provider.mode == "record" and call.name == "b":
            raise KeyboardInterrupt
        return await make(provider, call)

    monkeypatch.setattr(command, "_make", interrupted)
    assert record(service, *suite("own", "a", "b", "c"), "concurrency=1") == 130
    assert statuses(Path("cassettes/bench/own/qwen.yaml")) == [200]
    monkeypatch.undo()
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    monkeypatch.chdir(service.folder)
    assert record(service, *suite("own", "a", "b", "c")) == 0
    assert "not recorded: b, c" in capsys.readouterr().err


def test_recordings_that_are_no_part_of_the_whole_suite_any_more_are_dropped(service, capsys):
    file = Path("cassettes/bench/own/qwen.yaml")
    assert record(service, *suite("own", "a", "b", "c")) == 0
    assert record(service, *suite("own", "a"), "suite.tasks=[a]") == 0
    assert len(load(file)) == 3
    assert record(service, *suite("own", "a")) == 0
    told = capsys.readouterr()
    assert f"2 recording(s) of {file} belong to no call any more" in told.err
    assert "1 recording(s), 3 before" in told.out
    assert len(load(file)) == 1


def test_what_another_suite_has_recorded_into_the_same_file_stays(service):
    assert record(service, *suite("one", "a"), "cassette.path=both.yaml") == 0
    assert record(service, *suite("two", "b"), "cassette.path=both.yaml") == 0
    kept = [interaction.details.suite for interaction in interactions(load(Path("both.yaml")))]
    assert kept == ["one", "two"]


def test_a_cassette_is_recorded_again_without_its_suite(service, capsys):
    assert record(service, *suite("own", "a", "b"), "cassette.path=x.yaml", "concurrency=1") == 0
    Path("suite.yaml").unlink()
    change('api: "2026-10-21"', 'api: "2023-06-01"', Path("x.yaml"))
    assert record(service, "cassette.path=x.yaml") == 0
    told = capsys.readouterr()
    assert "recorded with API version 2023-06-01, requests ask for 2026-10-21 now: x.yaml#1, x.yaml#2" in told.err
    assert service.asked == 4
    assert [item.details.suite for item in interactions(load(Path("x.yaml")))] == ["own", "own"]
    assert record(service, "cassette.path=.", "cassette.all=true") == 0
    assert service.asked == 6


def test_a_cassette_that_is_not_there_can_be_no_ones_to_record_again(service, capsys):
    assert record(service, "cassette.path=typo.yaml") == 2
    assert "there is no typo.yaml to record again; choose a suite" in capsys.readouterr().err
    assert service.asked == 0


def test_a_sweep_records_each_model_into_a_file_of_its_own(service):
    url = f"http://127.0.0.1:{service.server_port}"
    words = [*suite("own", "a"), "endpoint=compatible", f"endpoint.base_url={url}", "model=qwen,smollm2"]
    assert main(["record", "-m", *words]) == 0
    assert sorted(file.name for file in Path("cassettes/bench/own").iterdir()) == ["qwen.yaml", "smollm2.yaml"]
