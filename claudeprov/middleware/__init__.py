"""The layers that ship, one module each, and how configuration becomes a list of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from claudeprov.catalog import Model, catalog
from claudeprov.chain import Middleware
from claudeprov.clock import Clock
from claudeprov.errors import ConfigurationError
from claudeprov.limits import RouteLimits
from claudeprov.notice import Notices
from claudeprov.pricing import PriceBook
from claudeprov.problem import masked
from claudeprov.state import Memory, State
from claudeprov.target import resolve
from claudeprov.tokens import Estimator

if TYPE_CHECKING:
    from claudeprov.alerts.baseline import Baselines
    from claudeprov.budget import Spent
    from claudeprov.settings import Settings
    from claudeprov.telemetry import Observer


@dataclass(frozen=True)
class Parts:
    """What the layers of one provider have in common."""

    settings: Settings
    clock: Clock
    random: Random
    notices: Notices
    state: State
    estimator: Estimator
    prices: PriceBook
    models: Callable[[str], Model | None]
    """What is known of a model, by any of its names."""
    limits: Callable[[], Mapping[str, RouteLimits]]
    """What is known of the rate limits of each route."""
    replay: bool


def build(
    settings: Settings,
    clock: Clock,
    *,
    random: Random | None = None,
    notices: Notices | None = None,
    state: State | None = None,
    estimator: Estimator | None = None,
    models: Callable[[str], Model | None] | None = None,
    limits: Callable[[], Mapping[str, RouteLimits]] | None = None,
    replay: bool = False,
    layers: list[Middleware] | None = None,
) -> list[Middleware]:
    """Make the layers that ``settings.chain`` names, outermost first; a group that is off makes none.

    Args:
        settings: A composed configuration.
        clock: Where the layers' time comes from.
        random: Where their randomness comes from; seeded by the system if left out.
        notices: Where they tell what happens; nobody listens if left out.
        state: What they share with others, opened; in this process alone if left out.
        estimator: What estimates their requests' tokens; one that has learned nothing if left out.
        models: What finds a model by any of its names; the catalogue, with the configured one, if left out.
        limits: What tells of the rate limits of each route; nothing if left out.
        replay: Whether a cassette answers.
        layers: What they are appended to, so that those made before one that cannot be are there to be closed.

    Raises:
        ConfigurationError: A layer of the user's own cannot be made.
    """
    notices = notices or Notices(clock)
    state = state or Memory(settings, clock, notices)
    prices = PriceBook(settings.pricing, settings.model)
    estimator = estimator or Estimator()
    models = models or catalog().including(settings.model).get
    random = random or Random()  # noqa: S311 - no secret
    parts = Parts(settings, clock, random, notices, state, estimator, prices, models, limits or dict, replay)
    layers = [] if layers is None else layers
    for entry in settings.chain:
        if not isinstance(entry, str):
            layers.append(_own(entry, settings.allow_targets))
        elif getattr(settings, entry) is not None and not (replay and entry in _LIVE):
            layers.append(_shipped(entry, parts))
    return layers


_LIVE = ("alerts", "budget", "breaker", "ratelimit")
"""Layers that a replay does without: it is free, takes nothing from anybody, is no reason to wake anybody, and its
headers are of times long past. Failures that were hours apart would come at once and open a breaker, on which the
answers after them depended."""


def _shipped(name: str, parts: Parts) -> Middleware:
    # Each brings a library: only those that are in the chain are loaded.
    settings, clock = parts.settings, parts.clock
    match name:
        case "telemetry":
            return _telemetry(parts)
        case "alerts":
            from claudeprov.alerts.channel import open_channel
            from claudeprov.middleware.alerts import Alerts

            assert settings.alerts is not None
            return Alerts(
                settings.alerts,
                clock=clock,
                random=parts.random,
                notices=parts.notices,
                baselines=_baselines(parts),
                channels={name: open_channel(name, channel) for name, channel in settings.alerts.channels.items()},
            )
        case "ledger":
            from claudeprov.ledger.outbox import open_outbox
            from claudeprov.middleware.ledger import Ledger

            assert settings.ledger is not None
            outbox = open_outbox(settings.ledger, settings.runs_dir)
            return Ledger(outbox, notices=parts.notices, replayed=parts.replay)
        case "deadline":
            from claudeprov.middleware.deadline import Deadline

            assert settings.deadline is not None
            return Deadline(settings.deadline)
        case "fallback":
            from claudeprov.middleware.fallback import Fallback

            assert settings.fallback is not None
            return Fallback(settings.fallback, models=parts.models, notices=parts.notices)
        case "preflight":
            from claudeprov.middleware.preflight import Preflight

            assert settings.preflight is not None
            return Preflight(
                settings.preflight,
                clock=clock,
                notices=parts.notices,
                models=parts.models,
                estimate=parts.estimator.estimate,
                replay=parts.replay,
            )
        case "caching":
            from claudeprov.middleware.caching import Caching

            assert settings.caching is not None
            return Caching(settings.caching, models=parts.models)
        case "resume":
            from claudeprov.middleware.resume import Resume

            assert settings.resume is not None
            return Resume(settings.resume, models=parts.models, estimator=parts.estimator, notices=parts.notices)
        case "budget":
            from claudeprov.middleware.budget import Budget

            assert settings.budget is not None
            return Budget(
                settings.budget,
                clock=clock,
                reservations=parts.state.reservations,
                estimator=parts.estimator,
                models=parts.models,
                prices=parts.prices,
                notices=parts.notices,
                spent=_spent(parts),
            )
        case "breaker":
            from claudeprov.middleware.breaker import Breaker

            assert settings.breaker is not None
            return Breaker(settings.breaker, circuits=parts.state.circuits)
        case "retry":
            from claudeprov.middleware.retry import Retry

            assert settings.retry is not None
            # A cassette answers at once, unless it is to keep its pace: what is waited for is there already.
            sleep = _not_at_all if parts.replay and not settings.cassette.speed else None
            return Retry(settings.retry, clock=clock, random=parts.random, notices=parts.notices, sleep=sleep)
        case "ratelimit":
            from claudeprov.middleware.ratelimit import RateLimit

            assert settings.ratelimit is not None
            return RateLimit(
                settings.ratelimit,
                clock=clock,
                buckets=parts.state.buckets,
                estimator=parts.estimator,
                models=parts.models,
                notices=parts.notices,
            )
    raise AssertionError(f"no layer is called {name}")


def _telemetry(parts: Parts) -> Middleware:
    from claudeprov.middleware.telemetry import Telemetry
    from claudeprov.telemetry.exporter import open_exporting
    from claudeprov.telemetry.log import Log
    from claudeprov.telemetry.names import Names

    settings = parts.settings.telemetry
    assert settings is not None
    exporting = open_exporting(settings)
    observers: list[Observer] = [Names(), Log(settings)]
    if exporting.tracers is not None:
        from claudeprov.telemetry.trace import Spans

        observers.insert(0, Spans(exporting.tracers, settings, replay=parts.replay))  # log lines are within the span
    if exporting.book is not None:
        from claudeprov.telemetry.metrics import Metrics

        observers.append(Metrics(exporting.book, parts))
    return Telemetry(observers, parts.notices, url=exporting.url, close=exporting.close)


def _spent(parts: Parts) -> Spent | None:
    if parts.settings.ledger is None:
        return None
    from claudeprov.ledger.spent import Spending

    return Spending(parts.settings.ledger, parts.settings.runs_dir)


def _baselines(parts: Parts) -> Baselines:
    from claudeprov.alerts.baseline import Baselines, without_ledger

    if parts.settings.ledger is None:
        return Baselines(without_ledger, parts.clock)
    from claudeprov.alerts.history import History

    return Baselines(History(parts.settings.ledger, parts.settings.runs_dir, parts.clock), parts.clock)


async def _not_at_all(seconds: float) -> None:
    """Stand in for a clock's sleep."""


def _own(entry: Mapping[str, Any], allowed: tuple[str, ...]) -> Middleware:
    options = dict(entry)
    target = options.pop("_target_")
    try:
        make = resolve(target, allowed)
    except ValueError as error:
        raise ConfigurationError(f"chain: {error}") from error
    try:
        layer: Middleware = make(**options)
    except Exception as error:  # it is the user's own code
        shown = masked("", options)
        raise ConfigurationError(f"chain: {target} cannot be made with the options {shown}: {error!r}") from error
    if not callable(layer):
        raise ConfigurationError(f"chain: {target} makes no layer, but a {type(layer).__name__}")
    return layer
