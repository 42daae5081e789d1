"""The layers that ship, one module each, and how configuration becomes a list of them."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from claudeprov.chain import Middleware
from claudeprov.clock import Clock
from claudeprov.errors import ConfigurationError
from claudeprov.notice import Notices
from claudeprov.problem import masked

if TYPE_CHECKING:
    from claudeprov.settings import Settings


@dataclass(frozen=True)
class Parts:
    """What the layers of one provider have in common."""

    settings: Settings
    clock: Clock
    random: Random
    notices: Notices


def build(
    settings: Settings, clock: Clock, *, random: Random | None = None, notices: Notices | None = None
) -> list[Middleware]:
    """Make the layers that ``settings.chain`` names, outermost first; a group that is off makes none.

    Args:
        settings: A composed configuration.
        clock: Where the layers' time comes from.
        random: Where their randomness comes from; seeded by the system if left out.
        notices: Where they tell what happens; nobody listens if left out.

    Raises:
        ConfigurationError: A layer of the user's own cannot be made.
    """
    parts = Parts(settings, clock, random or Random(), notices or Notices(clock))  # noqa: S311 - no secret
    return [
        _shipped(entry, parts) if isinstance(entry, str) else _own(entry, settings.allow_targets)
        for entry in settings.chain
        if not isinstance(entry, str) or getattr(settings, entry) is not None
    ]


def _shipped(name: str, parts: Parts) -> Middleware:
    # Each brings a library: only those that are in the chain are loaded.
    settings, clock = parts.settings, parts.clock
    match name:
        case "telemetry":
            from claudeprov.middleware.telemetry import Telemetry

            return Telemetry(parts.notices)
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
            return Retry(settings.retry, clock=clock, random=parts.random)
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
