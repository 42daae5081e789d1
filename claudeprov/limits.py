"""What is known of rate limits: the service's count, by the headers of its answers, and the client's own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Allowance:
    """One counter of a rate limit."""

    limit: float
    """Most in a minute."""
    remaining: float
    """What is left now; the service rounds tokens to thousands. Below zero where a correction took more."""
    reset: datetime
    """When all of it is back, aware and in UTC."""


@dataclass(frozen=True)
class RouteLimits:
    """The rate limits of one route: an endpoint, and the models that share their limits on it."""

    service: Mapping[str, Allowance] = field(default_factory=dict)
    """What the service's latest answer said, by counter: those of ``client``, ``tokens`` (the most restrictive limit of
    tokens in force), and those of priority and fast mode."""
    client: Mapping[str, Allowance] = field(default_factory=dict)
    """The client's own buckets by counter: ``requests``, ``input_tokens``, ``output_tokens``; none without a limit."""
    queue: int = 0
    """Calls that wait now."""
    longest_wait: float = 0.0
    """Seconds that the first of them has waited so far."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """The rate-limit headers of that answer, as they came."""


_HEADER = re.compile(r"anthropic-(?:ratelimit-|(?=priority-|fast-))([a-z-]+)-(limit|remaining|reset)")

_MOST = 10**12
"""Largest count that is believed."""


def read_limits(headers: Mapping[str, str]) -> dict[str, Allowance]:
    """Read rate-limit headers, by counter; one that is not whole, or cannot be read, is left out."""
    found: dict[str, dict[str, str]] = {}
    for name, value in headers.items():
        if match := _HEADER.fullmatch(name.lower()):
            found.setdefault(match[1].replace("-", "_"), {})[match[2]] = value
    limits: dict[str, Allowance] = {}
    for counter, told in found.items():
        try:
            limit, remaining = int(told["limit"]), int(told["remaining"])
            reset = datetime.fromisoformat(told["reset"])
            reset = (reset if reset.tzinfo else reset.replace(tzinfo=UTC)).astimezone(UTC)
        except (KeyError, ValueError, OverflowError):
            continue
        if 0 <= limit <= _MOST and 0 <= remaining <= _MOST:
            limits[counter] = Allowance(limit, remaining, reset)
    return limits
