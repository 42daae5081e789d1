"""The places that spans and metrics go to."""

from __future__ import annotations

import asyncio
import os
import socket
from functools import partial
from urllib.parse import urlsplit

from claudeprov.doctor.check import Check
from claudeprov.settings.telemetry import TelemetrySettings

_COLLECTOR = "http://localhost:4318"


async def telemetry(settings: TelemetrySettings | None) -> Check:
    """Whether the OTLP collector takes connections, or the port that Prometheus is to scrape is free.

    A fault of these touches no call, and is a warning.
    """
    exporter = settings.exporter if settings else "none"
    found = partial(Check, "telemetry", details={"exporter": exporter})
    if settings is None or exporter in ("none", "console"):
        return found("skipped", f"telemetry.exporter={exporter} needs nobody else" if settings else "telemetry=off")
    if exporter == "otlp":
        url = settings.endpoint or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or _COLLECTOR
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        place = f"{parts.hostname}:{port}"
        try:
            _, writer = await asyncio.open_connection(parts.hostname, port)
        except OSError as error:
            what = f"no collector at {place}: {error.strerror or error}; nothing of calls is exported"
            return found("warning", what, "look at telemetry.endpoint, and whether the collector runs")
        writer.transport.abort()
        return found("ok", f"the collector at {place} takes connections")
    place = f"{settings.host}:{settings.port}"
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        socket.create_server((settings.host, settings.port), family=family).close()
    except OSError as error:
        advice = "that may be claudeprov itself; another process needs another telemetry.port, or 0 for any"
        return found("warning", f"{place} cannot be listened at: {error.strerror or error}", advice)
    return found("ok", f"{place} is free for Prometheus to scrape")
