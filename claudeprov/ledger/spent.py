"""What was spent before a process began to count: where a budget goes on after a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import closing
from datetime import datetime
from decimal import Decimal

from sqlalchemy.exc import SQLAlchemyError

from claudeprov.errors import StateUnavailableError
from claudeprov.ledger.outbox import Outbox, reason
from claudeprov.ledger.row import time_text
from claudeprov.ledger.store import store_of
from claudeprov.ledger.sums import COUNTS, Sum, sums_of
from claudeprov.settings.ledger import LedgerSettings

_COLUMNS = ("run", "suite", "task")
"""Tags that have a column of their own."""
_PERIODS = 2
"""Periods that a budget counts at a time by the same tags: a day and a month."""
_Sums = dict[tuple[str | None, ...], Sum]


class Spending:
    """Reads from a ledger what live calls have cost, with the most that those can have cost that broke off.

    All values of a tag are read at once, when the first is asked for: what this process spends from then on is in the
    accounts of its budget, what others do is not. A call of unknown price adds nothing, one without an upper bound the
    least that it cost.

    Args:
        settings: The group ``ledger``.
        runs_dir: Where its file is, unless they say otherwise.
    """

    def __init__(self, settings: LedgerSettings, runs_dir: str) -> None:
        self._settings = settings
        self._runs_dir = runs_dir
        self._read: dict[tuple[str, ...], dict[datetime | None, asyncio.Future[_Sums]]] = {}

    async def __call__(self, since: datetime | None, tags: Mapping[str, str | None]) -> tuple[Decimal, int]:
        """USD and tokens of calls that began at or after *since* and have these tags; ``None``: lack that tag.

        Raises:
            StateUnavailableError: The ledger cannot be read.
        """
        names = tuple(tags)
        read = self._read.setdefault(names, {})
        sums = read.pop(since, None)
        if sums is None or (sums.done() and sums.exception() is not None):
            sums = asyncio.ensure_future(asyncio.to_thread(self._sums, since, names))
        read[since] = sums
        while len(read) > _PERIODS:
            del read[next(iter(read))]  # the one that was asked for least lately has ended
        found = (await asyncio.shield(sums)).get(tuple(tags.values()))
        if found is None:
            return Decimal(0), 0
        return found.cost_known_usd, sum(getattr(found, name) for name in COUNTS if name.endswith("_tokens"))

    def _sums(self, since: datetime | None, names: tuple[str, ...]) -> _Sums:
        keys = [name if name in _COLUMNS else f"tag:{name}" for name in names]
        store, base = store_of(self._settings, self._runs_dir)
        try:
            with closing(Outbox(store, base)) as outbox:
                base.parent.mkdir(parents=True, exist_ok=True)
                store.make()
                outbox.move()  # what a process that was killed has left
                sums = sums_of(store, keys, since=None if since is None else time_text(since))
        except (OSError, SQLAlchemyError) as error:
            raise StateUnavailableError(
                f"the ledger cannot be read, which the budget goes on from: {reason(error)}"
            ) from error
        return {found.group: found for found in sums if not found.replayed}
