"""Further attempts."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field, ValidationInfo, field_validator

from claudeprov.settings.kind import Count, Group, Seconds


class RetrySettings(Group):
    """When a failed attempt is made again; a wait is drawn between 0 and ``base * 2**(attempt - 1)`` or ``cap``."""

    model_config = ConfigDict(validate_default=True)

    max_attempts: Count = 4
    """Most attempts of a call, the first one included."""
    base: Seconds = 0.5
    """Upper bound of the first wait, in seconds."""
    cap: Seconds = 8.0
    """Upper bound of every wait, in seconds."""
    max_wait: Seconds = 60.0
    """Longest ``retry-after`` that is waited out, in seconds; a longer one ends the call."""
    overloaded_base: Seconds = 2.0
    """``base`` after a 529, in seconds."""
    overloaded_cap: Seconds = 30.0
    """``cap`` after a 529, in seconds."""
    budget: Seconds = 120.0
    """No attempt starts this many seconds after the first, or later."""
    tokens: Count | None = 50
    """Most retries that the calls of a provider have on credit, together; ``null``: any number."""
    refill: Annotated[float, Field(strict=True, ge=0, le=1)] = 0.2
    """What a call that was answered adds to ``tokens`` that have been spent."""

    @field_validator("cap", "overloaded_cap")
    @classmethod
    def _cap_is_not_below_base(cls, cap: float, info: ValidationInfo) -> float:
        name = str(info.field_name).replace("cap", "base")
        base = info.data.get(name, 0)
        if cap < base:
            raise ValueError(f"must be at least retry.{name}, which is {base:g}")
        return cap
