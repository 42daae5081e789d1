"""Where a call goes: the endpoint and the group of models whose limits, and whose troubles, its calls share."""

from __future__ import annotations

from urllib.parse import urlsplit

from claudeprov.catalog import catalog
from claudeprov.settings.endpoint import EndpointSettings


def route_of(endpoint: EndpointSettings, model: str | None) -> str:
    """Name the route of a request, such as ``anthropic/opus-4-5-to-4-8``.

    Args:
        endpoint: Which service answers.
        model: An id or alias. Models of one rate-limit bucket are one group; any other is a group of its own.
    """
    service: str = endpoint.kind
    if endpoint.base_url:
        service += f"@{urlsplit(endpoint.base_url).netloc}"
    return f"{service}/{group_of(model)}"


def group_of(model: str | None) -> str | None:
    """Name the group of models that *model*, an id or alias, is limited with; one that is not known is its own."""
    known = catalog().get(model or "")
    return (known and (known.rate_limit_bucket or known.id)) or model
