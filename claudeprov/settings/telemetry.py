"""What is told of calls."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from claudeprov.settings.kind import Count, Group, Name


class TelemetrySettings(Group):
    """What is told of each call: events of structlog, spans and metrics of OpenTelemetry."""

    log: Literal["host", "console", "json"] = "host"
    """Where events go. ``host``: to the application's structlog, through logger ``claudeprov``. ``console``, ``json``:
    to standard error, as readable lines or a JSON object a line."""
    exporter: Literal["none", "console", "otlp", "prometheus"] = "none"
    """Where spans and metrics go. ``none``: to the providers that the application has set up, if any. ``console``: to
    standard error. ``otlp``: to a collector. ``prometheus``: metrics to whoever scrapes, spans as for ``none``."""
    endpoint: str | None = None
    """The OTLP collector's URL; ``null``: that of ``OTEL_EXPORTER_OTLP_ENDPOINT``. Its headers come from
    ``OTEL_EXPORTER_OTLP_HEADERS``."""
    host: Name = "127.0.0.1"
    """The address at which Prometheus scrapes."""
    port: Annotated[int, Field(strict=True, ge=0, le=65535)] = 9464
    """Its port; 0: any that is free."""
    content: bool = False
    """Whether prompts, answers, and what tools get and return are told too, without what looks like a secret."""
    content_limit: Count = 1000
    """Characters that are told of each."""
    propagate: bool = False
    """Whether requests carry the trace's context in their headers."""
    per_chunk: bool = False
    """Whether the time between chunks is measured too, which costs something for each."""

    @field_validator("endpoint")
    @classmethod
    def _plain_url(cls, url: str | None) -> str | None:
        if url is not None:
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError("must be a URL that begins with http:// or https://")
            if parts.username is not None or parts.query:
                raise ValueError("must not hold credentials; they come from OTEL_EXPORTER_OTLP_HEADERS")
        return url
