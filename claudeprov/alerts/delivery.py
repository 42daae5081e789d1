"""The way of alerts to a channel: in order, tried again, and without anybody waiting for it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from random import Random

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_exponential

from claudeprov.alerts.alert import Alert
from claudeprov.alerts.channel import Channel, NotDeliveredError
from claudeprov.clock import Clock

_log = logging.getLogger(__name__)

WAITING = 100
"""Alerts that wait for a channel at most; then the oldest is dropped for each that comes."""
ATTEMPTS = 8
"""Times that an alert is tried; with the waits between them that is some two minutes."""
CLOSING = 5.0
"""Seconds that closing waits for what is still to be delivered."""


class Delivery:
    """Delivers alerts by one channel, one after another.

    What does not arrive, but may later, is tried again after 1 s, 2 s, 4 s ... up to 60 s, of which a random half is
    taken off. What never arrives is logged.

    Args:
        name: The channel's.
        channel: What delivers.
        timeout: Seconds of an attempt.
        clock: Where time comes from.
        random: Where the jitter comes from.
    """

    def __init__(self, name: str, channel: Channel, *, timeout: float, clock: Clock, random: Random) -> None:
        self._name = name
        self._channel = channel
        self._timeout = timeout
        self._clock = clock
        self._random = random
        self._waiting: deque[Alert] = deque()
        self._filled = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._bound = wait_exponential(multiplier=1, max=60)
        self.dropped = 0
        """Alerts that were given up for later ones."""

    def put(self, alert: Alert) -> None:
        """Have *alert* delivered; it never waits."""
        if len(self._waiting) == WAITING:
            self._waiting.popleft()
            if not self.dropped:
                _log.warning("alerts by %s are dropped, the oldest first: %d wait", self._name, WAITING)
            self.dropped += 1
        self._waiting.append(alert)
        self._idle.clear()
        self._filled.set()

    async def run(self) -> None:
        """Deliver, until it is cancelled."""
        while True:
            await self._filled.wait()
            while self._waiting:
                await self._deliver(self._waiting.popleft())
            self._filled.clear()
            self._idle.set()

    async def flush(self) -> None:
        """Wait until all is delivered, or given up, for a few seconds."""
        try:
            async with self._clock.timeout(CLOSING):
                await self._idle.wait()
        except TimeoutError:
            _log.warning("alerts by %s were not delivered: %d", self._name, len(self._waiting) + 1)

    async def close(self) -> None:
        """Give back what the channel holds; where it cannot be, that is logged."""
        try:
            await self._channel.close()
        except Exception:
            _log.exception("the channel %s could not be closed", self._name)

    async def _deliver(self, alert: Alert) -> None:
        attempts = AsyncRetrying(
            sleep=self._clock.sleep,
            stop=stop_after_attempt(ATTEMPTS),
            wait=self._wait,
            retry=retry_if_exception(_passes),
            reraise=True,
        )
        try:
            await attempts(self._attempt, alert)
        except NotDeliveredError as error:
            _log.error("an alert could not be delivered by %s: %s: %s", self._name, error, alert.message)
        except Exception:
            _log.exception("the channel %s failed at an alert: %s", self._name, alert.message)

    async def _attempt(self, alert: Alert) -> None:
        try:
            async with self._clock.timeout(self._timeout):
                await self._channel.send(alert)
        except TimeoutError:
            raise NotDeliveredError(f"it took more than {self._timeout:g} s", passes=True) from None

    def _wait(self, state: RetryCallState) -> float:
        return self._bound(state) * self._random.uniform(0.5, 1)


def _passes(error: BaseException) -> bool:
    return isinstance(error, NotDeliveredError) and error.passes
