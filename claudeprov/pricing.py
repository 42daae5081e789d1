"""Price lists: the files of ``conf/pricing``, one for each model, with their past."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, model_validator

from claudeprov.catalog import catalog, read_yaml
from claudeprov.paths import conf_dir

Price = Annotated[Decimal, Field(ge=0, allow_inf_nan=False)]
"""USD per million tokens, unless its field says otherwise."""


class Rates(BaseModel):
    """Five explicit prices; ``None`` is unknown. None is derived from another: the usual ratios have exceptions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: Price | None = None
    output: Price | None = None
    cache_write_5m: Price | None = None
    cache_write_1h: Price | None = None
    cache_read: Price | None = None


class Fast(Rates):
    """Prices of fast mode; ``beta_header`` is what a request needs for it."""

    status: Literal["available", "preview", "deprecated"]
    beta_header: str | None = None


class Tier(Rates):
    """Prices of a request whose prompt has more than ``above`` tokens, its output included."""

    above: NonNegativeInt


class PastPrices(Rates):
    """What was different from ``since`` until the day before ``until`` (UTC); what is left out was the same."""

    since: date
    until: date
    fast: Fast | None = None
    tiers: tuple[Tier, ...] = ()

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.since >= self.until:
            raise ValueError(f"since {self.since} must be before until {self.until}")
        return self


class Prices(Rates):
    """A price list: today's prices, what multiplies them, and what was different before."""

    batch_multiplier: Price | None = None
    """``None``: the model has no batch prices."""
    us_multiplier: Price | None = None
    """For ``inference_geo: us``; ``None``: the model takes no such parameter."""
    web_search_per_1000: Price | None = None
    """USD per 1,000 searches, whatever the multipliers."""
    fast: Fast | None = None
    tiers: tuple[Tier, ...] = ()
    history: tuple[PastPrices, ...] = ()
    reason: str | None = None
    """Why prices are unknown, where they are."""

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if any(low.above >= high.above for low, high in zip(self.tiers, self.tiers[1:], strict=False)):
            raise ValueError("tiers must have ascending thresholds")
        return self

    def on(self, day: date) -> Prices:
        """Return the prices as of *day* (UTC)."""
        prices = self
        for past in self.history:
            if past.since <= day < past.until:
                then = {name: getattr(past, name) for name in past.model_fields_set - {"since", "until"}}
                prices = prices.model_copy(update=then)
        return prices


@lru_cache(maxsize=256)
def list_prices(model: str) -> Prices:
    """Return the price list of a model: one that knows no price, and says so, where the catalogue lacks the model."""
    known = catalog().get(model)
    if known is None:
        return Prices(reason="not in the catalogue")
    file = conf_dir() / "pricing" / f"{catalog().price_list(known)}.yaml"
    return Prices.model_validate(read_yaml(file))
