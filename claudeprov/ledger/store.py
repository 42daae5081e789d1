"""The database of a ledger: SQLite's file, or PostgreSQL's server."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec
from sqlalchemy import (
    JSON,
    URL,
    BigInteger,
    Boolean,
    Column,
    Connection,
    Dialect,
    Double,
    Index,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    create_engine,
    event,
    make_url,
    select,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.schema import CreateIndex, CreateTable

from claudeprov.errors import ConfigurationError
from claudeprov.ledger.row import MONEY, Row
from claudeprov.paths import file_name
from claudeprov.settings.ledger import LedgerSettings

_LOCK_TIMEOUT = 30
"""Seconds to wait while another process writes into SQLite's file."""
_CONNECT_TIMEOUT = 5
"""Seconds to wait for PostgreSQL's server."""
_POSTGRES = {
    "connect_timeout": _CONNECT_TIMEOUT,
    "client_encoding": "utf8",
    "tcp_user_timeout": 10_000,  # a network that is gone is told within 10 to 20 seconds
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
}
_CREATING = 0x636C6175
"""PostgreSQL's advisory lock while the table is made: two processes at once would collide."""


class Money(TypeDecorator[Decimal]):
    """Dollars as a whole number of 10**-15 USD, so that SQLite, too, adds them up exactly."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> int | None:
        return None if value is None else int(value.scaleb(MONEY))

    def process_result_value(self, value: int | None, dialect: Dialect) -> Decimal | None:
        return None if value is None else Decimal(value).scaleb(-MONEY)


def _columns() -> Iterator[Column[Any]]:
    types: dict[Any, Any] = {str: Text(), int: BigInteger(), float: Double(), bool: Boolean(), Decimal: Money()}
    for name, hint in get_type_hints(Row).items():
        kind = next((kind for kind in get_args(hint) if kind in types), hint)
        optional = type(None) in get_args(hint)
        column = types[kind] if kind in types else JSON(none_as_null=True)
        yield Column(name, column, primary_key=name == "id", nullable=optional)


CALLS = Table("calls", MetaData(), *_columns())
"""A column for each field of :class:`~claudeprov.ledger.row.Row`."""

_SUMMED = (
    *("at", "error", "input_tokens", "output_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens"),
    *("cache_read_tokens", "web_searches", "cost_usd", "cost_low_usd", "cost_high_usd"),
)
ORDERS = (("served", "model", "replayed", "run"), ("tags", "replayed"))
"""Columns by whose order SQLite adds up without sorting, and without reading the wide table."""

Index("calls_at", CALLS.c.at)
for _order in ORDERS:  # PostgreSQL needs no such index, nor can it hold long texts in one
    Index(f"calls_by_{_order[0]}", *(CALLS.c[name] for name in (*_order, *_SUMMED)), info={"dialect": "sqlite"})


class Store:
    """A ledger's database. It opens its connections when they are needed.

    Args:
        url: The database's.
    """

    def __init__(self, url: URL) -> None:
        self._is_made = False
        if url.drivername.startswith("sqlite"):
            self.engine = create_engine(url, connect_args={"timeout": _LOCK_TIMEOUT})
            event.listen(self.engine, "connect", _prepare)
            self._insert: Any = sqlite.insert(CALLS).on_conflict_do_nothing()
        else:
            self.engine = create_engine(url, connect_args=_POSTGRES, pool_pre_ping=True)
            self._insert = postgresql.insert(CALLS).on_conflict_do_nothing()

    def make(self) -> None:
        """Make the table, unless it is there.

        Raises:
            SQLAlchemyError: The database cannot be reached, or is none.
            OSError: The folder of SQLite's file cannot be read.
        """
        with self._alone(), self.engine.begin() as connection:
            if self.engine.dialect.name == "postgresql":
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_CREATING})"))
            connection.execute(CreateTable(CALLS, if_not_exists=True))
            for index in sorted(CALLS.indexes, key=lambda index: str(index.name)):
                if index.info.get("dialect") in (None, connection.dialect.name):
                    connection.execute(CreateIndex(index, if_not_exists=True))
        self._is_made = True

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other processes from making SQLite's file, too: two that switch to WAL at once do not wait in turn."""
        if self.engine.dialect.name != "sqlite":
            yield
            return
        folder = os.open(Path(self.engine.url.database or "").parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)

    def add(self, rows: Sequence[Row]) -> None:
        """Enter *rows* in one transaction that is on the disk when this returns; those that are in already stay.

        Raises:
            SQLAlchemyError: The database cannot be reached, or is none; nothing was entered.
        """
        if not self._is_made:
            self.make()
        if rows:
            with self.engine.begin() as connection:
                connection.execute(self._insert, [msgspec.structs.asdict(row) for row in rows])

    def rows(self, since: str | None = None, columns: Sequence[str] = Row.__struct_fields__) -> Iterator[Row]:
        """Yield the rows of calls that began at or after *since*, a text like the column ``at``, in order of time.

        Fields that are not among *columns*, of which ``id`` and ``at`` must be, are as if unknown.
        """
        query = select(*(CALLS.c[name] for name in columns)).order_by(CALLS.c.at)
        if since is not None:
            query = query.where(CALLS.c.at >= since)
        with self.connect() as connection:
            for found in connection.execution_options(yield_per=1000).execute(query):
                yield Row(**dict(zip(columns, found, strict=True)))

    def connect(self) -> Connection:
        """Open a connection to read from."""
        return self.engine.connect()

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def _prepare(connection: Any, record: object) -> None:
    # Large pages, since a sum reads all of them. FULL: a batch is on the disk once it is committed, and the journal's
    # copy can go; only the writer's thread waits.
    connection.executescript("PRAGMA page_size=16384; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;")


def store_of(settings: LedgerSettings, runs_dir: str) -> tuple[Store, Path]:
    """Make the store that *settings* describe.

    Returns:
        It, and the path that names of its journals begin with.

    Raises:
        ConfigurationError: The extra ``postgres`` is missing, or the URL is none.
    """
    if settings.kind == "sqlite":
        path = Path(settings.path or Path(runs_dir) / "ledger.db").absolute()  # the program may change its folder
        return Store(URL.create("sqlite", database=str(path))), path
    assert settings.url is not None
    try:
        url = make_url(settings.url).set(drivername="postgresql+psycopg")
        store = Store(url)
    except ImportError as error:
        raise ConfigurationError("ledger=postgres needs an extra: pip install 'claudeprov[postgres]'") from error
    except (SQLAlchemyError, ValueError) as error:
        raise ConfigurationError(f"ledger.url = {settings.url!r}: is no URL of PostgreSQL's: {error}") from error
    name = file_name(f"ledger-{url.host}-{url.port or 5432}-{url.database}")
    return store, Path(settings.path or Path(runs_dir) / name).absolute()
