"""The ledger's database: SQLite's file, and a real PostgreSQL."""

import sqlite3

import pytest

from claudeprov.doctor.database import database
from claudeprov.errors import ConfigurationError, ConnectionFailedError
from claudeprov.ledger.journal import Journal
from claudeprov.ledger.outbox import open_outbox
from claudeprov.ledger.store import store_of
from claudeprov.settings.ledger import LedgerSettings
from tests.ledger.rows import ledger, row

SQLITE = LedgerSettings(path="ledger.db")


async def test_no_ledger_no_check():
    assert (await database(None, "runs")).status == "skipped"


async def test_a_file_that_is_not_there_yet_is_not_made(tmp_path):
    assert (await database(SQLITE, "runs")).status == "ok"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("settings", [LedgerSettings(path="/proc/nowhere/x.db"), LedgerSettings()])
async def test_a_file_that_cannot_be_made_is_told_as_the_provider_would(settings):
    check = await database(settings, "/proc")
    assert (check.status, type(check.error)) == ("fault", ConfigurationError)
    assert "/proc cannot be written" in check.found
    assert ("ledger.path" if settings.path else "runs_dir") in check.advice
    with pytest.raises(ConfigurationError):
        open_outbox(settings, "/proc")


async def test_a_folder_that_this_user_may_not_look_into(unprivileged):
    (unprivileged / "locked").mkdir(mode=0)
    check = await database(LedgerSettings(path="locked/deep/x.db"), "runs")
    assert (check.status, type(check.error)) == ("fault", ConfigurationError)
    assert "Permission denied" in check.found


async def test_rows_of_another_user_are_left_to_them(unprivileged):
    ledger(unprivileged / "ledger.db").close()
    journal = Journal.create(unprivileged / "ledger.db")
    journal.path.chmod(0)
    check = await database(SQLITE, "runs")
    journal.close()
    assert (check.status, check.details["waiting_bytes"]) == ("ok", 0)


async def test_a_file_in_order_is_told_with_its_size_and_left_as_it_was(tmp_path):
    ledger(tmp_path / "ledger.db", [row()]).close()
    before = (tmp_path / "ledger.db").read_bytes()
    check = await database(SQLITE, "runs")
    assert (check.status, check.details["bytes"]) == ("ok", len(before))
    assert (tmp_path / "ledger.db").read_bytes() == before


async def test_a_file_that_is_no_database(tmp_path):
    (tmp_path / "ledger.db").write_bytes(b"what is this?" * 100)
    check = await database(SQLITE, "runs")
    assert check.status == "fault"
    assert "not a database" in check.found


async def test_a_table_of_another_version():
    with sqlite3.connect("ledger.db") as connection:
        connection.execute("CREATE TABLE calls (id TEXT, at TEXT)")
    connection.close()
    check = await database(SQLITE, "runs")
    assert check.status == "fault"
    assert "lacks" in check.found
    assert "served" in check.found


async def test_rows_that_a_dead_process_left_wait_and_stay(tmp_path):
    ledger(tmp_path / "ledger.db").close()
    alive, dead = Journal.create(tmp_path / "ledger.db"), Journal.create(tmp_path / "ledger.db")
    alive.append(b"{}")
    dead.append(b"{}")
    left = dead.path.read_bytes()
    dead.close()
    check = await database(SQLITE, "runs")
    assert (check.status, check.details["waiting_bytes"]) == ("warning", len(left))
    assert "claudeprov usage" in check.advice
    assert dead.path.read_bytes() == left
    alive.close()


async def test_rows_that_nobody_could_read_are_told(tmp_path):
    ledger(tmp_path / "ledger.db").close()
    (tmp_path / "ledger.db.unreadable").write_text("?")
    assert (await database(SQLITE, "runs")).status == "warning"


async def test_postgres_in_order_before_and_after_its_first_call(postgres):
    settings = LedgerSettings(kind="postgres", url=postgres.url)
    check = await database(settings, "runs")
    assert (check.status, check.details["bytes"]) == ("ok", 0)
    store, _ = store_of(settings, "runs")
    store.make()
    store.close()
    check = await database(settings, "runs")
    assert check.status == "ok"
    assert check.details["bytes"] > 0
    assert check.details["version"].startswith(("13", "14", "15", "16", "17", "18"))


async def test_postgres_that_does_not_let_one_in(postgres, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "wrong-pa55word")
    check = await database(LedgerSettings(kind="postgres", url=postgres.url), "runs")
    assert (check.status, type(check.error)) == ("fault", ConnectionFailedError)
    assert "PGPASSWORD" in check.advice
    assert "wrong-pa55word" not in check.found


async def test_postgres_for_a_user_who_may_only_read(postgres, monkeypatch):
    import psycopg

    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS reader")
        connection.execute("CREATE ROLE reader LOGIN PASSWORD 'a-pa55word'")
        connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    url = postgres.url.replace("me@", "reader@")
    check = await database(LedgerSettings(kind="postgres", url=url), "runs")
    assert check.status == "fault"
    assert "may not write" in check.found


async def test_postgres_that_is_away(postgres):
    url = f"postgresql://me@127.0.0.1:{postgres.port}/elsewhere"
    check = await database(LedgerSettings(kind="postgres", url=url), "runs")
    assert check.status == "fault"
    assert "elsewhere" in check.found


async def test_a_folder_in_the_place_of_the_file(tmp_path):
    (tmp_path / "ledger.db").mkdir()
    assert (await database(SQLITE, "runs")).status == "fault"
