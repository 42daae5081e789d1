"""How much is sent a minute."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import field_validator

from claudeprov.catalog import catalog
from claudeprov.settings.kind import Count, Duration, Group


class BucketSettings(Group):
    """The limits of one rate-limit bucket, a minute; ``null``: whatever the service's answers say."""

    requests: Count | None = None
    """Attempts."""
    input_tokens: Count | None = None
    """Tokens of prompts, those read from a cache left out."""
    output_tokens: Count | None = None
    """Tokens of answers, thinking included."""


class RateLimitSettings(BucketSettings):
    """What each rate-limit bucket of models may take a minute, as the service's tiers have it."""

    burst: Duration = 10.0
    """Seconds' worth of a limit that may be taken at once."""
    buckets: Mapping[str, BucketSettings] = {}
    """Buckets with limits of their own in place of these, by ``rate_limit_bucket`` of their models, or else id."""

    @field_validator("buckets")
    @classmethod
    def _of_the_catalogue(cls, buckets: Mapping[str, BucketSettings]) -> Mapping[str, BucketSettings]:
        known = sorted({model.rate_limit_bucket or model.id for model in catalog()}) if buckets else ()
        for name in buckets:
            if name not in known:
                raise ValueError(f"no model has the rate-limit bucket {name!r}; there are {', '.join(known)}")
        return buckets
