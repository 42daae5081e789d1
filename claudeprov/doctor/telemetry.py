"""The places that spans and metrics go to."""

from __future__ import annotations

import asyncio
import os
import socket
from functools import partial
from urllib.parse import urlsplit

from claudeprov.doctor.check import Check
from claudeprov.errors import ConfigurationError
from claudeprov.settings.telemetry import TelemetrySettings

_COLLECTOR = "http://localhost:4318"
_PORTS = {"http": 80, "https": 443}


async def telemetry(settings: TelemetrySettings | None) -> Check:
    """Whether the OTLP collector takes connections, or the port that Prometheus is to scrape is free.

    A collector that is away touches no call, and is a warning; where the port is taken, no provider opens.
    """
    exporter = settings.exporter if settings else "none"
    found = partial(Check, "telemetry", details={"exporter": exporter})
    if settings is None or exporter in ("none", "console"):
        return found("skipped", f"telemetry.exporter={exporter} needs nobody else" if settings else "telemetry=off")
    if exporter == "otlp":
        url = settings.endpoint or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or _COLLECTOR
        key = "telemetry.endpoint" if settings.endpoint else "OTEL_EXPORTER_OTLP_ENDPOINT"
        try:
            parts = urlsplit(url)
            port = parts.port or _PORTS[parts.scheme]
        except (ValueError, KeyError):
            what = f"{key} = {url!r} is no URL that begins with http:// or https://; nothing of calls is exported"
            return found("warning", what, f"set {key} to the collector's, such as {_COLLECTOR}")
        place = f"{parts.hostname}:{port}"
        try:
            _, writer = await asyncio.open_connection(parts.hostname, port)
        except (OSError, UnicodeError) as error:
            what = f"no collector at {place}: {getattr(error, 'strerror', None) or error}; nothing of calls is exported"
            return found("warning", what, "look at telemetry.endpoint, and whether the collector runs")
        writer.transport.abort()
        return found("ok", f"the collector at {place} takes connections")
    place = f"{settings.host}:{settings.port}"
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        socket.create_server((settings.host, settings.port), family=family).close()
    except OSError as error:
        advice = "that may be claudeprov itself; another process needs another telemetry.port, or 0 for any"
        what = f"{place} cannot be listened at: {error.strerror or error}"
        return found("fault", what, advice, ConfigurationError(what))
    return found("ok", f"{place} is free for Prometheus to scrape")
