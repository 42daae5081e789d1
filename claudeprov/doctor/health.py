"""Whether a provider's calls can be expected to work: looked at now and then, however often it is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING

from claudeprov.clock import Clock
from claudeprov.contract import Health
from claudeprov.doctor.check import Check
from claudeprov.doctor.database import database
from claudeprov.doctor.endpoint import Visit
from claudeprov.doctor.examine import Look, examine
from claudeprov.doctor.shared_state import shared_state
from claudeprov.errors import ConfigurationError
from claudeprov.route import route_of
from claudeprov.settings import Settings
from claudeprov.state import State

if TYPE_CHECKING:
    from claudeprov.anthropic import Endpoint

EVERY = 10.0
"""Seconds for which an answer is given again."""
LIMIT = 5.0
"""Seconds that a look may take."""
_SPARED = ("database",)
"""Checks whose faults no call meets."""


class HealthCheck:
    """Looks at what calls need, at most once in ten seconds; all who ask meanwhile get the same answer.

    It costs no tokens, asks the service itself, past every layer, and changes nothing that is known of models.

    Args:
        settings: The provider's.
        clock: Where time comes from.
        state: What its calls share.
        service: What gives its endpoint.
        explained: Makes what holds while the endpoint is asked.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        state: State,
        *,
        service: Callable[[], Endpoint],
        explained: Callable[[], AbstractContextManager[object]],
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._state = state
        self._service = service
        self._explained = explained
        self._replay = settings.cassette.mode == "replay"
        self._look: asyncio.Task[Health] | None = None
        self._until = 0.0

    async def __call__(self) -> Health:
        """The latest answer, or a new one where that is too old; never raises :class:`ProviderError`."""
        if self._look is None or (self._look.done() and self._clock.monotonic() >= self._until):
            self._look = asyncio.create_task(self._examine())
        await asyncio.wait([look := self._look])  # whoever is cancelled leaves it to the others
        return Health(False, 0.0, ConfigurationError("the provider was closed")) if look.cancelled() else look.result()

    async def close(self) -> None:
        """Leave off."""
        if self._look is not None:
            self._look.cancel()
            await asyncio.wait([self._look])

    async def _examine(self) -> Health:
        settings, clock = self._settings, self._clock
        started = clock.monotonic()
        visit = Visit(settings, clock, self._service, self._explained)
        looks = [
            Look("endpoint", self._unasked if self._replay else visit.endpoint),
            Look("clock", visit.skew, after=("endpoint",)),
            Look("breaker", self._breaker),
            Look("redis", partial(shared_state, settings.state, clock)),
            Look("database", partial(database, settings.ledger, settings.runs_dir)),
        ]
        checks = await examine(looks, clock, limit=LIMIT)
        errors = [check.error for check in checks if check.status == "fault" and check.name not in _SPARED]
        ended = clock.monotonic()
        self._until = ended + EVERY
        return Health(not errors, ended - started, errors[0] if errors else None, checks)

    async def _unasked(self) -> Check:
        return Check("endpoint", "skipped", "cassette=replay sends nothing")

    async def _breaker(self) -> Check:
        """Whether the breaker of the configured model's route lets calls through, as far as this process knows."""
        settings = self._settings
        if settings.breaker is None or self._replay:
            return Check("breaker", "skipped", "cassette=replay has none" if self._replay else "breaker=off")
        route = route_of(settings.endpoint, settings.model.id)
        details = {"route": route}
        refusal = self._state.circuits.refusal(route)
        if refusal is None:
            return Check("breaker", "ok", f"the breaker of {route} lets calls through", details=details)
        if refusal.context["state"] == "half_open":
            return Check("breaker", "warning", refusal.message, "wait for the trial's end", details=details)
        advice = "wait for the trial, and see to what keeps failing; breaker.force shows whether it is forced open"
        return Check("breaker", "fault", refusal.message, advice, refusal, details)
