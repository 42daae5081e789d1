"""The shape that an answer is to have: its JSON Schema, and answers held to it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import jiter
from pydantic import PydanticUndefinedAnnotation, PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import SchemaError, to_json

from claudeprov.errors import InvalidRequestError
from claudeprov.strict import refuse, strict
from claudeprov.tools.schema import faults_in, misfits_of

if TYPE_CHECKING:
    from typing_extensions import TypeForm

T = TypeVar("T")

_WRAP = "value"
"""Name under which an answer stands that is no object by itself."""
_DEFINITIONS = ("$defs", "definitions")
_FENCED = re.compile(r"```(?:json)?[ \t]*\n(.*?)(?:\n[ \t]*```|\Z)", re.DOTALL)


class MisfitError(ValueError):
    """An answer that has not its shape.

    Args:
        problems: Where it does not fit, and why, in words that the model can act on.
    """

    def __init__(self, problems: Iterable[tuple[Iterable[str | int], str]]) -> None:
        self.problems = [f"{at}: {what}" if (at := ".".join(map(str, path))) else what for path, what in problems]
        super().__init__("; ".join(self.problems))


class Shape(Generic[T]):
    """What an answer is to be.

    Args:
        output: A type that pydantic takes, a ``TypeAdapter``, or a JSON Schema, whose answers stay plain JSON values.

    Raises:
        InvalidRequestError: It has no JSON Schema, or is none.
    """

    def __init__(self, output: TypeForm[T] | TypeAdapter[T] | Mapping[str, Any]) -> None:
        self._adapter: TypeAdapter[T] | None = None
        schema: Mapping[str, Any]
        if isinstance(output, Mapping):
            schema = output
        else:
            try:
                self._adapter = output if isinstance(output, TypeAdapter) else TypeAdapter(output)
                schema = self._adapter.json_schema()
            except (PydanticUserError, PydanticUndefinedAnnotation, SchemaError) as error:
                what = str(error).splitlines()[-1 if isinstance(error, SchemaError) else 0].strip()
                raise InvalidRequestError(f"output: {what}", context={"output": repr(output)}) from error
        self._path = () if schema.get("type") == "object" else (_WRAP,)
        self.schema: Mapping[str, Any] = _wrapped(schema) if self._path else schema
        """JSON Schema of an object, for that is what the API takes."""
        if self._adapter is None:
            refuse(faults_in(self.schema))

    @cached_property
    def strict(self) -> Mapping[str, Any]:
        """The schema as the API takes it where it keeps the model to it.

        Raises:
            InvalidRequestError: It cannot be said so.
        """
        return strict(self.schema)

    def parse(self, text: str) -> T:
        """Return the answer that *text* is, by itself or between fences.

        Raises:
            MisfitError: It is no JSON, or has not the shape.
        """
        written = _json_in(text)
        try:
            value = self._unwrapped(jiter.from_json(written))
        except ValueError as error:
            raise MisfitError([((), f"it is no JSON: {error}" if written.strip() else "it is empty")]) from error
        if self._adapter is None:
            if misfits := misfits_of(self.schema)({_WRAP: value} if self._path else value):
                raise MisfitError(misfits)
            return cast(T, value)
        try:
            return self._adapter.validate_json(to_json(value, inf_nan_mode="constants"))
        except ValidationError as error:
            raise MisfitError(((*self._path, *each["loc"]), each["msg"]) for each in error.errors()) from error

    def draft(self, text: str) -> Any:
        """Return the JSON value that *text* is the beginning of, or ``None`` if it is none yet.

        What comes last in it may be cut.
        """
        try:
            value = self._unwrapped(jiter.from_json(_json_in(text), partial_mode="trailing-strings"))
        except ValueError:
            return None
        return None if self._path and value == {} else value

    def _unwrapped(self, value: Any) -> Any:
        is_wrapped = self._path and isinstance(value, dict) and value.keys() == {_WRAP}
        return value[_WRAP] if is_wrapped else value


def _wrapped(schema: Mapping[str, Any]) -> dict[str, Any]:
    inner = {name: value for name, value in schema.items() if name not in _DEFINITIONS}
    definitions = {name: value for name, value in schema.items() if name in _DEFINITIONS}
    return {
        "type": "object",
        "properties": {_WRAP: inner},
        "required": [_WRAP],
        "additionalProperties": False,
        **definitions,
    }


def _json_in(text: str) -> bytes:
    fenced = _FENCED.search(text)
    return (fenced[1] if fenced else text).encode("utf-8", "replace")
