"""A ledger on a real server of PostgreSQL's: what comes in, what waits while it is down, and what is added up."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from decimal import Decimal
from random import Random

import pytest

from claudeprov.commands import main
from claudeprov.errors import ConfigurationError
from claudeprov.ledger.outbox import open_outbox
from claudeprov.ledger.store import store_of
from claudeprov.ledger.sums import KEYS, sums_of
from claudeprov.settings.ledger import LedgerSettings
from tests.ledger.conftest import PASSWORD
from tests.ledger.rows import ledger, row


def outbox(postgres, folder):
    return open_outbox(LedgerSettings(kind="postgres", url=postgres.url), str(folder))


def rows_in(postgres):
    store, _ = store_of(LedgerSettings(kind="postgres", url=postgres.url), "")
    with closing(store):
        return list(store.rows())


def test_rows_come_in_as_they_were_put_and_leave_no_file(postgres, tmp_path):
    given = [row(usd="0.000000000000001", tags={"user": "Zoë"}, replayed=True, first_chunk=0.25), row(after=1)]
    box = outbox(postgres, tmp_path)
    for one in (*given, given[0]):
        box.put(one)
    box.close()
    assert rows_in(postgres) == given
    assert os.listdir(tmp_path) == []


def test_rows_wait_for_a_server_that_is_down_and_outlive_their_process(postgres, tmp_path):
    postgres.stop()
    box = outbox(postgres, tmp_path)
    for number in range(100):
        box.put(row(id=f"call_{number:02}"))
    assert not box.move()
    assert "onnection refused" in box.trouble
    box.close()
    (journal,) = os.listdir(tmp_path)
    assert journal.startswith(f"ledger-127.0.0.1-{postgres.port}-usage.outbox-")
    postgres.start()
    later = outbox(postgres, tmp_path)
    later.put(row(id="call_99"))
    assert later.move()
    later.close()
    assert sorted(one.id for one in rows_in(postgres)) == [f"call_{number:02}" for number in range(100)]
    assert os.listdir(tmp_path) == []


def test_a_server_that_crashes_between_two_batches_loses_none_and_doubles_none(postgres, tmp_path):
    box = outbox(postgres, tmp_path)
    box.put(row(id="call_1"))
    assert box.move()
    postgres.stop("immediate")
    box.put(row(id="call_2"))
    assert not box.move()
    postgres.start()
    box.put(row(id="call_1"))
    assert box.move()
    box.close()
    assert sorted(one.id for one in rows_in(postgres)) == ["call_1", "call_2"]


def test_a_server_that_stands_still_holds_up_no_closing_and_loses_no_row(postgres, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("claudeprov.ledger.outbox.GATHER", 0)
    monkeypatch.setattr("claudeprov.ledger.outbox.CLOSING", 0.2)
    box = outbox(postgres, tmp_path)
    box.put(row(id="call_1"))
    assert box.move()
    with postgres.frozen():
        box.put(row(id="call_2"))
        box.close()
        (journal,) = tmp_path.iterdir()
        assert b"call_2" in journal.read_bytes()
    assert "the database does not answer" in caplog.text
    box._thread.join()  # else it would outlive the test
    box._store.close()
    later = outbox(postgres, tmp_path)
    assert later.move()
    later.close()
    assert sorted(one.id for one in rows_in(postgres)) == ["call_1", "call_2"]


def test_texts_as_long_as_a_row_may_hold_are_entered(postgres, tmp_path):
    random = Random(1)
    run, served, value = ("".join(map(chr, random.choices(range(0x4E00, 0x9FFF), k=1000))) for _ in range(3))
    box = outbox(postgres, tmp_path)
    box.put(row(run=run, served=served, tags={"long": value}))
    assert box.move(), box.trouble
    box.close()


def test_a_refused_password_keeps_rows_and_shows_in_no_message(postgres, tmp_path, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "another-pa55word")
    box = outbox(postgres, tmp_path)
    box.put(row())
    assert not box.move()
    assert "password authentication failed" in box.trouble
    assert "pa55word" not in box.trouble
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    assert box.move()
    box.close()


def test_processes_that_make_the_table_at_once_do_not_collide(postgres):
    stores = [store_of(LedgerSettings(kind="postgres", url=postgres.url), "")[0] for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda store: store.add([row()]), stores))
    for store in stores:
        store.close()
    assert len(rows_in(postgres)) == 8


def test_sums_are_those_of_sqlite(postgres, tmp_path):
    rows = [
        row(usd="9000.000000000000001", run="a", tags={"team": "red", "user": "x"}, input_tokens=3),
        row(cost_low_usd=Decimal("0.2"), cost_high_usd=Decimal("0.5"), run="a", error="truncated", tags={"user": "x"}),
        row(cost_reason="no price is known", replayed=True, suite="code", served=None, after=86400),
        *(row(usd="9000") for _ in range(2000)),
    ]
    store, _ = store_of(LedgerSettings(kind="postgres", url=postgres.url), "")
    store.add(rows)
    other = ledger(tmp_path / "ledger.db", rows)
    for by in ((), *((key,) for key in KEYS), ("tag:team",), ("day", "run")):
        assert sums_of(store, by) == sums_of(other, by)
    store.close()
    other.close()


def test_usage_reads_the_server_and_what_dead_processes_left(postgres, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    postgres.stop()
    box = outbox(postgres, "runs")
    box.put(row(usd="0.5"))
    box.close()
    postgres.start()
    assert main(["usage", "ledger=postgres", f"ledger.url='{postgres.url}'"]) == 0
    assert "$0.5" in capsys.readouterr().out


def test_usage_tells_of_a_server_that_is_down_and_of_no_secret(postgres, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    postgres.stop()
    try:
        assert main(["usage", "ledger=postgres", f"ledger.url='{postgres.url}'"]) == 5
    finally:
        postgres.start()
    told = capsys.readouterr().err
    assert "ledger.url = 'postgresql://**********@127.0.0.1" in told
    assert "onnection refused" in told
    assert PASSWORD not in told


def test_a_url_that_leads_nowhere_is_refused_with_its_key(tmp_path):
    settings = LedgerSettings(kind="postgres", url="postgresql://db:port/usage")
    with pytest.raises(ConfigurationError, match=r"ledger.url = 'postgresql://db:port/usage': is no URL of PostgreSQL"):
        open_outbox(settings, str(tmp_path))


def test_without_the_extra_the_command_to_install_it_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'claudeprov\[postgres\]'"):
        open_outbox(LedgerSettings(kind="postgres", url="postgresql:///usage"), str(tmp_path))
