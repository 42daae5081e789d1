"""The service that answers."""

from __future__ import annotations

from typing import Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import field_validator

from claudeprov.settings.kind import Group, Name


class EndpointSettings(Group):
    """Which service answers."""

    kind: Literal["anthropic", "bedrock", "vertex", "foundry", "compatible"]
    """Which client of the SDK speaks to it."""
    base_url: str | None = None
    """Where it is, without the path of the API; ``null``: the SDK's default."""
    region: Name | None = None
    """Region of Bedrock or Vertex; ``null``: the platform's own configuration."""
    project_id: Name | None = None
    """Google Cloud project of Vertex; ``null``: the platform's own configuration."""
    resource: Name | None = None
    """Name of the Foundry resource; ``null``: the environment's."""

    @field_validator("base_url")
    @classmethod
    def _plain_url(cls, url: str | None) -> str | None:
        if url is not None:
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError("must be a URL that begins with http:// or https://")
            if not _has_usable_port(parts):
                raise ValueError("must have a port from 1 to 65535, or none")
            if parts.username is not None:
                raise ValueError("must not hold credentials; they come from the environment")
            if parts.query or parts.fragment:
                raise ValueError("must not hold a query or a fragment: the path of the API comes after it")
        return url


def _has_usable_port(parts: SplitResult) -> bool:
    try:
        return parts.port != 0
    except ValueError:
        return False
