"""The configuration, as far as it can be composed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from claudeprov.doctor.check import Check
from claudeprov.errors import ConfigurationError

if TYPE_CHECKING:
    from claudeprov.compose import Composition


async def configuration(configured: Composition | ConfigurationError) -> Check:
    """Whether it composes, and what was chosen by whom."""
    if isinstance(configured, ConfigurationError):
        advice = "put it right there; claudeprov config tells where each value comes from"
        details = {"problems": configured.context.get("problems", [])}
        return Check("configuration", "fault", configured.message, advice, configured, details)
    told = {group: f"{option}" for group, option in configured.choices.items() if option is not None}
    own = [f"{group}={told[group]}" for group, origin in configured.chosen_by.items() if not origin.startswith("conf/")]
    found = f"composes, with {', '.join(own)}" if own else "composes, by its defaults"
    return Check("configuration", "ok", found, details={"choices": told})
