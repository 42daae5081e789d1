"""What a group of settings is, and what its values may be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticKnownError

from claudeprov.errors import CODES

_YEAR = 366 * 24 * 3600
"""Longest time in seconds: a date can be made of it."""

# Strict, since pydantic otherwise takes `true` for 1 and "3" for 3; a float still takes an integer.
Seconds = Annotated[float, Field(strict=True, ge=0, le=_YEAR, allow_inf_nan=False)]
Duration = Annotated[float, Field(strict=True, gt=0, le=_YEAR, allow_inf_nan=False)]
Count = Annotated[int, Field(strict=True, ge=1, le=10**12)]
Name = Annotated[str, Field(min_length=1)]


def one_of(names: Sequence[str]) -> AfterValidator:
    """Allow *names* only; another is told like a wrong value of a ``Literal``, with all that there are."""

    def check(name: str) -> str:
        if name not in names:
            raise PydanticKnownError("literal_error", {"expected": ", ".join(map(repr, names))})
        return name

    return AfterValidator(check)


Code = Annotated[str, one_of(CODES)]
"""A code of an error."""


class Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, coerce_numbers_to_str=True)
