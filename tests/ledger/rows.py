"""Rows made by hand, and ledgers of them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

from claudeprov.ledger.row import Row, time_text
from claudeprov.ledger.store import Store, store_of
from claudeprov.settings.ledger import LedgerSettings

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
_numbers = count(1)


def row(*, after: float = 0.0, usd: str | None = None, **fields: Any) -> Row:
    """A call that began *after* seconds after noon and cost exactly *usd*."""
    given: dict[str, Any] = {"id": f"call_{next(_numbers)}", "at": time_text(NOON + timedelta(seconds=after))}
    given |= {"model": "claude-sonnet-4-5-20250929", "served": "claude-sonnet-4-5-20250929", "endpoint": "anthropic"}
    if usd is not None:
        given |= dict.fromkeys(("cost_usd", "cost_low_usd", "cost_high_usd"), Decimal(usd))
    return Row(**(given | fields))


def ledger(path: Path, rows: Iterable[Row] = ()) -> Store:
    """A ledger at *path* with *rows*."""
    store, _ = store_of(LedgerSettings(path=str(path)), "")
    store.make()
    store.add(list(rows))
    return store
