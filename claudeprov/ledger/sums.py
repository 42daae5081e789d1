"""Sums over a ledger, exact to the last digit: the database adds whole numbers, and no amount becomes a float."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal, localcontext
from itertools import product
from operator import add
from typing import Any

import msgspec
from sqlalchemy import BigInteger, ColumnElement, Select, Text, cast, func, select, type_coerce

from claudeprov.ledger.row import MONEY, time_text
from claudeprov.ledger.store import CALLS, ORDERS, Store

KEYS = ("model", "asked", "day", "run", "suite", "task", "endpoint", "error", "tag")
"""What calls can be grouped by. ``model`` is the one that answered, where none did the one asked for; with ``tag`` a
call counts once for each of its tags; ``tag:NAME`` are the values of one tag."""

_COLUMNS = {"model": ("served", "model"), "asked": ("model",), "tag": ("tags",)}
_HALF = 10**9
_EXACT = Context(prec=60)
_AGO = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


@dataclass(frozen=True, slots=True)
class Sum:
    """What the calls of one group come to; a count that no call told adds nothing."""

    group: tuple[str | None, ...]
    """The values that they share, in the order of the keys."""
    replayed: bool
    """Whether they were answered by cassettes, and cost nothing now."""
    calls: int
    failed: int
    input_tokens: int
    output_tokens: int
    cache_write_5m_tokens: int
    cache_write_1h_tokens: int
    cache_read_tokens: int
    web_searches: int
    cost_low_usd: Decimal
    """The least that all of them cost; one whose price is unknown adds nothing."""
    cost_known_usd: Decimal
    """The most that is known of them: each with its upper bound, without one with the lower."""
    cost_interval: int
    """Calls of which only bounds are known, such as streams that broke off."""
    cost_unknown: int
    """Calls whose price is unknown, or whose cost has no upper bound."""

    @property
    def cost_usd(self) -> Decimal | None:
        """The exact sum; ``None`` where that of a call is not known exactly."""
        return None if self.cost_interval or self.cost_unknown else self.cost_low_usd

    @property
    def cost_high_usd(self) -> Decimal | None:
        """The most that all of them cost; ``None`` where a price is unknown, or nothing bounds a cost."""
        return None if self.cost_unknown else self.cost_known_usd


_ADDED = tuple(field.name for field in fields(Sum) if field.name not in ("group", "replayed"))
COUNTS = tuple(field.name for field in fields(Sum) if field.name.endswith(("_tokens", "_searches")))
"""The fields of a sum that are counts of usage."""


def sums_of(store: Store, by: Sequence[str] = (), *, since: str | None = None) -> list[Sum]:
    """Add up the calls of each group, the dearest first; what was replayed is a group of its own.

    Args:
        store: The ledger.
        by: Keys of :data:`KEYS`, or ``tag:NAME``; none gives one sum over all.
        since: As the column ``at`` has it; calls that began earlier are left out.
    """
    totals: dict[tuple[tuple[str | None, ...], bool], list[int]] = {}
    with store.connect() as connection:
        parts = _parts(by, connection.dialect.name)
        for row in connection.execute(_query(parts.values(), since)):
            values = dict(zip(parts, row, strict=False))
            replayed, counted = bool(values["replayed"]), [int(number or 0) for number in row[len(parts) :]]
            for group in product(*(_names(key, values) for key in by)):
                before = totals.get((group, replayed))
                totals[group, replayed] = counted if before is None else list(map(add, before, counted))
    with localcontext(_EXACT):
        found = [_sum(group, replayed, *numbers) for (group, replayed), numbers in totals.items()]
    return sorted(found, key=lambda sum_: (sum_.replayed, -sum_.cost_low_usd, -sum_.calls, str(sum_.group)))


def together(sums: Sequence[Sum]) -> list[Sum]:
    """Add sums of groups that share no call: one over what was live, and one over what was replayed, if any was."""
    totals = []
    for replayed in (False, True):
        chosen = [sum_ for sum_ in sums if sum_.replayed is replayed]
        if chosen:
            with localcontext(_EXACT):
                added = {name: sum(getattr(sum_, name) for sum_ in chosen) for name in _ADDED}
            totals.append(Sum((), replayed, **added))
    return totals


def cost_text(sum_: Sum) -> str:
    """Write an amount; an interval where only bounds are known; and how many calls are not in it."""
    if sum_.cost_unknown == sum_.calls:
        return "unknown"
    low, high = f"${sum_.cost_low_usd:f}", sum_.cost_high_usd
    if sum_.cost_unknown:
        return f"at least {low} (unknown: {sum_.cost_unknown:,} of {sum_.calls:,})"
    return f"{low} to ${high:f}" if sum_.cost_interval and high is not None else low


def since_text(text: str, now: datetime) -> str:
    """Return the moment that *text* means, as the column ``at`` has it.

    Args:
        text: A date or time in ISO 8601, UTC unless it says otherwise, or how long ago: ``7d``, ``12h``, ``30m`` ...
        now: Aware.

    Raises:
        ValueError: It is neither.
    """
    if ago := re.fullmatch(r"(\d{1,6})([mhdw])", text):
        return time_text(now - int(ago[1]) * _AGO[ago[2]])
    moment = datetime.fromisoformat(text)
    return time_text(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _query(parts: Collection[ColumnElement[Any]], since: str | None) -> Select[Any]:
    query = select(*parts, *_totals()).group_by(*parts)
    return query if since is None else query.where(CALLS.c.at >= since)


def _parts(by: Sequence[str], dialect: str) -> dict[str, ColumnElement[Any]]:
    """What the keys' values are made of; in the order of an index if one begins with it, which saves sorting them."""
    needed = {name for key in by for name in _COLUMNS.get(key.partition(":")[0], (key,))} | {"replayed"}
    order = next((index for index in ORDERS if needed.issubset(index)), sorted(needed))
    kept = order[: max(order.index(name) for name in needed) + 1]
    return {name: _part(name, dialect) for name in kept}


def _part(name: str, dialect: str) -> ColumnElement[Any]:
    if name == "day":
        return func.substr(CALLS.c.at, 1, 10)
    if name == "tags":  # all of a call's: no database takes JSON apart a million times in a second
        return type_coerce(CALLS.c.tags, Text) if dialect == "sqlite" else cast(CALLS.c.tags, Text)
    return CALLS.c[name]


def _names(key: str, values: Mapping[str, str | None]) -> Sequence[str | None]:
    """The groups of a key that a call with such values belongs to."""
    if not key.startswith("tag"):
        return (next(filter(None, (values[name] for name in _COLUMNS.get(key, (key,)))), None),)
    tags: dict[str, str] = msgspec.json.decode(values["tags"] or "{}")
    if key == "tag":
        return [f"{name}={tag}" for name, tag in tags.items()] or (None,)
    return (tags.get(key.removeprefix("tag:")),)


def _totals() -> Iterator[ColumnElement[Any]]:
    calls = CALLS.c
    yield func.count()
    yield func.count(calls.error)
    yield from (func.sum(calls[name]) for name in COUNTS)
    yield func.count(calls.cost_usd)
    yield func.count(calls.cost_high_usd)
    for bound in (calls.cost_low_usd, func.coalesce(calls.cost_high_usd, calls.cost_low_usd)):
        whole = type_coerce(bound, BigInteger)  # the whole of a sum over 9,223 USD would not fit a column
        yield from (func.sum(whole // _HALF), func.sum(whole % _HALF))


def _sum(group: tuple[str | None, ...], replayed: bool, calls: int, failed: int, *numbers: int) -> Sum:
    counts, (exact, bounded, *halves) = numbers[: len(COUNTS)], numbers[len(COUNTS) :]
    low, known = (Decimal(left * _HALF + right).scaleb(-MONEY).normalize() for left, right in (halves[:2], halves[2:]))
    unknown = calls - bounded
    return Sum(
        group=group,
        replayed=replayed,
        calls=calls,
        failed=failed,
        cost_low_usd=low,
        cost_known_usd=known,
        cost_interval=bounded - exact,
        cost_unknown=unknown,
        **dict(zip(COUNTS, counts, strict=True)),
    )
