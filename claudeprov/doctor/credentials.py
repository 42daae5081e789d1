"""Where the credentials for the service come from; whether it takes them, the first request tells."""

from __future__ import annotations

import os
from functools import partial

from claudeprov.doctor.check import Check
from claudeprov.errors import AuthenticationError
from claudeprov.login import login_hint
from claudeprov.settings.endpoint import EndpointSettings
from claudeprov.thread import in_thread

_KEYS = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")


async def credentials(settings: EndpointSettings) -> Check:
    """Whether there are credentials for the endpoint, and from where; the value is not looked at but for its edges.

    Raises:
        ConfigurationError: The extra that looks for them is missing.
    """
    from claudeprov.anthropic import credentials_source

    found = partial(Check, "credentials")
    try:
        # A platform's library may ask the machine that it runs on, and wait for it.
        source = await in_thread(lambda: credentials_source(settings), "doctor credentials")
    except AuthenticationError as error:
        return found("fault", error.message, login_hint(settings.kind), error)
    if source is None:
        advice = f"{login_hint(settings.kind)}; or say that recorded answers will do: cassette=replay"
        what = f"none for endpoint={settings.kind}"
        return found("fault", what, advice, AuthenticationError(f"no credentials for endpoint={settings.kind}"))
    details = {"source": source}
    value = os.environ.get(source, "")
    if value.strip("\"' ") != value:
        what = f"{source} has a quote or a blank at an end"
        return found("warning", what, f"set {source} to the key alone", details=details)
    others = [name for name in _KEYS if name != source and os.environ.get(name)] if source in _KEYS else []
    told = "".join(f"; {name} is set too, and passed over" for name in others)
    return found("ok", f"from {source}{told}", details=details)
