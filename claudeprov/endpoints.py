"""The services that a provider's calls go to: its own, and those that stand in for it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from claudeprov.clock import Clock
from claudeprov.errors import AuthenticationError, ConfigurationError

if TYPE_CHECKING:
    import httpx2

    from claudeprov.anthropic import Endpoint
    from claudeprov.cost import Cost
    from claudeprov.request import MessageRequest
    from claudeprov.response import MessageResponse
    from claudeprov.settings.deadline import DeadlineSettings
    from claudeprov.settings.endpoint import EndpointSettings

_log = logging.getLogger(__name__)


class Endpoints:
    """One endpoint for each settings of one, made when it is first asked for.

    Args:
        timeouts: The limits of the HTTP layer.
        clock: Where time comes from.
        transport: What carries the requests of all of them; ``None``: each has connections of its own.
        replay: The transport answers by itself: no credentials are looked for.
        price: How to price a response.
    """

    def __init__(
        self,
        timeouts: DeadlineSettings | None,
        clock: Clock,
        *,
        transport: httpx2.AsyncBaseTransport | None,
        replay: bool,
        price: Callable[[MessageRequest, MessageResponse], Cost],
    ) -> None:
        self._timeouts = timeouts
        self._clock = clock
        self._transport = transport
        self._replay = replay
        self._price = price
        self._made: dict[EndpointSettings, Endpoint] = {}

    def get(self, settings: EndpointSettings) -> Endpoint:
        """The endpoint of *settings*.

        Raises:
            AuthenticationError: There are no credentials for it.
            ConfigurationError: It lacks a setting or an extra.
        """
        if settings not in self._made:
            from claudeprov.anthropic import Endpoint

            self._made[settings] = Endpoint(
                settings,
                self._timeouts,
                self._clock,
                transport=self._transport,
                replay=self._replay,
                price=self._price,
            )
        return self._made[settings]

    def look_at(self, candidates: Iterable[EndpointSettings]) -> None:
        """Make those of *candidates* that can be made, and warn of the others."""
        for settings in candidates:
            try:
                self.get(settings)
            except (AuthenticationError, ConfigurationError) as error:
                _log.warning("a candidate of fallback.to cannot be used, and is passed over: %s", error)

    async def close(self) -> None:
        """Close every connection; a transport that they share once."""
        made, self._made = list(self._made.values()), {}
        async with AsyncExitStack() as closing:  # each even if another fails to
            for endpoint in made if self._transport is None else made[:1]:
                closing.push_async_callback(endpoint.close)
