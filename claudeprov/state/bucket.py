"""Token buckets: how much of a rate limit is left, with neither event loop nor network.

A bucket holds at most ``burst`` and is refilled continuously by ``rate`` a second, as the service's own are. So in no
stretch of time is more taken than ``burst`` plus ``rate`` times its seconds, less what was given back. Times are handed
in, in monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Mapping

from claudeprov.clock import Clock
from claudeprov.state import Counter, Level, Limit

_ROUNDING = 1e-6
"""What a bucket may lack for an amount to be taken: the refill of many small times does not add up exactly."""


class TokenBucket:
    """One counter of a rate limit; full at first.

    A correction may leave it below zero; what is missing is refilled before anything is taken again.
    """

    def __init__(self, limit: Limit, now: float) -> None:
        self.limit = limit
        self.level = limit.burst
        self._at = now
        self._pace = 0.0
        self._paced_until = now

    def adopt(self, limit: Limit, now: float) -> None:
        """Go on with another limit."""
        self.refill(now)
        self.limit = limit
        self.level = min(self.level, limit.burst)

    def refill(self, now: float) -> None:
        """Add what has come in since it was last looked at."""
        if now <= self._at:
            return
        paced = min(max(self._paced_until - self._at, 0.0), now - self._at)
        gained = paced * self._pace + (now - self._at - paced) * self.limit.rate
        self.level = min(self.level + gained, self.limit.burst)
        self._at = now

    def wait(self, amount: float, now: float) -> float:
        """Seconds until *amount*, at most ``burst``, can be taken."""
        self.refill(now)
        missing = amount - self.level
        if missing <= _ROUNDING:
            return 0.0
        start = max(self._at - now, 0.0)
        paced = max(self._paced_until - now - start, 0.0)
        if self._pace * paced >= missing:
            return start + missing / self._pace
        return start + paced + (missing - self._pace * paced) / self.limit.rate

    def shown(self, now: float) -> Level:
        """What it holds."""
        reset = self.wait(self.limit.burst, now)
        return Level(self.limit, self.level, reset)

    def give(self, amount: float, now: float) -> None:
        """Put *amount* back, no higher than ``burst``; take it where it is negative."""
        self.refill(now)
        self.level = min(self.level + amount, self.limit.burst)

    def restart(self, level: float, at: float) -> None:
        """Hold at most *level* at the later time *at*, before which nobody takes."""
        self.refill(at)
        self.level = min(self.level, level)

    def steer(self, remaining: float, reset: float, now: float) -> None:
        """Spread *remaining* evenly over *reset* seconds; after 0 seconds of it the bucket is on its own again.

        That takes from the bucket and never adds to it.
        """
        self.refill(now)
        self._pace, self._paced_until = 0.0, now + reset
        if reset > 0:
            self.level = min(self.level, 0.0)
            self._pace = min(max(remaining, 0.0) / reset, self.limit.rate)


class Pool:
    """The buckets of one route: taken from together or not at all."""

    def __init__(self) -> None:
        self._buckets: dict[Counter, TokenBucket] = {}
        self._held_until = 0.0

    def take(self, wanted: Mapping[Counter, float], limits: Mapping[Counter, Limit], now: float) -> float:
        """Take *wanted* of all that has a limit; 0.0 if taken, else the seconds after which to ask again."""
        wait = max(self._held_until - now, 0.0)
        for counter, limit in limits.items():
            bucket = self._bucket(counter, limit, now)
            wait = max(wait, bucket.wait(wanted.get(counter, 0.0), now))
        if wait == 0.0:
            for counter in limits:
                self._buckets[counter].level -= wanted.get(counter, 0.0)
        return wait

    def give(self, amounts: Mapping[Counter, float], now: float) -> None:
        """Correct what was taken."""
        for counter, amount in amounts.items():
            if counter in self._buckets:
                self._buckets[counter].give(amount, now)

    def hold(self, seconds: float, now: float) -> None:
        """Let nobody take for *seconds*; where requests have a rate, one may go then, and the others follow at it."""
        self._held_until = max(self._held_until, now + seconds)
        if "requests" in self._buckets:
            self._buckets["requests"].restart(1.0, self._held_until)

    def steer(self, remaining: Mapping[Counter, float], reset: Mapping[Counter, float], now: float) -> None:
        """Spread what remains over the time until its reset."""
        for counter, bucket in self._buckets.items():
            if counter in remaining and counter in reset:
                bucket.steer(remaining[counter], reset[counter], now)

    def follow(self, limits: Mapping[Counter, Limit], levels: Mapping[Counter, float], now: float) -> None:
        """Take over what the buckets hold elsewhere."""
        for counter, level in levels.items():
            bucket = self._bucket(counter, limits[counter], now)
            bucket.refill(now)
            bucket.level = level

    def levels(self, now: float) -> dict[Counter, Level]:
        """What the buckets hold."""
        return {counter: bucket.shown(now) for counter, bucket in self._buckets.items()}

    def _bucket(self, counter: Counter, limit: Limit, now: float) -> TokenBucket:
        bucket = self._buckets.get(counter)
        if bucket is None:
            bucket = self._buckets[counter] = TokenBucket(limit, now)
        elif bucket.limit != limit:
            bucket.adopt(limit, now)
        return bucket


class MemoryBuckets:
    """The pools of all routes, in this process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pools: dict[str, Pool] = {}

    async def take(self, key: str, wanted: Mapping[Counter, float], limits: Mapping[Counter, Limit]) -> float:
        return self._pool(key).take(wanted, limits, self._clock.monotonic())

    def give(self, key: str, amounts: Mapping[Counter, float]) -> None:
        self._pool(key).give(amounts, self._clock.monotonic())

    def hold(self, key: str, seconds: float) -> None:
        self._pool(key).hold(seconds, self._clock.monotonic())

    def steer(self, key: str, remaining: Mapping[Counter, float], reset: Mapping[Counter, float]) -> None:
        self._pool(key).steer(remaining, reset, self._clock.monotonic())

    def levels(self, key: str) -> Mapping[Counter, Level]:
        return self._pool(key).levels(self._clock.monotonic())

    def _pool(self, key: str) -> Pool:
        return self._pools.setdefault(key, Pool())
