"""What rules look at: a figure of the calls in a window, or of what other layers have told."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from claudeprov.alerts.window import Sample
from claudeprov.settings.alerts import Measure, RuleSettings


class Reading(NamedTuple):
    """A figure, and of how many calls it is."""

    value: float | None
    """In the measure's unit; ``None`` where there is none."""
    calls: int | None
    """``None``: it is of no calls, but of what another layer has told."""


UNITS: dict[Measure, str] = {
    "error_rate": "1",
    "refusals": "1",
    "latency": "s",
    "first_chunk": "s",
    "throughput": "token/s",
    "cost_rate": "USD/h",
    "breaker_open": "1",
    "budget": "%",
}


def read(rule: RuleSettings, samples: Sequence[Sample], seconds: float) -> Reading:
    """Work out what *rule* looks at from the calls of the last *seconds*."""
    match rule.measure:
        case "error_rate":
            return share([sample.failed for sample in samples if sample.failed is not None])
        case "refusals":
            return share([sample.refused for sample in samples if sample.failed is False])
        case "latency":
            return _percentile([sample.latency for sample in samples if sample.latency is not None], rule.percentile)
        case "first_chunk":
            starts = [sample.first_chunk for sample in samples if sample.first_chunk is not None]
            return _percentile(starts, rule.percentile)
        case "throughput":
            told = [sample for sample in samples if sample.tokens and sample.served > 0]
            served = math.fsum(sample.served for sample in told)
            return Reading(sum(sample.tokens for sample in told) / served if told else None, len(told))
        case "cost_rate":
            return Reading(math.fsum(sample.usd for sample in samples) * 3600 / seconds, len(samples))
    raise AssertionError(f"{rule.measure} is no figure of calls")


def share(marks: Sequence[bool]) -> Reading:
    """The share of *marks* that are set."""
    return Reading(sum(marks) / len(marks) if marks else None, len(marks))


def rank(count: int, percentile: float) -> int:
    """The place of a percentile among *count* values in ascending order, from 0 on, by nearest rank."""
    return max(math.ceil(count * percentile / 100), 1) - 1


def title(rule: RuleSettings) -> str:
    """Name the figure of calls that *rule* looks at, for a person."""
    match rule.measure:
        case "latency" | "first_chunk":
            what = "latency" if rule.measure == "latency" else "time to first chunk"
            return f"p{rule.percentile:g} {what}"
        case "error_rate":
            return "errors"
        case "cost_rate":
            return "cost"
    return rule.measure


def figure(measure: Measure, value: float) -> str:
    """Write *value*, a figure of calls, with its unit, for a person."""
    match measure:
        case "error_rate" | "refusals":
            return f"{100 * value:.3g} %"
        case "throughput":
            return f"{value:.3g} tokens/s"
        case "cost_rate":
            return f"{value:.3g} USD/h"
    return f"{value:.3g} s"


def span(seconds: float) -> str:
    """Write a length of time, for a person."""
    for unit, length in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= length * (2 if unit == "days" else 1):
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} s"


def _percentile(values: list[float], percentile: float) -> Reading:
    values.sort()
    return Reading(values[rank(len(values), percentile)] if values else None, len(values))
