"""``claudeprov report``: what it takes for a run or a time, where the page goes, and what it says of wrong names."""

from __future__ import annotations

import json
import os
import shutil
import sys

import pytest

from claudeprov.bench.result import save
from claudeprov.commands import main
from tests.ledger.rows import ledger, row
from tests.report.made import result, task

pytestmark = pytest.mark.usefixtures("no_settings", "no_credentials")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    folder = tmp_path / "project"  # what lies beside it is of no other test
    for name in ("nightly/0-haiku", "nightly/1-sonnet", "smoke"):
        place = folder / "runs" / name
        place.mkdir(parents=True)
        save(result(task("a"), name=name, model=name), place)
    monkeypatch.chdir(folder)
    return folder


def written(capsys, *words):
    """The page whose path the command prints."""
    assert main(["report", *words]) == 0
    with open(capsys.readouterr().out.strip(), encoding="utf-8") as file:
        return file.read()


@pytest.mark.parametrize("name", ["smoke", "runs/smoke", "runs/smoke/result.json", "smoke/"])
def test_a_run_is_named_by_its_folder_or_its_file(folder, capsys, name):
    assert "<h1>smoke</h1>" in written(capsys, name)
    assert (folder / "runs/smoke/report.html").is_file()


def test_a_sweep_is_one_page(capsys):
    page = written(capsys, "nightly")
    assert "2 runs" in page
    assert "nightly/1-sonnet" in page


def test_a_time_is_read_from_the_ledger(folder, capsys):
    ledger(folder / "runs/ledger.db", [row(usd="0.25")]).close()
    assert "$0.25" in written(capsys, "2026-11-01")
    assert (folder / "runs/report-2026-11-01.html").is_file()


def test_the_page_goes_where_it_is_asked_to(folder, capsys):
    written(capsys, "smoke", "--out", "mine.html")
    assert (folder / "mine.html").is_file()
    assert not (folder / "runs/smoke/report.html").exists()


def test_the_place_is_told_as_json(capsys):
    assert main(["report", "smoke", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["path"] == "runs/smoke/report.html"
    assert told["title"] == "smoke"
    assert told["bytes"] > 10_000


def test_what_is_neither_a_run_nor_a_time_is_answered_with_what_there_is(capsys):
    assert main(["report", "smok"]) == 2
    said = capsys.readouterr().err
    assert "is neither a run nor a time; did you mean smoke?" in said
    assert "nightly/1-sonnet, nightly/0-haiku" in said
    assert "7d" in said


def test_many_runs_are_not_all_told(folder, capsys):
    for number in range(9):
        (folder / f"runs/more-{number}").mkdir()
        save(result(task("a")), folder / f"runs/more-{number}")
    assert main(["report", "x y"]) == 2
    assert "and 8 more" in capsys.readouterr().err


def test_a_time_without_a_ledger_is_told(capsys):
    assert main(["report", "7d"]) == 2
    assert "there is no ledger yet" in capsys.readouterr().err


def test_a_run_of_another_format_is_told(folder, capsys):
    (folder / "runs/smoke/result.json").write_text("{}")
    assert main(["report", "smoke"]) == 2
    assert "runs/smoke/result.json is no result of a run" in capsys.readouterr().err


def test_a_folder_in_place_of_a_result_is_told(folder, capsys):
    (folder / "runs/smoke/result.json").unlink()
    (folder / "runs/smoke/result.json").mkdir()
    assert main(["report", "smoke"]) == 2
    assert "runs/smoke/result.json cannot be read: Is a directory" in capsys.readouterr().err


def test_a_broken_run_of_a_sweep_is_named_in_the_page(folder, capsys):
    (folder / "runs/nightly/2-opus").mkdir()
    (folder / "runs/nightly/2-opus/result.json").write_text('{"format": 1, "na')
    assert "1 of 3 runs could not be read: 2-opus" in written(capsys, "nightly")


@pytest.mark.parametrize("name", [".", "..", "/", "runs"])
def test_neither_all_runs_nor_what_lies_deeper_than_a_sweep_are_one_report(name, capsys):
    assert main(["report", name]) == 2
    assert f"RUN_OR_PERIOD {name}: is neither a run nor a time" in capsys.readouterr().err


def test_a_time_is_written_where_there_are_no_runs_yet(folder, capsys):
    shutil.rmtree(folder / "runs")
    ledger(folder / "x.db", [row(usd="0.25")]).close()
    assert "$0.25" in written(capsys, "2026-11-01", "ledger=sqlite", "ledger.path=x.db")


def test_a_pipe_is_refused_at_once(folder, capsys):
    os.mkfifo(folder / "pipe")
    assert main(["report", "smoke", "--out", "pipe"]) == 2
    assert "is a link or no regular file" in capsys.readouterr().err


def test_only_what_is_required_is_asked_for(capsys):
    assert main(["report"]) == 2
    assert "the following arguments are required: RUN_OR_PERIOD (see" in capsys.readouterr().err


def test_answers_are_in_the_page_only_if_they_are_asked_for(capsys):
    assert "the answer to a" not in written(capsys, "smoke")
    assert "the answer to a" in written(capsys, "smoke", "--answers")


def test_a_ledger_has_no_answers(capsys):
    assert main(["report", "7d", "--answers"]) == 2
    assert "a ledger keeps no answers" in capsys.readouterr().err


def test_another_file_is_not_overwritten(folder, capsys):
    (folder / "notes.html").write_text("mine")
    assert main(["report", "smoke", "--out", "notes.html"]) == 2
    assert "is no report, and is not overwritten" in capsys.readouterr().err
    assert (folder / "notes.html").read_text() == "mine"


def test_the_extra_is_named_where_it_is_missing(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "altair", None)
    assert main(["report", "7d"]) == 2
    assert "pip install 'claudeprov[report]'" in capsys.readouterr().err
