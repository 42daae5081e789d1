"""What is done to requests: parameters that they get, and checks before they are sent."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from claudeprov.catalog import EffortLevel
from claudeprov.settings.kind import Count, Group


class SamplingSettings(Group):
    """Sampling parameters to send; ``null`` is not sent."""

    temperature: Annotated[float, Field(strict=True, ge=0, le=2)] | None = None
    """Randomness of the choice of tokens."""
    top_p: Annotated[float, Field(strict=True, ge=0, le=1)] | None = None
    """Share of probability that tokens are chosen from."""
    top_k: Count | None = None
    """Number of tokens that the next one is chosen from."""


class ThinkingSettings(Group):
    """The ``thinking`` and ``output_config.effort`` parameters to send; ``null`` is not sent."""

    type: Literal["adaptive", "between_tools", "enabled", "disabled"] | None = None
    """Way of thinking; which ones a model takes is in its file."""
    budget_tokens: Annotated[int, Field(strict=True, ge=1024)] | None = None
    """Tokens to think with; goes with the type ``enabled``."""
    effort: EffortLevel | None = None
    """How much work the model puts into an answer."""

    @model_validator(mode="after")
    def _budget_goes_with_enabled(self) -> Self:
        if (self.type == "enabled") != (self.budget_tokens is not None):
            raise ValueError("type enabled needs budget_tokens, and budget_tokens needs type enabled")
        return self


class PreflightSettings(Group):
    """What is done with a request that its model is known to refuse."""

    mode: Literal["error", "adapt", "send"] = "error"
    """``error``: it is refused; ``adapt``: it is changed, with a warning; ``send``: it goes as it is."""


class CachingSettings(Group):
    """Breakpoints of the prompt cache to put into requests."""

    ttl: Literal["5m", "1h"] = "5m"
    """How long what a request writes to the cache is kept from its last use on; an hour costs more to write."""
