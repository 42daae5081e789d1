"""The latest calls, as many as are needed to tell what they were like."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from typing import NamedTuple

SIZE = 4096
"""Calls that a window keeps. Where there are more within its seconds, its figures are those of the latest so many."""


class Sample(NamedTuple):
    """What one call was like; what it does not tell is ``None``."""

    at: float
    """When it ended, in the clock's monotonic seconds."""
    failed: bool | None
    """``None`` where its reader left it."""
    refused: bool
    """Whether the model refused."""
    latency: float | None
    """Seconds that it took, where it was read to its end."""
    first_chunk: float | None
    """Seconds to its first event."""
    tokens: int
    """Tokens of output, where it was read to its end."""
    served: float
    """Seconds of it that were no waits of the client's own."""
    usd: float
    """The most that is known that it cost."""


class Window:
    """The calls of one model, of one route, or all of them."""

    __slots__ = ("_samples",)

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque(maxlen=SIZE)

    def __len__(self) -> int:
        return len(self._samples)

    def add(self, sample: Sample) -> None:
        """Take in a call that has just ended; it costs the same however many there are."""
        self._samples.append(sample)

    def latest(self, now: float, seconds: float) -> list[Sample]:
        """The calls that ended within the last *seconds*."""
        samples = list(self._samples)
        return samples[bisect_right(samples, -seconds, key=lambda sample: sample.at - now) :]

    def covered(self, now: float, seconds: float) -> float:
        """How many of the last *seconds* it holds all calls of: fewer where it is full."""
        if len(self._samples) < SIZE:
            return seconds
        return min(seconds, max(now - self._samples[0].at, 1.0))

    def forget(self, now: float, seconds: float) -> None:
        """Drop the calls that ended longer ago."""
        while self._samples and now - self._samples[0].at >= seconds:
            self._samples.popleft()
