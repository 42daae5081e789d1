"""``claudeprov dashboard``."""

from __future__ import annotations

import json
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
def test_a_file_of_someone_else_is_never_overwritten(tmp_path, capsys, name):
    (tmp_path / name).write_text("mine")
    assert main(["dashboard", "export", "--out", str(tmp_path)]) == 2
    assert "move it, or name another folder (--out)" in capsys.readouterr().err
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [(name, "mine")]


def test_a_place_that_cannot_be_written_is_told(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["dashboard", "export", "--out", str(tmp_path / "file")]) == 2
    assert "--out" in capsys.readouterr().err
    (tmp_path / DASHBOARD).mkdir()
    assert main(["dashboard", "export", "--out", str(tmp_path)]) == 2
    assert "cannot be read, so it is not overwritten" in capsys.readouterr().err


def test_thresholds_reach_both_files(tmp_path):
    assert main(["dashboard", "export", "--out", str(tmp_path), "--p95-seconds", "33", "--cost-per-hour", "2.5"]) == 0
    assert '"value": 33.0' in (tmp_path / DASHBOARD).read_text()
    rules = (tmp_path / RULES).read_text()
    assert "p95_5m > 33\n" in rules
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
