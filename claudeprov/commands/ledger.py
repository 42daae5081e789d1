"""The configured ledger, as commands read it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from claudeprov.errors import ConfigurationError, ConnectionFailedError
from claudeprov.settings import Settings
from claudeprov.settings.ledger import LedgerSettings

if TYPE_CHECKING:
    from claudeprov.ledger.store import Store


@contextmanager
def opened_ledger(settings: Settings) -> Iterator[Store]:
    """Open the configured ledger, or where the group is off the one that would be SQLite's, with all rows in it."""
    from sqlalchemy.exc import SQLAlchemyError

    from claudeprov.ledger.outbox import Outbox, reason
    from claudeprov.ledger.store import store_of

    ledger = settings.ledger or LedgerSettings()
    store, base = store_of(ledger, settings.runs_dir)
    key, place = ("ledger.url", ledger.url) if ledger.url else ("ledger.path", str(base))
    try:
        if ledger.url is None and not base.is_file():
            raise ConfigurationError(f"{key} = {place!r}: there is no ledger yet; calls are entered with ledger=sqlite")
    except OSError as error:
        raise ConfigurationError(f"{key} = {place!r}: the ledger cannot be read: {error}") from error
    outbox = Outbox(store, base)
    try:
        outbox.move()  # what a process that died has left
        if outbox.trouble is None:
            yield store
    except SQLAlchemyError as error:
        outbox.trouble = reason(error)
    finally:
        outbox.close()
    if outbox.trouble is not None:
        kind = ConnectionFailedError if ledger.url else ConfigurationError
        raise kind(f"{key} = {place!r}: the ledger cannot be read: {outbox.trouble}")
