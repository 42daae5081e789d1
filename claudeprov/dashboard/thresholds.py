"""From where on a figure is bad: what panels turn red at, and rules alert on."""

from __future__ import annotations

from dataclasses import dataclass

from claudeprov.errors import ConfigurationError
from claudeprov.telemetry import table

_TIMES = {"p95_seconds": table.DURATION, "first_chunk_seconds": table.FIRST_CHUNK}
"""Only at a bound of a bucket is it certain how many took longer, and never at the last."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Bounds that an application's operator sets.

    Raises:
        ConfigurationError: One can never be exceeded, or always is, or it cannot be told whether.
    """

    error_ratio: float = 0.05
    """Failed calls among those read or failed."""
    p95_seconds: float = 60.0
    """Of calls, at the 95th percentile; a bound of the histogram's buckets."""
    first_chunk_seconds: float = 10.0
    """Until the first chunk, at the 95th percentile; a bound of the histogram's buckets."""
    cost_per_hour: float = 10.0
    """USD, of all models together."""
    budget_ratio: float = 0.9
    """What is spent of a limit."""
    headroom_ratio: float = 0.1
    """What is left of a rate limit; less is bad."""

    def __post_init__(self) -> None:
        for name in ("error_ratio", "budget_ratio", "headroom_ratio"):
            if not 0 < getattr(self, name) < 1:
                raise _refused(name, getattr(self, name), "above 0 and below 1")
        for name, metric in _TIMES.items():
            if getattr(self, name) not in metric.buckets[:-1]:
                raise _refused(name, getattr(self, name), ", ".join(f"{bound:g}" for bound in metric.buckets[:-1]))
        if not 0 < self.cost_per_hour < float("inf"):
            raise _refused("cost_per_hour", self.cost_per_hour, "above 0")


def _refused(name: str, value: float, allowed: str) -> ConfigurationError:
    return ConfigurationError(f"--{name.replace('_', '-')} {value:g}: no such threshold (allowed: {allowed})")
