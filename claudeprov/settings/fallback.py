"""Where calls go that the first choice does not serve."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import field_validator, model_validator

from claudeprov.catalog import catalog
from claudeprov.errors import CODES
from claudeprov.settings.endpoint import EndpointSettings
from claudeprov.settings.kind import Group, Name, one_of


class Candidate(Group):
    """A model, an endpoint, or both; what is left out stays as the call has it. A plain name is that of a model."""

    model: Name | None = None
    """Name of a model of the catalogue; at an endpoint of kind ``compatible`` any."""
    endpoint: EndpointSettings | None = None
    """The keys of the group ``endpoint``; a plain name is its ``kind``."""

    @model_validator(mode="before")
    @classmethod
    def _plain_model(cls, value: Any) -> Any:
        return {"model": value} if isinstance(value, str) else value

    @field_validator("endpoint", mode="before")
    @classmethod
    def _plain_endpoint(cls, value: Any) -> Any:
        return {"kind": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _leads_somewhere(self) -> Self:
        if self.model is None and self.endpoint is None:
            raise ValueError("must name a model, an endpoint, or both")
        if self.model is not None and not (self.endpoint and self.endpoint.kind == "compatible"):
            catalog().find(self.model)
        if self.endpoint is not None and self.endpoint.kind == "compatible" and self.endpoint.base_url is None:
            raise ValueError(
                "endpoint compatible needs a base_url, such as {kind: compatible, base_url: 'http://127.0.0.1:8085'}"
            )
        return self

    @property
    def model_id(self) -> str | None:
        """The model's id, by whichever of its names it is given."""
        known = catalog().get(self.model or "")
        return known.id if known else self.model


class FallbackSettings(Group):
    """Which models or endpoints stand in, and for what."""

    to: tuple[Candidate, ...]
    """What to try, in order."""
    reasons: tuple[Annotated[str, one_of(("refusal", *CODES))], ...] = ("circuit_open", "overloaded", "refusal")
    """Codes of the errors to try the next one for; ``refusal``: the model refused before any output."""

    @field_validator("to")
    @classmethod
    def _some_and_each_once(cls, to: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        if not to:
            raise ValueError("must name at least one model or endpoint, such as [haiku] or [{endpoint: bedrock}]")
        places = [(candidate.model_id, candidate.endpoint) for candidate in to]
        for candidate, place in zip(to, places, strict=True):
            if places.count(place) > 1:
                raise ValueError(f"{candidate.model or 'an endpoint'} is there twice")
        return to

    @field_validator("reasons")
    @classmethod
    def _some(cls, reasons: tuple[str, ...]) -> tuple[str, ...]:
        if not reasons:
            raise ValueError("must name at least one, such as [overloaded]; fallback=off turns it off")
        return reasons

    def leads_away(self, model: str, endpoint: EndpointSettings) -> bool:
        """Whether it names anything but *model*, an id, at *endpoint*."""
        return any(
            candidate.model_id not in (None, model) or candidate.endpoint not in (None, endpoint)
            for candidate in self.to
        )
