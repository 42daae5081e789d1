"""An answer is held to its shape; where it does not fit, it is said where and why."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, TypeAdapter, field_validator

from claudeprov.errors import InvalidRequestError
from claudeprov.shape import MisfitError, Shape


class Person(BaseModel):
    name: str
    age: int = Field(ge=0, le=150)
    born: date | None = None

    @field_validator("name")
    @classmethod
    def _has_two_words(cls, name: str) -> str:
        if " " not in name:
            raise ValueError("give the family name, too")
        return name


ADA = '{"name": "Ada Lovelace", "age": 36, "born": "1815-12-10"}'
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}, "required": ["n"]}


class TestAnAnswer:
    def test_becomes_an_object_of_the_model(self):
        assert Shape(Person).parse(ADA) == Person(name="Ada Lovelace", age=36, born=date(1815, 12, 10))

    @pytest.mark.parametrize(
        ("output", "text", "value"),
        [
            (list[Person], f'{{"value": [{ADA}]}}', [Person(name="Ada Lovelace", age=36, born=date(1815, 12, 10))]),
            (Literal["yes", "no"], '{"value": "yes"}', "yes"),
            (TypeAdapter(dict[str, Decimal]), '{"a": 0.1}', {"a": Decimal("0.1")}),
            (int | None, '{"value": null}', None),
            (tuple[int, str], '{"value": [1, "a"]}', (1, "a")),
            (SCHEMA, '{"n": 1}', {"n": 1}),
            ({"type": "array", "items": {"type": "integer"}}, '{"value": [1]}', [1]),
            ({"$ref": "#/$defs/n", "$defs": {"n": {"type": "integer"}}}, '{"value": 1}', 1),
        ],
        ids=repr,
    )
    def test_becomes_what_was_asked_for_whatever_that_is(self, output, text, value):
        assert Shape(output).parse(text) == value

    def test_may_stand_bare_though_it_was_to_be_wrapped(self):
        assert Shape(list[int]).parse("[1, 2]") == [1, 2]

    @pytest.mark.parametrize("text", [f"```json\n{ADA}\n```", f"Here it is:\n```\n{ADA}\n```\nAnything else?", ADA])
    def test_may_stand_between_fences(self, text):
        assert Shape(Person).parse(text).name == "Ada Lovelace"

    def test_may_hold_fences_itself(self):
        assert Shape(dict[str, str]).parse('{"code": "```python\\nx\\n```"}') == {"code": "```python\nx\n```"}

    @pytest.mark.parametrize(
        ("output", "text", "problems"),
        [
            (Person, '{"age": 200}', ["name: Field required", "age: Input should be less than or equal to 150"]),
            (Person, '{"name": "Ada", "age": 1}', ["name: Value error, give the family name, too"]),
            (
                list[Person],
                '{"value": [{"name": "A B", "age": -1}]}',
                ["value.0.age: Input should be greater than or equal to 0"],
            ),
            (Person, "", ["it is empty"]),
            (Person, "Sure!", ["it is no JSON: expected value at line 1 column 1"]),
            (Person, ADA[:-1], ["it is no JSON: EOF while parsing an object at line 1 column 56"]),
            (SCHEMA, '{"n": 0}', ["n: 0 is less than the minimum of 1"]),
            ({"type": "array", "maxItems": 1}, '{"value": [1, 2]}', ["value: [1, 2] is too long"]),
        ],
    )
    def test_that_does_not_fit_is_told_where_and_why(self, output, text, problems):
        with pytest.raises(MisfitError) as caught:
            Shape(output).parse(text)
        assert caught.value.problems == problems

    @pytest.mark.parametrize("text", ['{"x": 1e400}', '{"x": "\ud800"}', "[" * 5000])
    def test_of_odd_json_fits_or_does_not_but_breaks_nothing(self, text):
        with pytest.raises(MisfitError):
            Shape(Person).parse(text)


class TestADraft:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("", None),
            ("Sure", None),
            ("{", {}),
            ('{"name": "Ada Lo', {"name": "Ada Lo"}),
            ('{"name": "Ada Lovelace", "ag', {"name": "Ada Lovelace"}),
            ('{"name": "Ada Lovelace", "age": 3', {"name": "Ada Lovelace", "age": 3}),
            ('```json\n{"name": "A', {"name": "A"}),
        ],
    )
    def test_is_the_answer_as_far_as_it_has_come(self, text, value):
        assert Shape(Person).draft(text) == value

    @pytest.mark.parametrize(
        ("text", "value"), [("{", None), ('{"value": [', []), ('{"value": [1, 2', [1, 2]), ("[1", [1])]
    )
    def test_of_what_is_no_object_is_that_itself(self, text, value):
        assert Shape(list[int]).draft(text) == value


class TestItsSchema:
    def test_of_an_object_is_its_own(self):
        assert Shape(Person).schema == Person.model_json_schema()

    def test_of_anything_else_is_that_of_an_object_around_it(self):
        schema = Shape(list[Person]).schema
        assert schema["properties"] == {"value": {"type": "array", "items": {"$ref": "#/$defs/Person"}}}
        assert (schema["required"], list(schema["$defs"])) == (["value"], ["Person"])

    @pytest.mark.parametrize(
        "output",
        [
            Callable,
            object(),
            True,
            TypeAdapter("Unknown"),
            Annotated[str, Field(pattern="a(?=b)")],
            {"type": "objekt"},
            {"type": "object", "properties": {"a": {"$ref": "#/$defs/b"}}},
        ],
        ids=repr,
    )
    def test_that_there_is_none_of_is_refused(self, output: Any):
        with pytest.raises(InvalidRequestError, match=r"^output: "):
            Shape(output)
