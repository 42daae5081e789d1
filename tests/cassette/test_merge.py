from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from vcr.cassette import Cassette
from vcr.request import Request

from claudeprov.cassette.file import load, new_cassette
from claudeprov.cassette.interaction import interactions
from claudeprov.cassette.merge import merge
from claudeprov.cassette.rules import Rules
from claudeprov.errors import CassetteError

URL = "https://api.anthropic.com/v1/messages"


def recording(path: Path, *asked: object, answer: str = "answer") -> Cassette:
    cassette = new_cassette(path)
    for body in asked:
        response = {"status": {"code": 200, "message": "OK"}, "headers": {}, "body": {"string": answer.encode()}}
        cassette.append(Request("POST", URL, json.dumps(body).encode(), {}), response)
    return cassette


def held(path: Path) -> list[tuple[object, str]]:
    return [(json.loads(item.request.body), item.body.decode()) for item in interactions(load(path))]


def keep_all(_: object) -> bool:
    return True


def keep_none(_: object) -> bool:
    return False


def test_a_new_recording_takes_the_place_of_the_old_one_of_its_request(tmp_path):
    path = tmp_path / "x.yaml"
    merge(recording(path, "a", "b", "c", answer="old"), keep_all)
    merge(recording(path, "d", "b", answer="new"), keep_all)
    assert held(path) == [("a", "old"), ("b", "new"), ("c", "old"), ("d", "new")]


def test_equal_requests_are_replaced_together(tmp_path):
    path = tmp_path / "x.yaml"
    merge(recording(path, "a", "b", "a", answer="old"), keep_all)
    merge(recording(path, "a", "a", "a", answer="new"), keep_all)
    assert held(path) == [("a", "new"), ("a", "new"), ("a", "new"), ("b", "old")]


def test_what_need_not_be_kept_goes(tmp_path):
    path = tmp_path / "x.yaml"
    merge(recording(path, "a", "b"), keep_all)
    merge(recording(path, "b", answer="new"), keep_none)
    assert held(path) == [("b", "new")]


def test_what_is_added_stands_behind_what_there_is(tmp_path):
    path = tmp_path / "x.yaml"
    merge(recording(path, "a", "b", answer="old"), keep_all)
    merge(recording(path, "a", answer="new"), keep_all, add=True)
    assert held(path) == [("a", "old"), ("b", "old"), ("a", "new")]


def test_requests_that_differ_in_what_is_ignored_are_the_same(tmp_path):
    path = tmp_path / "x.yaml"
    merge(recording(path, {"metadata": {"user_id": "1"}}, answer="old"), keep_all)
    merge(recording(path, {"metadata": {"user_id": "2"}}, answer="new"), keep_all, rules=Rules(["$.metadata.user_id"]))
    assert held(path) == [({"metadata": {"user_id": "2"}}, "new")]


def test_a_file_that_is_no_cassette_stays_as_it_is(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("mine: 1", encoding="utf-8")
    with pytest.raises(CassetteError, match="is no cassette"):
        merge(recording(path, "a"), keep_all)
    assert path.read_text(encoding="utf-8") == "mine: 1"


def test_threads_that_write_at_once_lose_nothing(tmp_path):
    path = tmp_path / "x.yaml"
    start = threading.Barrier(8)

    def write(name: str) -> None:
        start.wait()
        for number in range(5):
            merge(recording(path, f"{name}{number}"), keep_all)

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcdefgh"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(body for body, _ in held(path)) == [f"{name}{number}" for name in "abcdefgh" for number in range(5)]
    assert [file.name for file in tmp_path.iterdir()] == ["x.yaml"]


def test_processes_that_write_at_once_lose_nothing(tmp_path):
    path = tmp_path / "x.yaml"
    code = f"""
import sys
from pathlib import Path
from tests.cassette.test_merge import keep_all, merge, recording
print(flush=True)
sys.stdin.readline()
for number in range(10):
    merge(recording(Path({str(path)!r}), sys.argv[1] + str(number)), keep_all)
"""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": Path(__file__).parents[2]}
    writers = [subprocess.Popen([sys.executable, "-c", code, name], **pipes) for name in "abc"]
    for writer in writers:
        writer.stdout.readline()
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    assert sorted(body for body, _ in held(path)) == [f"{name}{number}" for name in "abc" for number in range(10)]
