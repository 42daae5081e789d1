"""Where code runs that a model wrote."""

from __future__ import annotations

from claudeprov.doctor.check import Check
from claudeprov.errors import SandboxUnavailableError
from claudeprov.settings.sandbox import SandboxSettings


async def sandbox(settings: SandboxSettings | None = None) -> Check:
    """At which level suites can run code here, and what that guarantees, tried by a program that tries to break out."""
    from claudeprov.sandbox import Sandbox

    try:
        level = await Sandbox(settings).level()
    except SandboxUnavailableError as error:
        advice = "install bubblewrap (apt-get install bubblewrap); docs/sandbox.md tells what each level needs"
        return Check("sandbox", "warning", error.message, advice)
    guarantees = sorted(level.guarantees)
    details = {"level": level.name, "guarantees": guarantees}
    found = f"{level.name}, which guarantees {', '.join(guarantees)}"
    if "network" not in level.guarantees or "read" not in level.guarantees:
        advice = "run only suites that you trust, or install bubblewrap; docs/sandbox.md tells what each level stops"
        return Check("sandbox", "warning", found, advice, details=details)
    return Check("sandbox", "ok", found, details=details)
