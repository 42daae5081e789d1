"""What calls may cost."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from claudeprov.settings.kind import Count, Group, Name


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be an amount of USD such as 2.50, or null for no limit")
    return value


Money = Annotated[Decimal, BeforeValidator(_no_bool), Field(gt=0, allow_inf_nan=False, decimal_places=9)]
"""USD; what YAML takes for a float means its digits as they are written."""
Percent = Annotated[int, Field(strict=True, ge=1, le=100)]


class Amounts(Group):
    """A limit in either unit, or in both; ``null``: no limit."""

    usd: Money | None = None
    """US dollars, to the ninth decimal."""
    tokens: Count | None = None
    """Tokens of input and output together, those from and to the cache included."""


class PeriodLimits(Group):
    """Limits of what calls may cost together."""

    run: Amounts = Amounts()
    """All calls with the same tag ``run``; those without it are one run, as long as their provider is open."""
    day: Amounts = Amounts()
    """From midnight to midnight, UTC."""
    month: Amounts = Amounts()
    """From the 1st to the 1st, UTC."""


class BudgetSettings(PeriodLimits):
    """What calls may cost: each limit holds for all of them, those of ``tags`` for each value of a tag by itself."""

    call: Amounts = Amounts()
    """One call, with all its attempts."""
    tags: dict[Name, PeriodLimits] = Field(default_factory=dict)
    """By name of a tag, the limits of each of its values: ``{user: {day: {usd: 2.50}}}``. Calls without the tag share
    one."""
    thresholds: tuple[Percent, ...] = (50, 80, 100)
    """Percent of a limit whose spending is told, once a period."""
    unbounded: Literal["refuse", "cap"] = "refuse"
    """What becomes of a call whose cost has no upper bound: a price is unknown, ``max_tokens`` is missing, or the
    service itself may prompt the model again (server tools)."""
    cap_tokens: Count = 1024
    """What ``max_tokens`` of such a call is lowered to, where ``unbounded`` is ``cap``."""
    stop: bool = Field(default=False, strict=True)
    """Whether a call may begin that could exceed the limits of ``call``, and its stream is stopped when it does."""

    @field_validator("thresholds")
    @classmethod
    def _ascending(cls, thresholds: tuple[int, ...]) -> tuple[int, ...]:
        if list(thresholds) != sorted(set(thresholds)):
            raise ValueError("must ascend, such as [50, 80, 100]")
        return thresholds

    @field_validator("stop")
    @classmethod
    def _somewhere(cls, stop: bool, info: ValidationInfo) -> bool:
        if stop and info.data.get("call") == Amounts():
            raise ValueError("needs a limit to stop at: budget.call.usd or budget.call.tokens")
        return stop
