"""Somebody is told when calls go worse than they should."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from contextvars import Context
from random import Random

from claudeprov.alerts.baseline import Baselines
from claudeprov.alerts.channel import Channel
from claudeprov.alerts.delivery import Delivery
from claudeprov.alerts.monitor import Monitor
from claudeprov.alerts.window import Sample
from claudeprov.chain import Call, Next
from claudeprov.clock import Clock
from claudeprov.notice import Notices
from claudeprov.response import MessageResponse
from claudeprov.settings.alerts import AlertsSettings
from claudeprov.stream import Outcome, Stream, response_of

_log = logging.getLogger(__name__)


class Alerts:
    """Takes down at each call's end what it was like, and looks at the rules every ``interval`` seconds.

    What changes goes to each channel, by a queue of its own, and to whoever listens to notices: ``alert.firing`` and
    ``alert.resolved``, with ``rule``, ``severity``, ``key``, ``measure``, ``value``, ``unit``, ``threshold``,
    ``baseline``, ``calls``, ``since``, ``message`` and what else the JSON form has. No call waits for any of this, nor
    fails by it.

    Args:
        settings: The rules.
        clock: Where time comes from.
        random: Where the jitter between deliveries comes from.
        notices: Where breakers and budgets are told, and alerts are.
        baselines: What the ledger tells.
        channels: Who is told, by name of the settings' channels.
    """

    def __init__(
        self,
        settings: AlertsSettings,
        *,
        clock: Clock,
        random: Random,
        notices: Notices,
        baselines: Baselines,
        channels: Mapping[str, Channel],
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._notices = notices
        self._baselines = baselines
        self._monitor = Monitor(settings, clock=clock, baselines=baselines)
        self._is_priced = any(rule.measure == "cost_rate" for rule in settings.rules.values())
        self._deliveries = [
            Delivery(name, channel, timeout=settings.channels[name].timeout, clock=clock, random=random)
            for name, channel in channels.items()
        ]
        self._tasks: list[asyncio.Task[None]] = []
        self._stop_hearing: Callable[[], None] = lambda: None

    async def open(self) -> None:
        """Begin to look at the rules."""
        self._stop_hearing = self._notices.listen(self._monitor.standing.hear)
        work = [self._watch(), *(delivery.run() for delivery in self._deliveries)]
        self._tasks = [asyncio.get_running_loop().create_task(one, context=Context()) for one in work]

    async def __call__(self, call: Call, call_next: Next) -> Stream:
        model = call.request.model
        try:
            stream = await call_next(call)
        except Exception as error:
            self._ended(call, model, Outcome("failed", error), None)
            raise
        except BaseException:
            self._ended(call, model, Outcome("cancelled"), None)
            raise
        stream.on_end(lambda outcome: self._ended(call, model, outcome, stream))
        return stream

    async def evaluate(self) -> None:
        """Look at the rules now, and have told what has changed."""
        for alerts in self._monitor.evaluate():
            for alert in alerts:
                self._notices.post(f"alert.{alert.state}", None, **alert.figures())
                for delivery in self._deliveries:
                    delivery.put(alert)
            await asyncio.sleep(0)  # calls go on

    async def close(self) -> None:
        """Look at the rules once more, and wait a little for what is still to be delivered."""
        if not self._tasks:
            return
        watching, *delivering = self._tasks
        self._tasks = []
        async with AsyncExitStack() as closing:  # in reverse, and each even if another fails, or this is cancelled
            closing.push_async_callback(asyncio.to_thread, self._baselines.close)
            for delivery in self._deliveries:
                closing.push_async_callback(delivery.close)
            closing.push_async_callback(_cancelled, delivering)
            closing.callback(self._stop_hearing)
            await _cancelled([watching])
            await self.evaluate()
            await asyncio.gather(*(delivery.flush() for delivery in self._deliveries))

    async def _watch(self) -> None:
        while True:
            await self._clock.sleep(self._settings.interval)
            try:
                await self.evaluate()
            except Exception:
                _log.exception("the rules of alerts could not be looked at; they will be again")

    def _ended(self, call: Call, model: str | None, outcome: Outcome, stream: Stream | None) -> None:
        try:
            self._take_down(call, model, outcome, response_of(call, stream))
        except Exception:
            _log.exception("alerts could not take down the call %s; it does not count", call.id)

    def _take_down(self, call: Call, model: str | None, outcome: Outcome, response: MessageResponse) -> None:
        timing, is_read = response.timing, outcome.kind == "read"
        sample = Sample(
            at=self._clock.monotonic(),
            failed=outcome.kind == "failed" if outcome.kind in ("read", "failed") else None,
            refused=is_read and response.stop_reason == "refusal",
            latency=timing.total if is_read else None,
            first_chunk=timing.first_chunk,
            tokens=(response.usage.output_tokens or 0) if is_read else 0,
            served=timing.total - timing.queue - timing.backoff,
            usd=_usd(response) if self._is_priced else 0.0,
        )
        run = call.tags.get("run")
        self._monitor.add(sample, model=model, route=call.route, run=None if run is None else str(run))


def _usd(response: MessageResponse) -> float:
    """The most that is known that a call cost."""
    if not response.usage.raw and not any(attempt.cost for attempt in response.attempts):
        return 0.0
    return float(response.cost.high_usd or response.cost.low_usd or 0)


async def _cancelled(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
