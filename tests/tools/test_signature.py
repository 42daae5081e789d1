from __future__ import annotations

import functools
import socket
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

import claudeprov
from claudeprov.errors import ConfigurationError
from claudeprov.tools.signature import from_function


class Unit(Enum):
    CELSIUS = "C"
    KELVIN = "K"


class Place(BaseModel):
    city: str
    country: str = "FR"


def properties(tool: claudeprov.Tool) -> dict[str, Any]:
    assert tool.input_schema is not None
    return tool.input_schema["properties"]


def test_a_typed_function_becomes_a_tool_by_its_signature_and_its_docstring() -> None:
    @claudeprov.tool
    async def weather(city: str, days: int = 1) -> str:
        """Tell the weather of a city.

        From today on.

        Args:
            city: Name of the city,
                in English.
            days: For how many days.

        Returns:
            Nobody cares.
        """
        return city * days

    assert weather.definition() == {
        "name": "weather",
        "description": "Tell the weather of a city.\n\nFrom today on.",
        "input_schema": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "Name of the city,\nin English."},
                "days": {"type": "integer", "default": 1, "description": "For how many days."},
            },
            "required": ["city"],
            "additionalProperties": False,
        },
    }
    assert weather.effects == {"read"}


@pytest.mark.parametrize(
    "docstring",
    [
        "Do it.\n\nArgs:\n    a (int): The first.\n",
        "Do it.\n\n:param a: The first.\n",
        "Do it.\n\nParameters\n----------\na : int\n    The first.\n",
    ],
)
def test_docstrings_of_any_style_are_understood(docstring: str) -> None:
    def do(a: int) -> None: ...

    do.__doc__ = docstring
    tool = claudeprov.tool(do)
    assert (tool.description, properties(tool)["a"]["description"]) == ("Do it.", "The first.")


def test_what_pydantic_takes_is_a_type_and_the_function_gets_what_pydantic_makes() -> None:
    got: dict[str, Any] = {}

    @claudeprov.tool
    def do(
        place: Place,
        unit: Unit,
        mode: Literal["fast", "slow"],
        tags: list[str] | None = None,
        many: Annotated[int, Field(ge=1, description="Its own.")] = 3,
        most: int = Field(9, le=9),
    ) -> None:
        """Do it."""
        got.update(locals())

    told = properties(do)
    assert told["mode"]["enum"] == ["fast", "slow"]
    assert told["many"] == {"type": "integer", "minimum": 1, "default": 3, "description": "Its own."}
    assert told["place"] == {"$ref": "#/$defs/Place"}
    assert do.parse is not None
    do(**do.parse({"place": {"city": "Ulm"}, "unit": "K", "mode": "fast"}))
    assert got.items() >= {"place": Place(city="Ulm"), "unit": Unit.KELVIN, "tags": None, "many": 3, "most": 9}.items()


def test_a_parameter_may_be_called_like_a_method_of_a_model_or_begin_with_an_underscore() -> None:
    @claudeprov.tool
    def do(copy: int, model_config: int, _x: int) -> None: ...

    assert list(properties(do)) == ["copy", "model_config", "_x"]
    assert do.parse is not None
    assert do.parse({"copy": 1, "model_config": "2", "_x": 3}) == {"copy": 1, "model_config": 2, "_x": 3}


def test_wrong_arguments_are_told_with_their_places_the_first_few_of_them() -> None:
    @claudeprov.tool
    def do(place: Place, ids: list[int]) -> None: ...

    assert do.parse is not None
    with pytest.raises(claudeprov.ToolError) as caught:
        do.parse({"place": {}, "ids": ["a"] * 9, "other": 1})
    assert str(caught.value).splitlines()[1:] == [
        "place.city: is missing",
        *(f"ids.{n}: Input should be a valid integer, unable to parse string as an integer" for n in range(4)),
        "and 6 more",
    ]


def test_a_strict_tool_closes_all_objects_in_its_schema() -> None:
    @claudeprov.tool(strict=True)
    def do(place: Place) -> None: ...

    assert do.input_schema is not None
    assert do.input_schema["$defs"]["Place"]["additionalProperties"] is False
    assert do.definition()["strict"] is True


def test_names_descriptions_effects_and_the_rest_can_be_given() -> None:
    @claudeprov.tool(
        name="other", description="Else.", effects=["write"], timeout=2, cache_control={"type": "ephemeral"}
    )
    def do() -> None:
        """Do it."""

    assert do.definition() == {
        "name": "other",
        "description": "Else.",
        "input_schema": {"type": "object", "properties": {}, "additionalProperties": False},
        "cache_control": {"type": "ephemeral"},
    }
    assert (do.effects, do.timeout) == ({"write"}, 2)


def test_a_tool_can_still_be_called_as_the_function_that_it_was() -> None:
    @claudeprov.tool
    def double(n: int) -> int:
        return 2 * n

    assert double(4) == double(n=4) == 8


def test_methods_and_callable_objects_are_functions_too() -> None:
    class Thing:
        def __call__(self, a: int) -> int:
            """Call it.

            Args:
                a: The first.
            """
            return a

        def method(self, a: int) -> int:
            """Do it."""
            return a

    assert claudeprov.tool(Thing()).description == "Call it."
    assert list(properties(claudeprov.tool(Thing().method))) == ["a"]


def test_a_partial_function_is_a_tool_whose_given_arguments_are_not_the_models_to_give() -> None:
    def add(a: int, b: int, c: int = 0) -> int:
        """Add."""
        return a + b + c

    by_place, by_name = claudeprov.tool(functools.partial(add, 1)), claudeprov.tool(functools.partial(add, b=2))
    assert (by_place.name, by_place.description, list(properties(by_place))) == ("add", "Add.", ["b", "c"])
    assert list(properties(by_name)) == ["a", "c"]
    assert by_place.parse is not None
    assert by_name.parse is not None
    assert (by_place(**by_place.parse({"b": 2})), by_name(**by_name.parse({"a": 5}))) == (3, 7)


def test_a_partial_function_of_a_partial_one_is_one_too() -> None:
    def add(a: int, b: int, c: int) -> int:
        return a + b + c

    assert list(properties(claudeprov.tool(functools.partial(functools.partial(add, b=1), 1)))) == ["c"]


def test_bound_arguments_are_not_the_models_to_give() -> None:
    def do(a: int, root: str) -> str:
        return f"{root}{a}"

    tool = from_function(do, bound={"root": "/"})
    assert list(properties(tool)) == ["a"]
    assert tool.bound == {"root": "/"}


def untyped(x): ...
def spread(*x: int) -> None: ...
def by_place(x: int, /) -> None: ...
def unknown(x: Nothing) -> None: ...  # type: ignore[name-defined]  # noqa: F821
def no_json(x: socket.socket) -> None: ...
def kinds(x: type) -> None: ...
def ahead(x: Annotated[str, Field(pattern="(?=a)b")]) -> None: ...
def default(x: Any = socket) -> None: ...
def wrong_default(x: int = "three", *, y: str) -> None: ...  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (untyped, "the tool 'untyped': its parameter x has no type"),
        (spread, "the tool 'spread': its parameter x cannot be given by name"),
        (by_place, "its parameter x cannot be given by name"),
        (unknown, "its types cannot be read: name 'Nothing' is not defined"),
        (no_json, "its types cannot be read: Unable to generate pydantic-core schema"),
        (kinds, "its arguments have no JSON Schema"),
        (ahead, "the tool 'ahead': its types cannot be read: error: look-around"),
        (default, "its arguments have no JSON Schema: Default value <module"),
        (wrong_default, "the default of its parameter x does not fit its type: Input should be a valid integer"),
        (Place, "the tool 'Place': is a class; give a function, or an object of it"),
        (3, "the tool 'int': cannot be called"),
        (lambda: None, "a tool's name is 1 to 64 letters, digits, _ and -"),
    ],
)
def test_a_function_that_cannot_become_a_tool_is_refused_with_the_reason(function: Any, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        claudeprov.tool(function)
    assert said in caught.value.message
