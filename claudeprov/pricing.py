"""Price lists: the files of ``conf/pricing``, one for each model, with their past."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from claudeprov.catalog import Model, catalog, read_yaml
from claudeprov.errors import ConfigurationError
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


class OwnPrices(Rates):
    """What replaces a model's list prices; ``None`` leaves them."""

    batch_multiplier: Price | None = None
    us_multiplier: Price | None = None
    web_search_per_1000: Price | None = None
    fast: Fast | None = None
    tiers: tuple[Tier, ...] | None = None
    multiplier: Price | None = None


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
    multiplier: Price = Decimal(1)
    """On all token prices: a discount that was agreed on, or what a marketplace or a regional endpoint adds."""
    models: dict[str, OwnPrices] = Field(default_factory=dict)
    """By id or alias: what replaces a model's prices. A name that the catalogue lacks is that of a model of a
    ``compatible`` endpoint."""
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


def check_names(prices: Prices) -> None:
    """Check that the catalogue has every one of ``prices.models``.

    Raises:
        ValidationError: It lacks some; the nearest names are told of each.
    """
    unknown: list[InitErrorDetails] = []
    for name, own in prices.models.items():
        try:
            catalog().find(name)
        except ConfigurationError as error:
            problem = PydanticCustomError("unknown_model", "{text}", {"text": error.message})
            unknown.append({"type": problem, "loc": ("models", name), "input": own})
    if unknown:
        raise ValidationError.from_exception_data("Prices", unknown)


@lru_cache(maxsize=256)
def list_prices(model: str) -> Prices:
    """Return the price list of a model: one that knows no price, and says so, where the catalogue lacks the model."""
    known = catalog().get(model)
    if known is None:
        return Prices(reason="not in the catalogue")
    file = conf_dir() / "pricing" / f"{catalog().price_list(known)}.yaml"
    return Prices.model_validate(read_yaml(file))


class PriceBook:
    """The prices of every model: the catalogue's, and what a configuration says in their place.

    Args:
        own: The prices of *model*; its ``multiplier`` holds for the others too, its ``models`` for those that it
            names. Without it all are the catalogue's.
        model: The configured model.
    """

    def __init__(self, own: Prices | None = None, model: Model | None = None) -> None:
        self._own = own
        self._model = model
        self._given = {_id(name): prices for name, prices in own.models.items()} if own else {}

    def of(self, model: str) -> Prices:
        """Return the prices of a model, by id or alias: unknown ones, with the reason, where there are none."""
        name = _id(model)
        if self._own is None:
            return list_prices(name)
        prices = self._own
        if not self._is_own(model, name):
            prices = list_prices(name).model_copy(update={"multiplier": self._own.multiplier})
        if given := self._given.get(name):
            prices = prices.model_copy(update={field: value for field, value in given if value is not None})
        return prices

    def _is_own(self, model: str, name: str) -> bool:
        own = self._model
        if own is None:
            return False
        # A local server calls its model what it likes; any other name that is not known is another model's.
        unknown = name not in catalog() and name not in self._given
        return name == own.id or model in own.aliases or (unknown and own.lifecycle.status == "local")


def _id(model: str) -> str:
    known = catalog().get(model)
    return known.id if known else model
