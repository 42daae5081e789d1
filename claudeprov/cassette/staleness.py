"""Whether a recording still stands for what the API says today."""

from __future__ import annotations

from datetime import datetime

from claudeprov.cassette.interaction import LOCAL, Interaction
from claudeprov.catalog import Lifecycle, catalog

API_VERSION = "2026-10-21"
"""The API's version that requests of the official SDK 2 ask for."""


def stale(
    interaction: Interaction, *, now: datetime, api: str | None = None, max_age: float | None = None
) -> str | None:
    """Say why *interaction* should be recorded again; ``None``: nothing speaks for it.

    Args:
        interaction: What was recorded.
        now: The time, aware.
        api: The API's version that requests ask for today; not compared if left out.
        max_age: Days after which a recording is too old; any age will do if left out.
    """
    details = interaction.details
    if details is None:
        return "not recorded by claudeprov, nobody knows when"
    recorded_with = details.versions.get("api")
    if api is not None and recorded_with is not None and recorded_with != api:
        return f"recorded with API version {recorded_with}, requests ask for {api} now"
    model = None if details.server.endswith(LOCAL) else catalog().get(details.model or "")
    if model is not None and _is_retired(model.lifecycle, now):
        return f"{model.id} is retired, its replacement is {model.lifecycle.replacement or 'not known'}"
    days = (now - datetime.fromisoformat(details.recorded_at)).total_seconds() / 86400
    if max_age is not None and days > max_age:
        return f"recorded more than {max_age:g} days ago"
    return None


def _is_retired(lifecycle: Lifecycle, now: datetime) -> bool:
    return lifecycle.status == "retired" or (lifecycle.retires is not None and lifecycle.retires <= now.date())
