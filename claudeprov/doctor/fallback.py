"""The endpoints that stand in for the configured one."""

from __future__ import annotations

from claudeprov.doctor.check import Check
from claudeprov.errors import AuthenticationError, ConfigurationError
from claudeprov.login import login_hint
from claudeprov.settings.endpoint import EndpointSettings
from claudeprov.settings.fallback import FallbackSettings
from claudeprov.thread import in_thread


async def fallback(settings: FallbackSettings | None) -> Check:
    """Whether there are credentials for each endpoint of ``fallback.to``; calls do without it until it stands in."""
    endpoints = [candidate.endpoint for candidate in settings.to if candidate.endpoint] if settings else []
    if not endpoints:
        return Check("fallback", "skipped", "no other endpoint stands in")
    problems = [what for endpoint in endpoints if (what := await _problem(endpoint))]
    kinds = [endpoint.kind for endpoint in endpoints]
    if problems:
        advice = "see to it, or take the endpoint out of fallback.to: it cannot stand in"
        return Check("fallback", "warning", "; ".join(problems), advice, details={"endpoints": kinds})
    return Check("fallback", "ok", f"there are credentials for {', '.join(kinds)}", details={"endpoints": kinds})


async def _problem(settings: EndpointSettings) -> str | None:
    from claudeprov.anthropic import credentials_source

    try:
        source = await in_thread(lambda: credentials_source(settings), "doctor fallback")
    except (AuthenticationError, ConfigurationError) as error:
        return error.message
    return None if source else f"no credentials for {settings.kind}: {login_hint(settings.kind)}"
