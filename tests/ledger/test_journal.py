from __future__ import annotations

import errno
import os

import pytest

from claudeprov.ledger.journal import Journal, journals


@pytest.fixture
def base(tmp_path):
    return tmp_path / "ledger.db"


def drained(journal):
    lines = []
    while (more := journal.read()) is not None:
        lines += more
        journal.drop()
    return lines


def adopted(base):
    """The journals that nobody holds."""
    found = [Journal.adopt(path) for path in journals(base)]
    return [journal for journal in found if journal is not None]


def left(base):
    return sorted(path.name for path in base.parent.iterdir())


def abandon(journal):
    """Let go of it as a process does that is killed."""
    os.close(journal._file)


def test_lines_are_read_in_order_and_again_until_they_are_dropped(base):
    journal = Journal.create(base)
    journal.append(b"one")
    journal.append(b"two")
    assert journal.read() == journal.read() == [b"one", b"two"]
    journal.drop()
    assert journal.read() is None
    journal.append(b"three")
    assert drained(journal) == [b"three"]
    journal.close()


def test_a_journal_that_is_empty_leaves_no_file(base):
    journal = Journal.create(base)
    journal.append(b"one")
    assert len(left(base)) == 1
    assert drained(journal) == [b"one"]
    journal.close()
    assert left(base) == []


def test_what_was_dropped_takes_no_place(base):
    journal = Journal.create(base)
    journal.append(b"x" * 1000)
    drained(journal)
    assert journal.path.stat().st_size == 0
    journal.close()


def test_what_is_left_is_adopted_by_the_next_and_only_once(base):
    journal = Journal.create(base)
    journal.append(b"one")
    journal.close()
    (journal,) = adopted(base)
    assert adopted(base) == []
    assert drained(journal) == [b"one"]
    journal.close()
    assert left(base) == []


def test_the_journal_of_a_process_that_lives_is_left_alone(base):
    journal = Journal.create(base)
    journal.append(b"one")
    assert adopted(base) == []
    assert drained(journal) == [b"one"]
    journal.close()


def test_journals_of_other_ledgers_beside_it_are_left_alone(base):
    Journal.create(base.with_name("ledger.db2")).append(b"one")
    Journal.create(base.with_name("[l]edger.db")).append(b"one")
    assert adopted(base) == []


@pytest.mark.parametrize("torn", [b"", b"0", b"00000000", b"3d2c10e7 tw"])
def test_a_line_that_was_cut_off_is_left_out(base, torn):
    journal = Journal.create(base)
    journal.append(b"one")
    abandon(journal)
    with journal.path.open("ab") as file:
        file.write(torn)
    (journal,) = adopted(base)
    assert drained(journal) == [b"one"]
    journal.close()
    assert left(base) == []


def test_a_line_that_was_changed_is_left_out_and_told(base, caplog):
    journal = Journal.create(base)
    for line in (b"one", b"two", b"three"):
        journal.append(line)
    abandon(journal)
    journal.path.write_bytes(journal.path.read_bytes().replace(b"two", b"tvo"))
    (journal,) = adopted(base)
    assert drained(journal) == [b"one", b"three"]
    journal.close()
    assert "a torn line of 12 bytes was left out" in caplog.text


def test_a_full_disk_tears_one_line_and_no_other(base, monkeypatch):
    journal = Journal.create(base)
    journal.append(b"one")
    write = os.write
    told = iter([5, OSError(errno.ENOSPC, "no space left")])

    def full(file, data):
        step = next(told)
        if isinstance(step, OSError):
            raise step
        return write(file, data[:step])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="no space left"):
        journal.append(b"two")
    monkeypatch.undo()
    journal.append(b"three")
    assert drained(journal) == [b"one", b"three"]
    journal.close()


def test_a_line_longer_than_what_is_read_at_a_time_holds_up_no_other(base, monkeypatch):
    monkeypatch.setattr("claudeprov.ledger.journal._READ", 64)
    journal = Journal.create(base)
    journal.append(b"x" * 200)
    journal.append(b"one")
    assert drained(journal) == [b"one"]
    journal.close()


def test_a_new_journal_that_another_process_took_for_a_dead_ones_is_made_again(base, monkeypatch):
    opened = os.open

    def taken(path, *args, **kwargs):
        file = opened(path, *args, **kwargs)
        monkeypatch.undo()
        for thief in adopted(base):
            thief.close()
        return file

    monkeypatch.setattr(os, "open", taken)
    journal = Journal.create(base)
    journal.append(b"one")
    assert journal.path.exists()
    assert drained(journal) == [b"one"]
    journal.close()


def test_a_journal_that_vanishes_while_it_is_looked_for_is_none(base, monkeypatch):
    path = base.with_name("ledger.db.outbox-00000000")
    monkeypatch.setattr(type(base), "glob", lambda self, pattern: [path])
    assert adopted(base) == []
