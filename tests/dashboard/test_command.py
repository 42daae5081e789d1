"""``claudeprov dashboard``."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from claudeprov.commands import main
from claudeprov.commands.dashboard import DASHBOARD, RULES
from claudeprov.dashboard.thresholds import Thresholds

pytestmark = pytest.mark.usefixtures("no_settings")


def test_export_writes_both_files_and_says_where(tmp_path, capsys):
    folder = tmp_path / "new" / "folder"
    assert main(["dashboard", "export", "--out", str(folder)]) == 0
    assert capsys.readouterr().out.splitlines() == [str(folder / DASHBOARD), str(folder / RULES)]
    assert sorted(file.name for file in folder.iterdir()) == [DASHBOARD, RULES]


def test_export_writes_here_by_default_and_tells_json(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["dashboard", "export", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"dashboard": DASHBOARD, "rules": RULES}
    assert json.loads((tmp_path / DASHBOARD).read_text())["uid"] == "claudeprov"


def test_a_further_export_replaces_an_earlier_one_with_the_same_bytes(tmp_path):
    main(["dashboard", "export", "--out", str(tmp_path)])
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert main(["dashboard", "export", "--out", str(tmp_path)]) == 0
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name", [DASHBOARD, RULES])
@pytest.mark.parametrize(
    "text",
    [
        "mine",
        "",
        "# Mine.\n# Written by `claudeprov dashboard export` was the one that I took this from.\n",
        '{"description": "Mine. Written by `claudeprov dashboard export` was another."}',
        '["Written by `claudeprov dashboard export`"]',
    ],
)
def test_a_file_of_someone_else_is_never_overwritten(tmp_path, capsys, name, text):
    (tmp_path / name).write_text(text)
    assert main(["dashboard", "export", "--out", str(tmp_path)]) == 2
    assert "is no file of `claudeprov dashboard export`, and is not overwritten" in capsys.readouterr().err
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [(name, text)]


@pytest.mark.parametrize("name", [DASHBOARD, RULES])
def test_a_link_is_not_followed_and_nobody_waits_for_a_pipe(tmp_path, capsys, name):
    folder, elsewhere = tmp_path / "folder", tmp_path / "elsewhere"
    folder.mkdir()
    main(["dashboard", "export", "--out", str(elsewhere)])
    (elsewhere / name).write_text(before := (elsewhere / name).read_text() + " ")
    (folder / name).symlink_to(elsewhere / name)
    assert main(["dashboard", "export", "--out", str(folder)]) == 2
    assert (elsewhere / name).read_text() == before
    (folder / name).unlink()
    os.mkfifo(folder / name)
    assert main(["dashboard", "export", "--out", str(folder)]) == 2
    assert capsys.readouterr().err.count("is a link or no regular file, and is not overwritten") == 2
    assert [file.name for file in folder.iterdir()] == [name]


def test_a_disk_that_fills_up_leaves_both_files_as_they_were(tmp_path, capsys):
    main(["dashboard", "export", "--out", str(tmp_path)])
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    allowed, bound = resource.getrlimit(resource.RLIMIT_FSIZE), len(before[RULES]) - 1
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        for size in (bound, len(before[DASHBOARD]) - 1):
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, allowed[1]))
            code = main(["dashboard", "export", "--out", str(tmp_path), "--p95-seconds", "300"])
            resource.setrlimit(resource.RLIMIT_FSIZE, allowed)
            assert code == 2
            assert "cannot be written" in capsys.readouterr().err
            assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, allowed)
        signal.signal(signal.SIGXFSZ, handler)
    assert main(["dashboard", "export", "--out", str(tmp_path), "--p95-seconds", "300"]) == 0


def test_a_place_that_cannot_be_written_is_told(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["dashboard", "export", "--out", str(tmp_path / "file")]) == 2
    assert "file" in capsys.readouterr().err
    (tmp_path / DASHBOARD).mkdir()
    assert main(["dashboard", "export", "--out", str(tmp_path)]) == 2
    assert "is a link or no regular file" in capsys.readouterr().err


def test_thresholds_reach_both_files(tmp_path):
    assert main(["dashboard", "export", "--out", str(tmp_path), "--p95-seconds", "300", "--cost-per-hour", "2.5"]) == 0
    assert '"value": 300.0' in (tmp_path / DASHBOARD).read_text()
    rules = (tmp_path / RULES).read_text()
    assert "_duration_seconds:p95_5m > 300 and" in " ".join(rules.split())
    assert "3600 > 2.5\n" in rules


def test_every_threshold_has_a_flag_and_the_documentation_tells_its_default(capsys):
    assert main(["dashboard", "--help"]) == 0
    flags = capsys.readouterr().out
    text = (Path(__file__).parents[2] / "docs" / "dashboard.md").read_text()
    for field in fields(Thresholds):
        flag = f"--{field.name.replace('_', '-')}"
        assert flag in flags
        assert f"`{flag} {field.default:g}`" in text


def test_a_threshold_that_makes_no_sense_writes_nothing(tmp_path, capsys):
    assert main(["dashboard", "export", "--out", str(tmp_path), "--error-ratio", "5"]) == 2
    assert "--error-ratio 5: no such threshold" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_without_its_library_it_says_what_to_install(tmp_path, capsys, monkeypatch):
    monkeypatch.delitem(sys.modules, "claudeprov.dashboard.grafana", raising=False)
    monkeypatch.setitem(sys.modules, "grafana_foundation_sdk", None)
    monkeypatch.setitem(sys.modules, "grafana_foundation_sdk.builders", None)
    assert main(["dashboard", "export", "--out", str(tmp_path)]) == 2
    assert "pip install 'claudeprov[dashboard]'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
