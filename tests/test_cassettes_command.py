from __future__ import annotations

import json
from pathlib import Path

import pytest

from claudeprov.commands import main
from tests.cassette.sessions import REQUEST, answer, exchange, text, written

pytestmark = pytest.mark.usefixtures("no_credentials", "no_settings")


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


GOOD = exchange(answer(text("Because.")), suite="code")
BAD = exchange(answer(text("Because."))[:-1])


def test_right_cassettes_are_named_and_the_status_is_0(folder, capsys):
    good = written(folder / "good.yaml", GOOD)
    assert main(["cassettes", "verify", str(good)]) == 0
    assert capsys.readouterr().out == f"{good}: ok\n1 cassette(s), 0 with problems\n"


def test_wrong_ones_are_told_with_the_reasons_and_the_status_is_1(folder, capsys):
    written(folder / "good.yaml", GOOD)
    bad = written(folder / "bad.yaml", BAD)
    assert main(["cassettes", "verify", str(folder)]) == 1
    reason = "interaction 1: the stream ends without message_stop"
    assert f"{bad}: 1 problem(s)\n  {reason}\n" in capsys.readouterr().out


def test_json_gives_the_problems_of_each_cassette(folder, capsys):
    good, bad = written(folder / "good.yaml", GOOD), written(folder / "bad.yaml", BAD)
    assert main(["cassettes", "verify", "--json", str(folder)]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is False
    assert {file: len(problems) for file, problems in told["problems"].items()} == {str(good): 0, str(bad): 1}


def test_an_orphan_fails_and_a_test_of_its_name_saves_it(folder, capsys):
    written(folder / "cassettes" / "test_a" / "test_b.yaml", exchange(answer(text("a"))))
    assert main(["cassettes", "verify"]) == 1
    assert "orphan: no suite, test or file of the project uses it" in capsys.readouterr().out
    (folder / "test_a.py").write_text("def test_b(): ...", encoding="utf-8")
    assert main(["cassettes", "verify"]) == 0


def test_age_is_a_setting(folder, capsys):
    old = written(folder / "old.yaml", exchange(answer(text("a")), recorded_at="2025-01-01T00:00:00Z"))
    assert main(["cassettes", "verify", str(old)]) == 1
    assert "stale: recorded more than 180 days ago" in capsys.readouterr().out
    assert main(["cassettes", "verify", str(old), "cassette.max_age=null"]) == 0


def test_the_list_has_age_model_lifecycle_size_and_users(folder, capsys):
    written(folder / "cassettes" / "a.yaml", GOOD)
    assert main(["cassettes", "list"]) == 0
    header, line = capsys.readouterr().out.splitlines()
    assert header.split() == ["cassette", "age", "model", "lifecycle", "calls", "size", "used", "by"]
    assert line.split()[0] == "cassettes/a.yaml"
    assert line.split()[2:] == ["d", "qwen", "local", "1", "1", "kB", "code"]


def test_the_list_as_json_has_the_same(folder, capsys):
    path = written(folder / "a.yaml", GOOD)
    assert main(["cassettes", "list", "a.yaml", "--json"]) == 0
    [entry] = json.loads(capsys.readouterr().out)
    assert entry.pop("age_days") >= 0
    assert entry == {
        "path": "a.yaml",
        "bytes": path.stat().st_size,
        "interactions": 1,
        "recorded_at": "2026-11-22T10:00:00Z",
        "models": [{"name": "qwen", "lifecycle": "local", "replacement": None}],
        "used_by": ["code"],
    }


def test_what_is_no_cassette_is_told_beside_the_list_and_the_status_is_1(folder, capsys):
    written(folder / "a.yaml", GOOD)
    (folder / "b.yaml").write_text("[", encoding="utf-8")
    assert main(["cassettes", "list", "."]) == 1
    told = capsys.readouterr()
    assert "a.yaml" in told.out
    assert "b.yaml is no cassette" in told.err


def test_a_session_is_shown(folder, capsys):
    written(folder / "a.yaml", GOOD, BAD)
    assert main(["cassettes", "show", "a.yaml"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("a.yaml: 2 interaction(s)\n\n── 1/2: POST /v1/messages, qwen")
    assert "       user  Why?\n     answer  Because.\n" in told


def test_a_session_as_json_has_request_and_answer(folder, capsys):
    written(folder / "a.yaml", GOOD)
    assert main(["cassettes", "show", "a.yaml", "--json"]) == 0
    [item] = json.loads(capsys.readouterr().out)["a.yaml"]
    assert item["request"] == REQUEST
    assert item["answer"]["content"] == [{"type": "text", "text": "Because."}]


def test_two_recordings_are_compared_by_meaning(folder, capsys):
    written(folder / "a.yaml", GOOD)
    written(folder / "b.yaml", exchange(answer(text("Why", " not?"))))
    assert main(["cassettes", "diff", "a.yaml", "b.yaml"]) == 1
    assert capsys.readouterr().out == (
        'words       interaction 1: text 0% alike, "Because." → "Why not?"\n'
        "the API's grammar is the same; changes by kind: words 1\n"
    )
    assert main(["cassettes", "diff", "a.yaml", "b.yaml", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["changes"] == [
        {"kind": "words", "place": "interaction 1", "text": 'text 0% alike, "Because." → "Why not?"'}
    ]


def test_a_recording_does_not_differ_from_itself(folder, capsys):
    written(folder / "a.yaml", GOOD)
    assert main(["cassettes", "diff", "a.yaml", "a.yaml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"same": True, "summary": "no change in meaning", "changes": []}


def test_diff_takes_two_cassettes(folder, capsys):
    assert main(["cassettes", "diff", "a.yaml"]) == 2
    assert "takes two cassettes, the old and the new one, not 1" in capsys.readouterr().err


def test_a_body_that_is_nested_too_deeply_is_an_error(folder, capsys, monkeypatch):
    def too_deep(*_: object, **__: object) -> None:
        raise RecursionError

    written(folder / "a.yaml", GOOD)
    monkeypatch.setattr("claudeprov.cassette.diff.changes", too_deep)
    assert main(["cassettes", "diff", "a.yaml", "a.yaml"]) == 1
    assert "a body of the cassette is nested too deeply to be read" in capsys.readouterr().err


def test_an_action_that_is_not_there_is_bad_usage(capsys):
    assert main(["cassettes", "shwo"]) == 2
    assert "verify" in capsys.readouterr().err


def test_the_help_has_an_example_of_each_action(capsys):
    assert main(["cassettes", "--help"]) == 0
    told = capsys.readouterr().out
    for action in ("list", "show", "verify", "diff"):
        assert f"  claudeprov cassettes {action}" in told
