"""Where layers keep what calls share."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator

from claudeprov.settings.kind import Duration, Group


class StateSettings(Group):
    """Where layers keep what calls share: breakers, rate limits and budgets."""

    kind: Literal["memory", "redis"] = "memory"
    """``memory``: in this process. ``redis``: with all processes that name the same ``namespace`` of one server."""
    url: Annotated[str | None, Field(validate_default=True)] = None
    """The Redis server: ``redis://``, ``rediss://`` (TLS) or ``unix://``; credentials come from the environment."""
    namespace: Annotated[str, Field(pattern=r"^[\w.-]+$")] = "claudeprov"
    """What the names of all its keys begin with."""
    when_away: Literal["closed", "open"] = "closed"
    """While Redis is away: ``closed`` refuses calls, ``open`` lets each process keep to the limits by itself."""
    timeout: Duration = 1.0
    """Seconds that Redis may take to accept a connection, and to answer."""

    @field_validator("url")
    @classmethod
    def _plain_url(cls, url: str | None, info: ValidationInfo) -> str | None:
        if url is None:
            if info.data.get("kind") == "redis":
                raise ValueError(f"is missing: state=redis needs {_URLS}")
            return None
        parts = urlsplit(url)
        if parts.username is not None or parts.password is not None:
            raise ValueError("must not hold credentials; they come from REDIS_USERNAME and REDIS_PASSWORD")
        at_host = parts.scheme in ("redis", "rediss") and parts.hostname and re.fullmatch(r"(/\d*)?", parts.path)
        at_path = parts.scheme == "unix" and not parts.netloc and parts.path
        if not (at_host or at_path) or parts.query or parts.fragment or not _has_port_in_range(url):
            raise ValueError(f"must be {_URLS}")
        return url


_URLS = "redis://HOST:PORT/DATABASE, rediss://HOST:PORT/DATABASE or unix:///PATH"


def _has_port_in_range(url: str) -> bool:
    try:
        return urlsplit(url).port != 0
    except ValueError:
        return False
