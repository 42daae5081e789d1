"""The ways by which alerts are told."""

from __future__ import annotations

import shutil

from claudeprov.alerts.channel import open_channel
from claudeprov.doctor.check import Check
from claudeprov.errors import ConfigurationError
from claudeprov.settings.alerts import AlertsSettings, ChannelSettings


async def alerts(settings: AlertsSettings | None) -> Check:
    """Whether each channel can be opened, and the program of a command is there; nothing is sent."""
    if settings is None:
        return Check("alerts", "skipped", "alerts=off")
    names = list(settings.channels)
    problems = [what for name in names if (what := await _problem(name, settings.channels[name]))]
    details = {"channels": names}
    if problems:
        what, advice = "; ".join(problems), "put it right, or take the channel away: ~alerts.channels.NAME"
        return Check("alerts", "fault", what, advice, ConfigurationError(what), details)
    return Check("alerts", "ok", f"told by {', '.join(names)}" if names else "told to nobody", details=details)


async def _problem(name: str, settings: ChannelSettings) -> str | None:
    try:
        await open_channel(name, settings).close()
    except ConfigurationError as error:
        return error.message
    if settings.kind == "command" and shutil.which(settings.command[0]) is None:
        return f"alerts.channels.{name}.command: there is no program {settings.command[0]!r} that this user can run"
    return None
