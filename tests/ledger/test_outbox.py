from __future__ import annotations

import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from sqlalchemy.exc import OperationalError

from claudeprov.errors import ConfigurationError
from claudeprov.ledger.journal import Journal
from claudeprov.ledger.outbox import Outbox, open_outbox
from claudeprov.ledger.store import Store, store_of
from claudeprov.settings.ledger import LedgerSettings
from tests.ledger.rows import ledger, row


@pytest.fixture
def file(tmp_path):
    return tmp_path / "ledger.db"


class Away(Store):
    """A store whose database is away until it is back."""

    back = False

    def add(self, rows):
        if not self.back:
            raise OperationalError("INSERT", {}, ConnectionRefusedError("connection refused"))
        super().add(rows)


def outbox(file, *, kind=Store):
    store, base = store_of(LedgerSettings(path=str(file)), "")
    return Outbox(kind(store.engine.url), base)


def ids(file):
    store = ledger(file)
    try:
        return sorted(row.id for row in store.rows())
    finally:
        store.close()


def killed(box):
    """What a process leaves that was killed: its journal, which the system closes."""
    os.close(box._journal._file)


def without_thread(box, monkeypatch):
    """Have nothing moved before a test says so."""
    monkeypatch.setattr(box, "_run", lambda: None)
    return box


def test_rows_come_into_the_database_and_nothing_else_is_left(file):
    box = outbox(file)
    for number in range(1000):
        box.put(row(id=f"call_{number:03}"))
    box.close()
    assert ids(file) == [f"call_{number:03}" for number in range(1000)]
    assert os.listdir(file.parent) == ["ledger.db"]


def test_every_field_comes_back_as_it_was_put(file):
    given = row(
        usd="0.000000000000001",
        run="r",
        tags={"user": "Zoë 'x'; DROP TABLE calls --"},
        input_tokens=10**12,
        first_chunk=0.25,
        replayed=True,
        error="overloaded",
        prefixes="ab:3",
    )
    box = outbox(file)
    box.put(given)
    box.close()
    store = ledger(file)
    assert list(store.rows()) == [given]
    store.close()


def test_a_row_that_is_entered_twice_is_there_once(file):
    box = outbox(file)
    one = row()
    box.put(one)
    box.put(one)
    box.close()
    again = outbox(file)
    again.put(one)
    again.close()
    assert ids(file) == [one.id]


def test_a_row_is_with_the_operating_system_as_soon_as_it_was_put(file, monkeypatch):
    box = without_thread(outbox(file), monkeypatch)
    box.put(row(id="call_1"))
    (journal,) = file.parent.glob("ledger.db.outbox-*")
    assert b'"call_1"' in journal.read_bytes()
    box.close()


def test_what_a_process_leaves_the_next_one_enters(file, monkeypatch):
    dead = without_thread(outbox(file), monkeypatch)
    dead.put(row(id="call_1"))
    killed(dead)
    box = outbox(file)
    box.put(row(id="call_2"))
    box.close()
    assert ids(file) == ["call_1", "call_2"]
    assert os.listdir(file.parent) == ["ledger.db"]


def test_two_processes_at_once_have_a_journal_each(file, monkeypatch):
    one, other = (without_thread(outbox(file), monkeypatch) for _ in range(2))
    one.put(row(id="call_1"))
    other.put(row(id="call_2"))
    assert len(list(file.parent.glob("ledger.db.outbox-*"))) == 2
    assert one.move()
    assert ids(file) == ["call_1"]
    assert other.move()
    assert ids(file) == ["call_1", "call_2"]
    one.close()
    other.close()


def test_rows_wait_while_the_database_is_away_and_move_when_it_is_back(file, monkeypatch):
    box = without_thread(outbox(file, kind=Away), monkeypatch)
    box.put(row(id="call_1"))
    assert not box.move()
    assert box.trouble == "connection refused"
    box.put(row(id="call_2"))
    box._store.back = True
    assert box.move()
    assert box.trouble is None
    box.close()
    assert ids(file) == ["call_1", "call_2"]


def test_rows_outlive_a_process_whose_database_was_away_all_the_time(file, caplog):
    box = outbox(file, kind=Away)
    box.put(row(id="call_1"))
    box.close()
    assert "rows wait in" in caplog.text
    assert len(list(file.parent.glob("ledger.db.outbox-*"))) == 1
    later = outbox(file)
    assert later.move()
    later.close()
    assert ids(file) == ["call_1"]


def test_while_the_database_is_away_the_journal_is_synced_to_the_disk(file, monkeypatch):
    synced = Event()
    monkeypatch.setattr("claudeprov.ledger.outbox.GATHER", 0)
    monkeypatch.setattr(Journal, "sync", lambda self: synced.set())
    box = outbox(file, kind=Away)
    box.put(row())
    assert synced.wait(10)
    box.close()


def test_a_journal_that_cannot_be_read_is_told_and_kept(file, monkeypatch, caplog):
    def broken(self):
        raise OSError("input/output error")

    box = outbox(file)
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "read", broken)
        patch.setattr(Journal, "close", lambda self: os.close(self._file))
        box.put(row(id="call_1"))
        box.close()
    assert "input/output error" in caplog.text
    later = outbox(file)
    later.move()
    later.close()
    assert ids(file) == ["call_1"]


@pytest.mark.parametrize("line", [b'{"id": 3}', b"no JSON", b'{"id": "x", "at": "x", "input_tokens": -1}'])
def test_a_line_that_is_no_row_is_set_aside_and_holds_up_no_other(file, caplog, line):
    journal = Journal.create(file)
    for text in (b'{"id":"call_1","at":"x"}', line, b'{"id":"call_2","at":"x"}'):
        journal.append(text)
    journal.close()
    box = outbox(file)
    assert box.move()
    box.close()
    assert ids(file) == ["call_1", "call_2"]
    assert sorted(os.listdir(file.parent)) == ["ledger.db", "ledger.db.unreadable"]
    assert file.with_name("ledger.db.unreadable").read_bytes() == line + b"\n"
    assert "a line is no row, and is set aside" in caplog.text


def test_another_users_journal_is_told_once_left_and_holds_up_no_other(file, monkeypatch, caplog):
    foreign = file.with_name("ledger.db.outbox-00000000")
    foreign.write_bytes(b"x")
    opened = os.open

    def denied(path, *args, **kwargs):
        if path == foreign:
            raise PermissionError(13, "Permission denied")
        return opened(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", denied)
    dead = without_thread(outbox(file), monkeypatch)
    dead.put(row(id="call_1"))
    killed(dead)
    box = without_thread(outbox(file), monkeypatch)
    box.put(row(id="call_2"))
    assert box.move()
    assert box.move()
    box.close()
    assert ids(file) == ["call_1", "call_2"]
    assert foreign.exists()
    assert caplog.text.count("the rows in") == caplog.text.count("Permission denied") == 1


def test_the_own_rows_are_moved_before_those_of_dead_processes(file, monkeypatch):
    dead = without_thread(outbox(file), monkeypatch)
    dead.put(row(id="dead"))
    killed(dead)
    box = without_thread(outbox(file), monkeypatch)
    box.put(row(id="own"))
    entered = []
    monkeypatch.setattr(box._store, "add", lambda rows: entered.extend(one.id for one in rows))
    assert box.move()
    box.close()
    assert entered == ["own", "dead"]


def test_nothing_is_made_before_there_is_a_row(tmp_path):
    box = open_outbox(LedgerSettings(path=str(tmp_path / "sub/ledger.db")), "runs")
    box.close()
    assert os.listdir(tmp_path / "sub") == ["ledger.db"]


def test_the_ledger_is_kept_where_runs_are(tmp_path):
    open_outbox(LedgerSettings(), str(tmp_path / "runs")).close()
    assert os.listdir(tmp_path / "runs") == ["ledger.db"]


def folder(path):
    path.mkdir()
    return path


def text(path):
    path.write_text("no database, but a text that is long enough" * 99)
    return path


def below_a_file(path):
    return text(path) / "ledger.db"


@pytest.mark.parametrize(
    ("make", "said"),
    [(folder, "unable to open database file"), (text, "is not a database"), (below_a_file, "File exists")],
)
def test_a_path_that_can_hold_no_ledger_is_refused_at_once(file, make, said):
    path = make(file)
    with pytest.raises(ConfigurationError, match=f"ledger.path = '{path}': no ledger can be kept there: .*{said}"):
        open_outbox(LedgerSettings(path=str(path)), "runs")


def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(ConfigurationError, match=r"runs_dir = '.*': no ledger can be kept there: .*cannot be written"):
        open_outbox(LedgerSettings(), str(tmp_path))


def test_processes_that_make_a_ledger_at_once_do_not_collide(tmp_path):
    for number in range(20):
        stores = [store_of(LedgerSettings(path=str(tmp_path / f"{number}.db")), "")[0] for _ in range(8)]
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda store: store.add([row()]), stores))
        assert len(list(stores[0].rows())) == 8
        for store in stores:
            store.close()


def test_the_ledger_stays_where_it_is_when_the_program_changes_its_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    box = open_outbox(LedgerSettings(), "runs")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    box.put(row(id="call_1"))
    box.close()
    assert ids(tmp_path / "runs/ledger.db") == ["call_1"]


def test_the_database_is_one_that_readers_do_not_hold_up(file):
    box = outbox(file)
    box.put(row())
    box.close()
    with sqlite3.connect(file) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
