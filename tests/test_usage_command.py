"""``claudeprov usage``: sums as tables, JSON and CSV, and what it says where there is nothing to add up."""

from __future__ import annotations

import csv
import io
import json
import os
from decimal import Decimal
from pathlib import Path

import pytest

from claudeprov.commands import main
from claudeprov.commands.completion import candidates
from claudeprov.ledger.outbox import Outbox
from claudeprov.ledger.store import store_of
from claudeprov.settings.ledger import LedgerSettings
from tests.ledger.rows import ledger, row

pytestmark = pytest.mark.usefixtures("no_settings", "no_credentials")

HAIKU, SONNET = "claude-haiku-4-5-20251001", "claude-sonnet-4-5-20250929"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    return tmp_path


def enter(folder, *rows):
    ledger(folder / "runs/ledger.db", rows).close()


def shown(capsys, *words):
    """The lines of the table."""
    assert main(["usage", *words]) == 0
    return capsys.readouterr().out.splitlines()


def document(capsys, *words):
    assert main(["usage", "--json", *words]) == 0
    return json.loads(capsys.readouterr().out)


def test_calls_are_summed_by_model_with_a_total(folder, capsys):
    enter(
        folder,
        row(served=SONNET, usd="0.25", input_tokens=1200, cache_write_5m_tokens=30, cache_read_tokens=4000),
        row(served=HAIKU, usd="0.000001", output_tokens=7, error="overloaded"),
    )
    header, sonnet, haiku, total = shown(capsys)
    assert header.split("  ")[0] == "model"
    assert sonnet.split() == [SONNET, "1", "0", "1,200", "30", "4,000", "0", "$0.25"]
    assert haiku.split() == [HAIKU, "1", "1", "0", "0", "0", "7", "$0.000001"]
    assert total.split() == ["total", "2", "1", "1,200", "30", "4,000", "7", "$0.250001"]


def test_bounds_and_unknown_prices_are_marked_wherever_they_are_summed(folder, capsys):
    interval = {"cost_low_usd": Decimal("0.2"), "cost_high_usd": Decimal("0.5")}
    enter(folder, row(run="a", usd="1"), row(run="b", **interval), row(run="c"), row(run="d", usd="2"), row(run="d"))
    lines = {line.split()[0]: " ".join(line.split()[7:]) for line in shown(capsys, "--by", "run")}
    assert lines["a"] == "$1"
    assert lines["b"] == "$0.2 to $0.5"
    assert lines["c"] == "unknown"
    assert lines["d"] == "at least $2 (unknown: 1 of 2)"
    assert lines["total"] == "at least $3.2 (unknown: 2 of 5)"


def test_json_holds_exact_amounts_and_the_counts_of_what_is_not_in_them(folder, capsys):
    enter(folder, row(run="a", usd="0.1"), row(run="a", usd="0.2"), row(run="b"))
    found = document(capsys, "--by", "run,day")
    assert found["by"] == ["run", "day"]
    assert found["since"] is None
    first, second = found["groups"]
    assert (first["run"], first["day"], first["calls"]) == ("a", "2026-11-22", 2)
    assert (first["cost_usd"], first["cost_low_usd"], first["cost_high_usd"]) == ("0.3", "0.3", "0.3")
    assert (second["cost_usd"], second["cost_unknown"], second["cost_high_usd"]) == (None, 1, None)
    (total,) = found["totals"]
    assert (total["calls"], total["cost_usd"], total["cost_low_usd"]) == (3, None, "0.3")


def test_csv_has_a_line_for_each_group(folder, capsys):
    enter(folder, row(task="a, b", usd="0.1"), row(task="c", usd="0.2"))
    assert main(["usage", "--by", "task", "--csv"]) == 0
    lines = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(line["task"], line["cost_usd"], line["calls"]) for line in lines] == [
        ("c", "0.2", "1"),
        ("a, b", "0.1", "1"),
    ]


def test_keys_may_be_given_together_or_one_after_another(folder, capsys):
    enter(folder, row(run="a", task="b"))
    assert document(capsys, "--by", "run,task")["by"] == document(capsys, "--by", "run", "--by", "task")["by"]


def test_tags_have_no_total_since_a_call_may_have_two(folder, capsys):
    enter(folder, row(tags={"user": "x", "team": "y"}, usd="1"))
    found = document(capsys, "--by", "tag")
    assert [group["tag"] for group in found["groups"]] == ["team=y", "user=x"]
    assert found["totals"] == []
    assert document(capsys, "--by", "tag:team")["groups"][0]["tag:team"] == "y"


def test_replayed_calls_are_told_apart(folder, capsys):
    enter(folder, row(usd="1"), row(usd="5", replayed=True))
    lines = [line.split() for line in shown(capsys)[1:]]
    assert [(line[0], line[-1]) for line in lines] == [
        (SONNET, "$1"),
        (SONNET, "$5"),
        ("total", "$1"),
        ("total", "$5"),
    ]
    assert [line[1] for line in lines] == ["1", "(replayed)", "1", "(replayed)"]


def test_only_calls_since_a_moment_are_summed(folder, capsys):
    enter(folder, row(after=-86400), row())
    assert document(capsys, "--since", "2026-11-22")["totals"][0]["calls"] == 1
    assert document(capsys, "--since", "2026-11-22")["since"] == "2026-11-22T00:00:00.000000Z"


def test_a_ledger_without_calls_says_so(folder, capsys):
    enter(folder)
    assert main(["usage", "--since", "7d"]) == 0
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("the ledger has no calls since 20")
    assert document(capsys)["groups"] == []
    assert main(["usage", "--csv", "--by", "task,day"]) == 0
    assert capsys.readouterr().out.startswith("task,day,replayed,calls,failed,input_tokens,")
    assert main(["usage", "--csv", "--advise"]) == 0
    assert capsys.readouterr().out == "subject,text,calls,sum_usd,saving_usd,estimate\n"


def test_where_there_is_no_ledger_it_says_how_to_get_one_and_makes_none(folder, capsys):
    assert main(["usage"]) == 2
    assert f"ledger.path = '{folder}/runs/ledger.db': there is no ledger yet; calls are entered with ledger=sqlite" in (
        capsys.readouterr().err
    )
    assert os.listdir(folder / "runs") == []


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--by", "modle"], "--by modle: calls have no such key; did you mean model? (allowed: model, asked, day"),
        (["--by", "tag:"], "--by tag:: calls have no such key; did you mean tag?"),
        (["--since", "yesterday"], "--since yesterday: is no time (allowed: a date such as 2026-11-01"),
        (["--since", ""], "--since : is no time"),
        (["--since", "", "--advise"], "--since : is no time"),
        (["--since", "999999w"], "--since 999999w: is no time"),
        (["--json", "--csv"], "not allowed with argument"),
    ],
)
def test_bad_flags_are_refused_with_what_is_allowed(folder, capsys, flags, told):
    enter(folder, row())
    assert main(["usage", *flags]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"no database" * 99, None], ids=["text", "another database"])
def test_a_file_that_is_no_ledger_is_told(folder, capsys, content):
    import sqlite3

    if content:
        (folder / "runs/ledger.db").write_bytes(content)
    else:
        connection = sqlite3.connect(folder / "runs/ledger.db")
        connection.execute("CREATE TABLE t (x)")
        connection.close()
    assert main(["usage"]) == 2
    assert f"ledger.path = '{folder}/runs/ledger.db': the ledger cannot be read:" in capsys.readouterr().err


def test_what_a_killed_process_left_is_in_the_sum(folder, capsys, monkeypatch):
    store, base = store_of(LedgerSettings(), "runs")
    store.make()
    dead = Outbox(store, base)
    monkeypatch.setattr(dead, "_run", lambda: None)
    dead.put(row(usd="0.5"))
    os.close(dead._journal._file)
    assert document(capsys)["totals"][0]["cost_usd"] == "0.5"


def test_another_users_journal_is_told_and_the_rest_summed(folder, capsys, monkeypatch, caplog):
    enter(folder, row(usd="0.5"))
    foreign = folder / "runs/ledger.db.outbox-00000000"
    foreign.write_bytes(b"x")
    opened = os.open

    def denied(path, *args, **kwargs):
        if path == foreign:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", denied)
    assert document(capsys)["totals"][0]["cost_usd"] == "0.5"
    assert f"the rows in {foreign} cannot be moved: [Errno 13] Permission denied" in caplog.text


def test_a_folder_that_cannot_be_looked_into_is_told_with_its_key(folder, capsys, monkeypatch):
    def denied(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", denied)
    assert main(["usage"]) == 2
    assert "/runs/ledger.db': the ledger cannot be read: [Errno 13] Permission denied" in capsys.readouterr().err


def test_a_replayed_bench_is_found_by_run_suite_and_task(folder, capsys):
    words = ["bench", "suite=smoke", "cassette=replay", "model=qwen", "ledger=sqlite", "run_name=mine", "--json"]
    assert main(words) == 0
    capsys.readouterr()
    groups = document(capsys, "--by", "run,suite,task")["groups"]
    assert {(group["run"], group["suite"], group["replayed"]) for group in groups} == {("mine", "code", True)}
    assert len({group["task"] for group in groups}) == 4
    assert sorted(os.listdir(folder / "runs")) == ["ledger.db", "mine"]


def test_it_is_completed_and_tells_of_itself(capsys):
    assert candidates("claudeprov usa") == ["usage "]
    assert candidates("claudeprov usage --ad") == ["--advise "]
    assert "ledger=sqlite " in candidates("claudeprov usage ledger=")
    assert main(["usage", "--help"]) == 0
    assert "claudeprov usage --by day,model --since 7d" in capsys.readouterr().out


def test_advice_is_given_with_its_sum_and_its_estimate(folder, capsys):
    opus = {"served": "claude-opus-5-5", "run": "a"}
    enter(folder, row(usd="0.5", after=-60, **opus), row(usd="9", replayed=True, **opus))
    assert main(["usage", "--advise", "--since", "2026-11-22"]) == 0
    told = capsys.readouterr()
    assert told.out.startswith("batches: 1 calls to claude-opus-5-5 in 1 runs could go through the batches API")
    assert "saves about $0.2500 of $0.5000 in 1 calls" in told.out
    assert "1 calls since 2026-11-22T00:00:00.000000Z were looked at; 1 replayed ones cost nothing" in told.err


def test_advice_is_given_as_json_and_as_csv(folder, capsys):
    enter(folder, row(served="claude-opus-5-5", run="a", usd="0.5"))
    found = document(capsys, "--advise", "--since", "2026-11-22")
    assert found["calls"] == 1
    (one,) = found["advice"]
    assert (one["subject"], one["sum_usd"], one["calls"]) == ("batches", "0.5", 1)
    assert one["saving_usd"] == "0.25"
    assert main(["usage", "--advise", "--csv", "--since", "2026-11-22"]) == 0
    (line,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert line["subject"] == "batches"


def test_of_very_many_calls_the_latest_are_looked_at(folder, capsys, monkeypatch):
    monkeypatch.setattr("claudeprov.commands.usage._LOOKED_AT", 2)
    enter(folder, *(row(served="claude-opus-5-5", run="a", usd=usd, after=n) for n, usd in enumerate(("8", "2", "4"))))
    assert main(["usage", "--advise", "--since", "2026-11-22"]) == 0
    told = capsys.readouterr()
    assert "of $6.00 in 2 calls" in told.out
    assert told.err.endswith(
        "2 calls since 2026-11-22T00:00:00.000000Z were looked at; 0 replayed ones cost nothing; "
        "1 earlier ones were left out\n"
    )


def test_where_there_is_nothing_to_advise_it_says_so(folder, capsys):
    enter(folder)
    assert main(["usage", "--advise"]) == 0
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("nothing to advise: 0 calls since 20")


def test_results_of_runs_and_cassettes_are_read_for_advice(folder, capsys):
    words = ["suite=smoke", "cassette=replay", "model=qwen", "ledger=sqlite", "run_name=mine"]
    assert main(["bench", *words]) == 0
    (folder / "runs/other").mkdir()
    (folder / "runs/other/result.json").write_text("{}")
    assert main(["usage", "--advise"]) == 0
    assert "nothing to advise: 0 calls" in capsys.readouterr().err
