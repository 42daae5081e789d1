from __future__ import annotations

import json
from pathlib import Path

from claudeprov.commands import main


def cassette(path: Path, body: str) -> Path:
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
        "headers": {"content-type": ["application/json"]},
        "claudeprov": details,
        "body": {"string": body},
    }
    request = {"method": "GET", "uri": "https://x/v1/models", "headers": {}, "body": None}
    document = {"version": 1, "interactions": [{"request": request, "response": response}]}
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def test_right_cassettes_are_named_and_the_status_is_0(tmp_path, capsys):
    good = cassette(tmp_path / "good.yaml", "{}")
    assert main(["cassettes", "verify", str(good)]) == 0
    assert capsys.readouterr().out == f"{good}: ok\n1 cassette(s), 0 with problems\n"


def test_wrong_ones_are_told_with_the_reasons_and_the_status_is_1(tmp_path, capsys):
    cassette(tmp_path / "good.yaml", "{}")
    bad = cassette(tmp_path / "bad.yaml", "{")
    assert main(["cassettes", "verify", str(tmp_path)]) == 1
    assert f"{bad}: 1 problem(s)\n  interaction 1: the body is no JSON" in capsys.readouterr().out


def test_json_gives_the_problems_of_each_cassette(tmp_path, capsys):
    good, bad = cassette(tmp_path / "good.yaml", "{}"), cassette(tmp_path / "bad.yaml", "{")
    assert main(["cassettes", "verify", "--json", str(tmp_path)]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is False
    assert {file: len(problems) for file, problems in told["problems"].items()} == {str(good): 0, str(bad): 1}


def test_an_action_that_is_not_there_is_bad_usage(capsys):
    assert main(["cassettes", "shwo"]) == 2
    assert "verify" in capsys.readouterr().err
