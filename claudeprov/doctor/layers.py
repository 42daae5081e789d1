"""The layers of the chain."""

from __future__ import annotations

from claudeprov.clock import Clock
from claudeprov.doctor.check import Check
from claudeprov.settings import Settings

_ELSEWHERE = ("telemetry", "alerts", "ledger")
"""Groups with a check of their own: to make their layers listens at a port, or makes a file."""


async def layers(settings: Settings, clock: Clock) -> Check:
    """Whether they can be made, the user's own among them.

    Raises:
        ConfigurationError: One cannot be.
    """
    from claudeprov.middleware import build  # now, for it brings what the layers need

    groups = settings.model_copy(update=dict.fromkeys(_ELSEWHERE))
    made = build(groups, clock, replay=settings.cassette.mode == "replay")
    for layer in made:
        if close := getattr(layer, "close", None):
            await close()
    names = [type(layer).__name__ for layer in made]
    return Check("layers", "ok", f"can be made: {', '.join(names) or 'none'}", details={"layers": names})
