"""The layers that ship, one module each, and how configuration becomes a list of them."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from random import Random
from typing import TYPE_CHECKING, Any

from claudeprov.chain import Middleware
from claudeprov.clock import Clock
from claudeprov.errors import ConfigurationError
from claudeprov.problem import masked

if TYPE_CHECKING:
    from claudeprov.settings import Settings


def build(settings: Settings, clock: Clock, *, random: Random | None = None) -> list[Middleware]:
    """Make the layers that ``settings.chain`` names, outermost first; a group that is off makes none.

    Args:
        settings: A composed configuration.
        clock: Where the layers' time comes from.
        random: Where their randomness comes from; seeded by the system if left out.

    Raises:
        ConfigurationError: A layer of the user's own cannot be made.
    """
    layers: list[Middleware] = []
    for entry in settings.chain:
        if not isinstance(entry, str):
            layers.append(_own(entry, settings.allow_targets))
        elif getattr(settings, entry) is not None:
            layers.append(_shipped(entry, settings, clock, random or Random()))  # noqa: S311 - no secret
    return layers


def _shipped(name: str, settings: Settings, clock: Clock, random: Random) -> Middleware:
    # Each brings a library: only those that are in the chain are loaded.
    match name:
        case "telemetry":
            from claudeprov.middleware.telemetry import Telemetry

            return Telemetry()
        case "deadline":
            from claudeprov.middleware.deadline import Deadline

            assert settings.deadline is not None
            return Deadline(settings.deadline, clock=clock)
        case "breaker":
            from claudeprov.middleware.breaker import Breaker

            assert settings.breaker is not None
            return Breaker(settings.breaker, clock=clock)
        case "retry":
            from claudeprov.middleware.retry import Retry

            assert settings.retry is not None
            return Retry(settings.retry, clock=clock, random=random)
    raise AssertionError(f"no layer is called {name}")


def _own(entry: Mapping[str, Any], allowed: tuple[str, ...]) -> Middleware:
    options = dict(entry)
    target = options.pop("_target_")
    try:
        make = pkgutil.resolve_name(target)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(f"chain: there is no {target}: {error}") from error
    # A name inside an allowed module may still lead out of it (package.module.os.system).
    home = f"{getattr(make, '__module__', None)}."
    if not any(home.startswith(f"{package}.") for package in ("claudeprov", *allowed)):
        raise ConfigurationError(f"chain: {target} comes from {home[:-1]}, which allow_targets does not name")
    try:
        layer: Middleware = make(**options)
    except Exception as error:  # it is the user's own code
        shown = masked("", options)
        raise ConfigurationError(f"chain: {target} cannot be made with the options {shown}: {error!r}") from error
    if not callable(layer):
        raise ConfigurationError(f"chain: {target} makes no layer, but a {type(layer).__name__}")
    return layer
