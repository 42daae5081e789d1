"""When a service that fails is left alone."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, ValidationInfo, field_validator

from claudeprov.settings.kind import Code, Count, Duration, Group

Share = Annotated[float, Field(strict=True, gt=0, le=1)]


class BreakerSettings(Group):
    """When calls to a failing service are refused at once; each route has a breaker of its own."""

    model_config = ConfigDict(validate_default=True)

    failures: Count | None = 5
    """Failed calls within ``window`` that open the breaker; ``null`` where ``failure_rate`` says when."""
    failure_rate: Share | None = None
    """Share of the calls within ``window`` whose failure opens the breaker; ``null`` where ``failures`` says when."""
    minimum_calls: Count = 20
    """Calls within ``window`` below which ``failure_rate`` says nothing."""
    window: Duration = 60.0
    """Seconds that a call counts."""
    open_for: Duration = 300.0
    """Seconds for which it stays open before a trial."""
    trials: Count = 1
    """Calls let through at a time on trial."""
    force: Literal["open", "disabled"] | None = None
    """``open``: refuse every call; ``disabled``: let every call through, and count none."""
    counts: tuple[Code, ...] = (
        "server_error",
        "overloaded",
        "connection_failed",
        "connect_timeout",
        "first_event_timeout",
        "between_events_timeout",
        "ping_timeout",
        "write_timeout",
        "deadline_exceeded",
        "stream_interrupted",
        "invalid_response",
    )
    """Codes of the errors, or of their classes, that count as failures of the service."""

    @field_validator("counts")
    @classmethod
    def _counts_something(cls, counts: tuple[str, ...]) -> tuple[str, ...]:
        if not counts:
            raise ValueError("must hold at least one code; breaker=off counts nothing")
        return counts

    @field_validator("failure_rate")
    @classmethod
    def _one_of_the_two(cls, rate: float | None, info: ValidationInfo) -> float | None:
        failures = info.data.get("failures", 0)
        if rate is None and failures is None:
            raise ValueError("must be set where breaker.failures is null")
        if rate is not None and failures:
            raise ValueError(f"must be null unless breaker.failures is, which is {failures}")
        return rate
