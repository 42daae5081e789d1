"""What a group of settings is, and what its values may be."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticKnownError

from claudeprov.errors import CODES

# Strict, since pydantic otherwise takes `true` for 1 and "3" for 3; a float still takes an integer.
Seconds = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
Duration = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(strict=True, ge=1)]
Name = Annotated[str, Field(min_length=1)]


def _listed(code: str) -> str:
    if code not in CODES:
        raise PydanticKnownError("literal_error", {"expected": ", ".join(map(repr, CODES))})
    return code


Code = Annotated[str, AfterValidator(_listed)]
"""A code of an error; it is told like a value of a ``Literal``, with all that there are."""


class Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, coerce_numbers_to_str=True)
