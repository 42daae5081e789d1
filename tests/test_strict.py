"""A schema becomes what the API takes where it keeps a model to it; what cannot be said so is refused with its path."""

from __future__ import annotations

import json
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from claudeprov.errors import InvalidRequestError
from claudeprov.shape import Shape
from claudeprov.strict import strict
from claudeprov.tools.schema import strict_faults
from tests.test_corpus import CORPUS, FILES, REQUIRED, yaml


class Colour(Enum):
    RED = "red"


class Square(BaseModel):
    kind: Literal["square"]
    side: float = Field(gt=0, description="In metres.")


class Circle(BaseModel):
    kind: Literal["circle"]


class Tree(BaseModel):
    children: list[Tree]


class Drawing(BaseModel):
    """What was drawn."""

    model_config = ConfigDict(extra="allow")

    shape: Annotated[Square | Circle, Field(discriminator="kind")]
    frame: Square = Field(description="The frame around it.")
    size: tuple[int, str]
    tags: list[str] = Field(min_length=1, max_length=3)
    colours: list[Colour] = Field(default=[], min_length=2)
    price: Decimal | None = None


def made(output: Any) -> dict[str, Any]:
    return strict(TypeAdapter(output).json_schema())


class TestAModel:
    drawing = made(Drawing)

    def test_has_nothing_left_that_the_api_refuses(self):
        assert list(strict_faults(self.drawing)) == []
        written = json.dumps(self.drawing)
        assert not {word for word in ("title", "oneOf", "discriminator", "prefixItems") if f'"{word}"' in written}

    def test_is_closed_at_every_depth(self):
        assert self.drawing["additionalProperties"] is False
        assert [part["additionalProperties"] for part in self.drawing["$defs"].values() if "properties" in part] == [
            False,
            False,
        ]

    def test_keeps_its_descriptions_and_what_is_required(self):
        assert self.drawing["description"] == "What was drawn."
        assert self.drawing["required"] == ["shape", "frame", "size", "tags"]

    def test_has_its_limits_told_in_descriptions(self):
        parts = self.drawing["properties"]
        assert self.drawing["$defs"]["Square"]["properties"]["side"] == {
            "type": "number",
            "description": "In metres. (exclusiveMinimum: 0)",
        }
        assert parts["tags"]["description"] == "maxItems: 3"
        assert parts["tags"]["minItems"] == 1
        assert parts["colours"]["description"] == "minItems: 2"

    def test_has_one_of_said_as_any_of(self):
        shape = self.drawing["properties"]["shape"]
        assert shape == {"anyOf": [{"$ref": "#/$defs/Square"}, {"$ref": "#/$defs/Circle"}]}

    def test_has_a_place_for_what_stands_beside_a_reference(self):
        frame = self.drawing["properties"]["frame"]
        assert frame["description"] == "The frame around it."
        assert frame["properties"]["side"]["description"] == "In metres. (exclusiveMinimum: 0)"
        assert "$ref" not in frame

    def test_has_a_tuple_said_as_a_list_of_either(self):
        assert self.drawing["properties"]["size"] == {
            "type": "array",
            "items": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
            "description": "maxItems: 2; minItems: 2",
        }


def test_a_reference_to_a_reference_leads_to_what_that_means():
    schema = {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"type": "integer"}}, "type": "array"}
    made = strict(schema | {"items": {"$ref": "#/$defs/a", "description": "A count."}})
    assert made["items"] == {"type": "integer", "description": "A count."}


def test_each_format_that_the_api_knows_is_kept_and_others_are_told():
    assert strict({"type": "string", "format": "date-time"}) == {"type": "string", "format": "date-time"}
    assert strict({"type": "string", "format": "binary"}) == {"type": "string", "description": 'format: "binary"'}


def test_literals_are_kept_unless_they_are_no_plain_values():
    assert strict({"enum": ["a", 1, None, True]}) == {"enum": ["a", 1, None, True]}
    assert strict({"type": "array", "items": {"type": "string"}, "enum": [["a"]]})["description"] == 'enum: [["a"]]'


def test_what_is_adapted_already_stays_as_it_is():
    once = made(Drawing)
    assert strict(once) == once


@pytest.mark.parametrize(
    ("output", "path", "why"),
    [
        (Tree, "$defs.Tree.properties.children.items.$ref", "holds itself"),
        (dict[str, int], "", "names of any kind"),
        (list[dict[str, int]], "items", "names of any kind"),
        (list, "items", "name a type"),
        (Any, "", "name a type"),
        (Literal["a"] | list[Any], "anyOf.1.items", "name a type"),
    ],
)
def test_what_cannot_be_said_is_refused_with_its_path(output, path, why):
    with pytest.raises(InvalidRequestError, match=why) as caught:
        made(output)
    assert ".".join(map(str, caught.value.context["path"])) == path
    assert path in caught.value.message


def test_a_part_that_is_no_schema_but_true_is_refused_with_its_path():
    with pytest.raises(InvalidRequestError, match=r"properties\.x: leaves open"):
        strict({"type": "object", "properties": {"x": True}})


def test_more_optional_parts_than_the_api_takes_are_refused():
    parts = {f"part_{number}": {"type": "string"} for number in range(25)}
    with pytest.raises(InvalidRequestError, match="25 optional"):
        strict({"type": "object", "properties": parts})


def recorded():
    """The schemas that recorded requests were to be kept to, and the status and words of the answer."""
    for file in FILES:
        if not any(feature.startswith(("structured_output:", "tools:strict")) for feature in file["request_features"]):
            continue
        for each in yaml.load((CORPUS / file["file"]).read_bytes(), Loader=yaml.CSafeLoader)["interactions"]:
            try:
                body = json.loads(each["request"]["body"] or "{}")
            except ValueError:
                continue
            config = body.get("output_config") or {}
            schemas = [tool["input_schema"] for tool in body.get("tools") or () if tool.get("strict")]
            schemas += [config["format"]["schema"]] if config.get("format") else []
            for schema in schemas:
                yield schema, each["response"]["status"]["code"], str(each["response"]["body"]["string"])


@pytest.mark.skipif(not FILES and not REQUIRED, reason=f"there are no recorded sessions in {CORPUS}")
class TestRecorded:
    def test_schemas_that_the_api_took_are_taken(self):
        taken = [schema for schema, status, _ in recorded() if status == 200]
        assert len(taken) >= 100
        for schema in taken:
            assert list(strict_faults(Shape(schema).strict)) == []

    def test_schemas_that_the_api_refused_are_refused_or_put_right(self):
        refused = 0
        for schema, status, answer in recorded():
            if status != 400 or "too complex" in answer:
                continue
            refused += 1
            try:
                fixed = Shape(schema).strict
            except InvalidRequestError:
                continue
            assert fixed != schema, answer
        assert refused >= 5
