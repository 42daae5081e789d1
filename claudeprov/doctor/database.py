"""The database of the ledger, and the rows that wait for it."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from claudeprov.doctor.check import Check
from claudeprov.doctor.disk import obstacle
from claudeprov.errors import ConfigurationError, ConnectionFailedError
from claudeprov.settings.ledger import LedgerSettings
from claudeprov.thread import in_thread

if TYPE_CHECKING:
    from sqlalchemy import Connection


async def database(settings: LedgerSettings | None, runs_dir: str) -> Check:
    """Whether the ledger's database can be read and written, fits this version, and has all rows.

    Raises:
        ConfigurationError: The extra ``postgres`` is missing, or the URL is none.
    """
    if settings is None:
        return Check("database", "skipped", "ledger=off keeps no rows")
    return await in_thread(lambda: _database(settings, runs_dir), "doctor database")


def _database(settings: LedgerSettings, runs_dir: str) -> Check:
    from sqlalchemy.exc import SQLAlchemyError

    from claudeprov.ledger.outbox import reason
    from claudeprov.ledger.store import store_of

    store, base = store_of(settings, runs_dir)
    place = settings.url or str(base)
    details: dict[str, Any] = {"kind": settings.kind, "place": place}
    found = partial(Check, "database", details=details)
    if what := obstacle(base.parent):
        advice = f"choose another {'ledger.path' if settings.path else 'runs_dir'}, or see to its permissions"
        return found("fault", f"no ledger can be kept there: {what}", advice, ConfigurationError(what))
    details["waiting_bytes"] = _waiting(base)
    if settings.kind == "sqlite" and not base.exists():
        return found("ok", f"{base} is made with the first call")
    try:
        with closing(store), store.connect() as connection:
            lacking = _look(connection, details)
    except (SQLAlchemyError, OSError) as error:
        what = f"{place}: {reason(error)}"
        error_ = ConnectionFailedError(what) if settings.kind == "postgres" else ConfigurationError(what)
        return found("fault", f"{what}; rows wait in {base}.outbox-*", _advice(settings), error_)
    if lacking:
        advice = "choose another ledger.path or database: this one was made by another version, or by something else"
        return found("fault", f"the table calls of {place} lacks {', '.join(lacking)}", advice)
    if base.with_name(f"{base.name}.unreadable").exists():
        advice = "they were written by another version: keep the file, or remove it"
        return found("warning", f"rows that nobody could read are in {base}.unreadable", advice)
    if details["waiting_bytes"]:
        what = f"{details['waiting_bytes']:,} bytes of rows of processes that ended wait in {base}.outbox-*"
        return found("warning", what, "claudeprov usage enters them; so does the next call")
    return found("ok", f"{place} can be written; it has {details['bytes']:,} bytes")


def _look(connection: Connection, details: dict[str, Any]) -> list[str]:
    """Try to write without writing, and return which columns are missing from a table that is there."""
    from sqlalchemy import inspect, text

    from claudeprov.ledger.store import CALLS

    if connection.dialect.name == "sqlite":
        connection.execute(text("BEGIN IMMEDIATE"))
        details["bytes"] = connection.execute(text(_SQLITE_BYTES)).scalar()
    else:
        details["version"] = connection.execute(text("SHOW server_version")).scalar()
        details["bytes"] = connection.execute(text(_POSTGRES_BYTES)).scalar()
        if not connection.execute(text(_MAY_WRITE)).scalar():
            raise PermissionError("this user may not write into the table calls, or may not make it")
    there = inspect(connection)
    wanted = list(CALLS.c.keys())
    columns = [column["name"] for column in there.get_columns(CALLS.name)] if there.has_table(CALLS.name) else wanted
    connection.rollback()
    return [name for name in wanted if name not in columns]


_SQLITE_BYTES = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
_POSTGRES_BYTES = "SELECT coalesce(pg_total_relation_size(to_regclass('calls')), 0)"
_MAY_WRITE = """
SELECT NOT pg_is_in_recovery() AND CASE
    WHEN to_regclass('calls') IS NULL THEN has_schema_privilege(current_schema(), 'CREATE')
    ELSE has_table_privilege('calls', 'INSERT') END
"""


def _waiting(base: Path) -> int:
    """How many bytes of rows processes that ended have left."""
    from claudeprov.ledger.journal import Journal, journals

    waiting = 0
    for path in journals(base):
        try:
            journal = Journal.adopt(path)
        except PermissionError:  # another user's, which is left to them
            continue
        if journal is not None:
            with closing(journal):
                waiting += path.stat().st_size
    return waiting


def _advice(settings: LedgerSettings) -> str:
    if settings.kind == "sqlite":
        return "look at the file and its folder: may this user write there, is the disk full, does a process hold it?"
    return "look at ledger.url, whether the server runs and lets this user in, and at PGPASSWORD or ~/.pgpass"
