"""Budgets: what a call can cost is set aside before it is sent, and turned into what it cost at its end.

    spent + reserved <= limit        for each account, whatever the order of reservations and settlements

A settlement may take more than was set aside, where the bound left something out; ``spent`` is then over the limit by
that, and nothing more is let through.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from claudeprov.clock import Clock
from claudeprov.cost import EXACT
from claudeprov.errors import BudgetExceededError
from claudeprov.state import Ask, Balance, Settled

_NOTHING = Decimal(0)
_KEPT = timedelta(days=1)
"""How long an account outlives its period: a clock that is set back must not open it anew."""


class Account:
    """What is spent and what is set aside under one limit, in one period."""

    __slots__ = ("elsewhere", "own", "spent")

    def __init__(self, spent: Decimal = _NOTHING) -> None:
        self.spent = spent
        self.own = _NOTHING
        """Set aside here."""
        self.elsewhere = _NOTHING
        """Set aside by others."""

    @property
    def reserved(self) -> Decimal:
        """All that is set aside."""
        return EXACT.add(self.own, self.elsewhere)

    def holds(self, ask: Ask) -> bool:
        """Whether *ask* fits in what is left."""
        return EXACT.add(EXACT.add(self.spent, self.reserved), ask.amount) <= ask.limit


class MemoryReservations:
    """The accounts of this process. Needs neither event loop nor network.

    Args:
        clock: Whose wall clock ends periods.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._accounts: dict[datetime | None, dict[str, Account]] = {}
        """By the end of their period, so that all of an old one are dropped at once."""
        self._latest: dict[str, Ask] = {}
        """The ask that came last, by the setting of its limit, but for those of tags."""

    async def reserve(self, asks: Sequence[Ask], settled: Settled) -> MemoryReservation:
        """Reserve all of *asks*, each against an account of its own, or none.

        Raises:
            BudgetExceededError: One of them does not fit.
        """
        for ask in asks:
            if ask.opening is not None and self.account(ask) is None:
                spent = await ask.opening()
                self._period(ask).setdefault(ask.account, Account(spent))  # another call may have been faster
        return self.take(asks, settled)

    def take(self, asks: Sequence[Ask], settled: Settled) -> MemoryReservation:
        """Like :meth:`reserve`, with nothing spent on accounts that are new."""
        self._forget()
        held = [(ask, self._opened(ask)) for ask in asks]
        for ask, account in held:
            if not account.holds(ask):
                raise exceeded(ask, account.spent, account.reserved)
        for ask, account in held:
            account.own = EXACT.add(account.own, ask.amount)
        return MemoryReservation(held, settled)

    def follow(self, ask: Ask, spent: Decimal, reserved: Decimal) -> None:
        """Take over what is spent, and set aside, elsewhere."""
        self._forget()
        account = self._opened(ask)
        account.spent, account.elsewhere = spent, reserved

    def balances(self) -> dict[str, Balance]:
        """The balance of each limit that was asked last, by its setting; those of tags are left out."""
        now = self._clock.now()
        return {
            setting: Balance(ask.limit, account.spent, account.reserved)
            for setting, ask in self._latest.copy().items()
            for account in [self.account(ask) if ask.ends is None or now < ask.ends else None]
            if account is not None
        }

    def account(self, ask: Ask) -> Account | None:
        """What is spent and set aside under the limit of *ask*, if anything ever was asked of it."""
        return self._accounts.get(ask.ends, {}).get(ask.account)

    def _opened(self, ask: Ask) -> Account:
        if ask.tag is None:
            self._latest[ask.setting] = ask
        return self._period(ask).setdefault(ask.account, Account())

    def _period(self, ask: Ask) -> dict[str, Account]:
        return self._accounts.setdefault(ask.ends, {})

    def _forget(self) -> None:
        latest = self._clock.now() - _KEPT
        for ends in [ends for ends in self._accounts if ends is not None and ends <= latest]:
            del self._accounts[ends]


class MemoryReservation:
    """What is set aside for one call; it is settled in the periods in which it was made."""

    def __init__(self, held: Sequence[tuple[Ask, Account]], settled: Settled) -> None:
        self._held = held
        self._settled = settled

    def settle(self, usd: Decimal, tokens: int) -> None:
        """Turn it into what the call really cost; a second time changes nothing."""
        held, self._held = self._held, ()
        cost = {"usd": usd, "tokens": Decimal(tokens)}
        for ask, account in held:
            before = account.spent
            account.own = EXACT.subtract(account.own, ask.amount)
            account.spent = EXACT.add(before, cost[ask.unit])
            self._settled(ask, before, account.spent)


def exceeded(ask: Ask, spent: Decimal, reserved: Decimal) -> BudgetExceededError:
    """The error of an ask that does not fit; ``retryable`` if it would, were nothing set aside for other calls."""
    whose = f" for {ask.tag}" if ask.tag else ""
    until = "" if ask.ends is None else f"; it begins anew at {ask.ends:%Y-%m-%dT%H:%M:%SZ}"
    return BudgetExceededError(
        f"{ask.setting} is {_told(ask.limit, ask.unit)}{whose}, of which {_told(spent, ask.unit)} are spent and "
        f"{_told(reserved, ask.unit)} set aside for calls under way; this one can cost {_told(ask.amount, ask.unit)}"
        f"{until}",
        context=figures(ask) | {"spent": spent, "reserved": reserved, "asked": ask.amount},
        retryable=EXACT.add(spent, ask.amount) <= ask.limit,
    )


def figures(ask: Ask) -> dict[str, object]:
    """Name the limit of *ask*, as errors and notices do."""
    return {
        "setting": ask.setting,
        "tag": ask.tag,
        "period": ask.period,
        "unit": ask.unit,
        "limit": ask.limit,
        "resets_at": None if ask.ends is None else ask.ends.isoformat(),
    }


def _told(amount: Decimal, unit: str) -> str:
    return f"{amount:.0f} tokens" if unit == "tokens" else f"{amount.normalize():f} USD"
