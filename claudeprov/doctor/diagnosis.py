"""All that ``claudeprov doctor`` looks at."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import cache, partial
from typing import TYPE_CHECKING

from claudeprov.clock import SYSTEM_CLOCK, Clock
from claudeprov.doctor.alerts import alerts
from claudeprov.doctor.cassettes import cassettes
from claudeprov.doctor.check import Check
from claudeprov.doctor.configuration import configuration
from claudeprov.doctor.credentials import credentials
from claudeprov.doctor.database import database
from claudeprov.doctor.disk import disk
from claudeprov.doctor.endpoint import Visit
from claudeprov.doctor.environment import extras_of, packages, python
from claudeprov.doctor.examine import Look, examine
from claudeprov.doctor.fallback import fallback
from claudeprov.doctor.layers import layers
from claudeprov.doctor.network import network
from claudeprov.doctor.sandbox import sandbox
from claudeprov.doctor.shared_state import shared_state
from claudeprov.doctor.telemetry import telemetry
from claudeprov.errors import AuthenticationError, ConfigurationError
from claudeprov.settings import Settings
from claudeprov.settings.deadline import DeadlineSettings

if TYPE_CHECKING:
    from claudeprov.anthropic import Endpoint
    from claudeprov.compose import Composition

_LIMIT = 10.0
"""Seconds that a check may take."""
_REQUEST = DeadlineSettings(connect=5.0, total=8.0)
"""What its one request may take: less, so that it is told what took so long."""

CHECKS = (
    *("python", "packages", "configuration", "layers", "disk"),
    *("credentials", "fallback", "network", "endpoint", "clock", "model"),
    *("redis", "database", "cassettes", "telemetry", "alerts", "sandbox"),
)
"""The names of all checks, in their order."""
_OF_THE_SERVICE = ("credentials", "fallback", "network", "endpoint", "clock", "model")
_UNSENT = "cassette=replay sends nothing"


async def diagnose(configured: Composition | ConfigurationError, clock: Clock = SYSTEM_CLOCK) -> tuple[Check, ...]:
    """Make every check, all at once; of a configuration that does not compose, those that need none.

    Args:
        configured: The configuration, or why it does not compose.
        clock: Where time comes from.
    """
    settings = None if isinstance(configured, ConfigurationError) else configured.settings
    looks = [
        Look("python", python),
        Look("packages", partial(packages, extras_of(settings) if settings else ())),
        Look("configuration", partial(configuration, configured)),
    ]
    async with AsyncExitStack() as closing:
        if settings is None:
            looks += (Look(name, sandbox, needs=("configuration",)) for name in CHECKS[3:-1])
            looks.append(Look("sandbox", sandbox))
        else:
            replay = settings.cassette.mode == "replay"
            told = partial(_skipped, "alerts", _UNSENT) if replay else partial(alerts, settings.alerts)
            looks += (
                Look("layers", partial(layers, settings, clock)),
                Look("disk", partial(disk, settings.runs_dir)),
            )
            looks += _of_the_service(settings, clock, closing)
            # Latencies are not to be measured while the interpreter is busy with something else.
            idle = ("network", "redis")
            looks += (
                Look("redis", partial(shared_state, settings.state, clock)),
                Look("database", partial(database, settings.ledger, settings.runs_dir), after=idle),
                Look("cassettes", partial(cassettes, settings.cassette, clock), after=idle),
                Look("telemetry", partial(telemetry, settings.telemetry)),
                Look("alerts", told),
                Look("sandbox", partial(sandbox, settings.suite.sandbox), after=idle),
            )
        return await examine(looks, clock, limit=_LIMIT)


def _of_the_service(settings: Settings, clock: Clock, closing: AsyncExitStack) -> list[Look]:
    """The checks of what is between here and an answer, which a replay does without."""
    if settings.cassette.mode == "replay":
        return [Look(name, partial(_skipped, name, _UNSENT)) for name in _OF_THE_SERVICE]
    from claudeprov.anthropic import Endpoint  # now, for it takes a while

    @cache
    def service(*, replay: bool = False) -> Endpoint:
        endpoint = Endpoint(settings.endpoint, _REQUEST, clock, replay=replay)
        closing.push_async_callback(endpoint.close)
        return endpoint

    async def way() -> Check:
        try:
            url = service().base_url
        except AuthenticationError:  # which is another check's to tell
            url = service(replay=True).base_url
        return await network(url, clock)

    visit = Visit(settings, clock, service)
    return [
        Look("credentials", partial(credentials, settings.endpoint)),
        Look("fallback", partial(fallback, settings.fallback), after=("credentials",)),
        Look("network", way, after=("credentials",)),
        Look("endpoint", visit.endpoint, needs=("credentials", "network")),
        Look("clock", visit.skew, needs=("credentials", "network"), after=("endpoint",)),
        Look("model", visit.model, after=("endpoint",)),
    ]


async def _skipped(name: str, found: str) -> Check:
    return Check(name, "skipped", found)
