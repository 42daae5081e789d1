"""Which limits of a budget concern a call, and over which time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any, Literal, NamedTuple, get_args

from claudeprov.clock import day_of, month_of
from claudeprov.settings.budget import Amounts, BudgetSettings, PeriodLimits
from claudeprov.state import Ask

Unit = Literal["usd", "tokens"]
Period = Literal["run", "day", "month"]
UNITS: tuple[Unit, ...] = get_args(Unit)

Spent = Callable[[datetime | None, Mapping[str, str | None]], Awaitable[tuple[Decimal, int]]]
"""USD and tokens of the calls which began since then (``None``: ever) with such tags (``None``: without)."""


class Limit(NamedTuple):
    """What all calls of a period may cost together, or those with the same value of a tag."""

    setting: str
    """Where it is configured."""
    tag: str | None
    period: Period
    unit: Unit
    amount: Decimal

    def ask(self, tags: Mapping[str, Any], amount: Decimal, *, now: datetime, run: str, spent: Spent | None) -> Ask:
        """What a call with such *tags* asks of it: *amount* at most.

        Args:
            tags: The call's.
            amount: In the limit's unit.
            now: Aware.
            run: The run of calls that have no tag ``run``.
            spent: What was spent before.
        """
        whose = {name: _text(tags.get(name)) for name in (self.tag, "run" if self.period == "run" else None) if name}
        period, begins, ends = self._window(now, whose.get("run") or run)
        keeps_count = spent is not None and whose.get("run", "") is not None
        return Ask(
            account=" ".join([self.setting, period, *([repr(whose[self.tag])] if self.tag else [])]),
            setting=self.setting,
            tag=f"{self.tag}={whose[self.tag]}" if self.tag else None,
            period=self.period,
            unit=self.unit,
            limit=self.amount,
            amount=amount,
            ends=ends,
            opening=partial(_opening, spent, begins, whose, self.unit) if spent and keeps_count else None,
        )

    def _window(self, now: datetime, run: str) -> tuple[str, datetime | None, datetime | None]:
        """Name the period that *now* is in; when it begins, and when it ends."""
        if self.period == "run":
            return repr(run), None, None
        begins, ends = day_of(now) if self.period == "day" else month_of(now)
        return f"{begins:%Y-%m-%d}" if self.period == "day" else f"{begins:%Y-%m}", begins, ends


def limits_of(settings: BudgetSettings) -> Iterator[Limit]:
    """Yield every limit of a period that is configured."""
    yield from _limits("budget", None, settings)
    for tag, limits in settings.tags.items():
        yield from _limits(f"budget.tags.{tag}", tag, limits)


def amounts_of(amounts: Amounts) -> dict[Unit, Decimal]:
    """The limits of *amounts* that there are, by unit."""
    given = {unit: getattr(amounts, unit) for unit in UNITS}
    return {unit: Decimal(amount) for unit, amount in given.items() if amount is not None}


def _limits(setting: str, tag: str | None, limits: PeriodLimits) -> Iterator[Limit]:
    for period in get_args(Period):
        for unit, amount in amounts_of(getattr(limits, period)).items():
            yield Limit(f"{setting}.{period}.{unit}", tag, period, unit, amount)


async def _opening(spent: Spent, since: datetime | None, tags: Mapping[str, str | None], unit: Unit) -> Decimal:
    usd, tokens = await spent(since, tags)
    return usd if unit == "usd" else Decimal(tokens)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
