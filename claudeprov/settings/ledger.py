"""Where a row of each call is kept."""

from __future__ import annotations

from typing import Literal
from urllib.parse import parse_qs, urlsplit

from pydantic import ConfigDict, ValidationInfo, field_validator

from claudeprov.settings.kind import Group, Name


class LedgerSettings(Group):
    """Where a row of each call is kept."""

    model_config = ConfigDict(validate_default=True)

    kind: Literal["sqlite", "postgres"] = "sqlite"
    """``sqlite``: in a file; ``postgres``: on a server that a fleet shares."""
    path: Name | None = None
    """The file, and what the names begin with of the files beside it in which rows wait for the database; ``null``:
    ``ledger.db`` in ``runs_dir``, with PostgreSQL a name made of the server's and the database's."""
    url: str | None = None
    """PostgreSQL's ``postgresql://HOST/DATABASE``; the password comes from ``PGPASSWORD`` or ``~/.pgpass``."""

    @field_validator("url")
    @classmethod
    def _of_a_server(cls, url: str | None, info: ValidationInfo) -> str | None:
        kind = info.data.get("kind")
        if url is None:
            if kind == "postgres":
                raise ValueError("is needed by ledger=postgres: postgresql://HOST/DATABASE")
            return None
        if kind == "sqlite":
            raise ValueError("goes with ledger=postgres; SQLite's file is ledger.path")
        parts = urlsplit(url)
        if parts.password is not None or "password" in parse_qs(parts.query):
            raise ValueError("must not hold a password; it comes from PGPASSWORD or ~/.pgpass")
        if parts.scheme not in ("postgresql", "postgres") or not parts.path.strip("/"):
            raise ValueError("must be a URL such as postgresql://HOST/DATABASE")
        return url
