"""The way of rows into the database: by a journal that the process may leave behind, in batches, each row once."""

from __future__ import annotations

import logging
import os
from contextlib import closing
from pathlib import Path
from threading import Event, Lock, Thread

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from claudeprov.errors import ConfigurationError
from claudeprov.ledger.journal import Journal, journals
from claudeprov.ledger.row import Row
from claudeprov.ledger.store import Store, store_of
from claudeprov.settings.ledger import LedgerSettings

_log = logging.getLogger(__name__)

GATHER = 0.5
"""Seconds for which rows gather in a journal before they are moved: what a power cut may take."""
_RETRY = 5.0
"""Seconds until the next try where the database is away."""
CLOSING = 10.0
"""Seconds that closing waits for a database that has stopped to answer."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Row).decode


class Outbox:
    """Takes rows, and moves them into the database in a thread of its own.

    A row that :meth:`put` has returned from survives the process; while the database is away, rows wait in the journal,
    which is synced to the disk instead. What a dead process left is moved by the next one. What is no row, such as one
    of a later version, is set aside in a file ``*.unreadable`` beside the journals.

    Args:
        store: The database.
        base: What the names of the journals begin with.
    """

    def __init__(self, store: Store, base: Path) -> None:
        self.trouble: str | None = None
        """Why rows wait in the journal, while they do."""
        self._store = store
        self._base = base
        self._journal: Journal | None = None
        self._thread: Thread | None = None
        self._lock = Lock()
        self._filled = Event()
        self._closing = Event()
        self._skipped: set[Path] = set()

    def put(self, row: Row) -> None:
        """Hand *row* to the operating system.

        Raises:
            OSError: The disk is full, or the like.
        """
        if self._journal is None:
            self._start()
        assert self._journal is not None
        self._journal.append(_encode(row))
        if not self._filled.is_set():
            self._filled.set()

    def move(self) -> bool:
        """Move all rows of this process and of dead ones into the database; false if it is away.

        The journal of a dead process that cannot be read, such as another user's, is left where it is.

        Raises:
            OSError: This process's own journal cannot be read.
        """
        with self._lock:
            try:
                if self._journal is not None:
                    self._empty(self._journal)
                for path in journals(self._base):
                    self._adopt(path)
            except SQLAlchemyError as error:
                self.trouble = reason(error)
                return False
        self.trouble = None
        return True

    def close(self) -> None:
        """Move what can be moved in time, and leave the rest to the next process."""
        self._closing.set()
        self._filled.set()
        if self._thread is not None:
            self._thread.join(CLOSING)
            if self._thread.is_alive():  # it has the journal and the connection until the process ends
                _log.warning("the ledger's rows wait in %s.outbox-*: the database does not answer", self._base)
                return
        if self._journal is not None:
            self._journal.sync()
            self._journal.close()
            self._journal = self._thread = None
        self._store.close()

    def _start(self) -> None:
        self._journal = Journal.create(self._base)
        self._thread = Thread(target=self._run, name="claudeprov-ledger", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._closing.is_set():
            self._filled.wait()
            self._closing.wait(GATHER if self.trouble is None else _RETRY)
            self._filled.clear()
            before = self.trouble
            try:
                is_moved = self.move()
                if not is_moved and self._journal is not None:
                    self._journal.sync()
            except OSError as error:
                is_moved, self.trouble = False, str(error)
            if self.trouble != before:
                _log.warning("the ledger's rows wait in %s.outbox-*: %s", self._base, self.trouble or "no longer")
            if not is_moved:
                self._filled.set()

    def _adopt(self, path: Path) -> None:
        try:
            journal = Journal.adopt(path)
            if journal is not None:
                with closing(journal):
                    self._empty(journal)
        except OSError as error:
            if path not in self._skipped:
                _log.warning("the rows in %s cannot be moved: %s", path, error)
            self._skipped.add(path)

    def _empty(self, journal: Journal) -> None:
        while (lines := journal.read()) is not None:
            rows, others = [], []
            for line in lines:
                try:
                    rows.append(_decode(line))
                except msgspec.MsgspecError as error:
                    _log.warning("%s: a line is no row, and is set aside: %s", journal.path, error)
                    others.append(line)
            self._store.add(rows)
            if others:
                with self._base.with_name(f"{self._base.name}.unreadable").open("ab") as aside:
                    aside.writelines(line + b"\n" for line in others)
            journal.drop()


def open_outbox(settings: LedgerSettings, runs_dir: str) -> Outbox:
    """Make the outbox of a configuration; the folder, and SQLite's file, are made at once.

    Raises:
        ConfigurationError: They cannot be, or an extra is missing.
    """
    store, base = store_of(settings, runs_dir)
    try:
        base.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(base.parent, os.W_OK | os.X_OK):
            raise PermissionError(f"the folder {base.parent} cannot be written to")
        if settings.kind == "sqlite":
            store.make()
            store.close()
    except (OSError, SQLAlchemyError) as error:
        key = "ledger.path" if settings.path else "runs_dir"
        shown = settings.path or runs_dir
        raise ConfigurationError(f"{key} = {shown!r}: no ledger can be kept there: {reason(error)}") from error
    return Outbox(store, base)


def reason(error: Exception) -> str:
    """Say what is wrong with a database in its driver's words, without the statement."""
    return str(getattr(error, "orig", None) or error).strip()
