from __future__ import annotations

import re
from typing import Any

import pytest

from claudeprov.errors import ConfigurationError
from claudeprov.tools.schema import faults_in, strict_faults, strict_totals, validator_of
from claudeprov.tools.tool import Tool, ToolError, check_together

CLOSED = {"type": "object", "properties": {}, "additionalProperties": False}


def test_a_schema_of_all_drafts_and_shapes_is_taken() -> None:
    tree = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "properties": {
            "root": {"$ref": "#/definitions/node"},
            "self": {"$ref": "#"},
            "a": {"$ref": "#/definitions/node/anyOf/0"},
        },
        "definitions": {
            "node": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"$ref": "#/definitions/node"}}]}
        },
    }
    assert list(faults_in(tree)) == []


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"type": "object", "properties": {"a": {"type": "strin"}}}, "properties.a.type: 'strin' is not valid"),
        ({"type": "object", "required": "a"}, "required: 'a' is not of type 'array'"),
        ({"type": "object", "properties": []}, "properties: [] is not of type 'object'"),
        ({"type": "array"}, "its type must be object"),
        ({}, "its type must be object"),
        (True, "must be an object"),
        (
            {"type": "object", "properties": {"a": {"$ref": "#/$defs/x"}}},
            "properties.a.$ref: #/$defs/x leads to nothing",
        ),
        ({"type": "object", "allOf": [{"$ref": "#/allOf/7"}]}, "allOf.0.$ref: #/allOf/7 leads to nothing"),
        ({"type": "object", "$ref": "https://example.com/schema"}, "$ref: https://example.com/schema leads to nothing"),
    ],
)
def test_a_fault_is_named_with_its_path(schema: dict[str, Any], told: str) -> None:
    assert any(str(fault).startswith(told) for fault in faults_in(schema))


NODE = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}, "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"type": "object", "properties": {}}, "additionalProperties must be false in a strict tool"),
        ({**CLOSED, "properties": {"a": True}}, "properties.a: leaves open what it is; name a type"),
        (
            {**CLOSED, "properties": {"a": {"type": ["object", "null"]}}},
            "properties.a: additionalProperties must be false in a strict tool",
        ),
        (
            {**CLOSED, "properties": {"a": {"type": "integer", "minimum": 1}}},
            "properties.a.minimum: strict tools take no",
        ),
        (
            {**CLOSED, "properties": {"a": {"anyOf": [{"type": "string", "maxLength": 3}]}}},
            "properties.a.anyOf.0.maxLength: strict tools take no maxLength",
        ),
        (
            {**CLOSED, "properties": {"a": {"type": "array", "items": {"type": "string", "minLength": 1}}}},
            "properties.a.items.minLength: strict tools take no minLength",
        ),
        (
            {**CLOSED, "properties": {"a": {"type": "array", "minItems": 2}}},
            "properties.a.minItems: strict tools take 0 or 1",
        ),
        (
            {**CLOSED, "properties": {"a": {"$ref": "#/$defs/node"}}, "$defs": {"node": NODE}},
            "#/$defs/node holds itself",
        ),
        (
            {
                **CLOSED,
                "properties": {"a": {"$ref": "#/$defs/one"}},
                "$defs": {"one": {"$ref": "#/$defs/two"}, "two": {"$ref": "#/$defs/one"}},
            },
            "properties.a.$ref: #/$defs/one holds itself",
        ),
    ],
)
def test_what_the_api_does_not_take_in_a_strict_tool_is_named_with_its_path(schema: dict[str, Any], told: str) -> None:
    assert any(told in str(fault) for fault in strict_faults(schema))


STRING = {"type": "string"}


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ({}, "properties.a: leaves open what it is; name a type"),
        ({"description": "Anything."}, "properties.a: leaves open what it is; name a type"),
        ({"type": "array", "items": {}}, "properties.a.items: leaves open what it is; name a type"),
        ({"type": "array", "items": True}, "properties.a.items: leaves open what it is; name a type"),
        ({"type": "array", "contains": STRING}, "properties.a.contains: strict tools take no contains"),
        ({"type": "array", "minContains": 2}, "properties.a.minContains: strict tools take no minContains"),
        ({**CLOSED, "patternProperties": {"^a": STRING}}, "properties.a.patternProperties: strict tools take no"),
        ({**CLOSED, "propertyNames": {"maxLength": 2}}, "properties.a.propertyNames: strict tools take no"),
        ({"type": "string", "not": {"const": "x"}}, "properties.a.not: strict tools take no not"),
        ({"type": "string", "if": STRING}, "properties.a.if: strict tools take no if"),
        ({"oneOf": [STRING]}, "properties.a.oneOf: strict tools take no oneOf"),
        ({"type": "string", "pattern": "a"}, "properties.a.pattern: strict tools take no pattern"),
        ({"type": "string", "format": "regex"}, "properties.a.format: strict tools take date-time,"),
        ({"enum": [{"a": 1}]}, "properties.a.enum: strict tools take plain values only"),
        ({**CLOSED, "required": ["zz"]}, "properties.a.required: zz is none of its properties"),
    ],
)
def test_what_the_api_is_not_known_to_take_in_a_strict_tool_is_a_fault(part: dict[str, Any], told: str) -> None:
    [fault, *_] = strict_faults({**CLOSED, "properties": {"a": part}})
    assert str(fault).startswith(told)


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ({"type": "string", "pattern": "("}, "properties.a.pattern: cannot be held against arguments"),
        ({"type": "string", "pattern": r"^\p{L}+$"}, "properties.a.pattern: cannot be held against arguments"),
        ({"patternProperties": {"(": {}}}, "properties.a.patternProperties.(: cannot be held against arguments"),
    ],
)
def test_a_pattern_that_no_argument_can_be_held_against_is_a_fault(part: dict[str, Any], told: str) -> None:
    schema = {"type": "object", "properties": {"a": part}}
    with pytest.raises(ConfigurationError, match=re.escape(f"input_schema.{told}")):
        Tool("do", "", schema, run=print)


def test_a_pattern_is_left_to_a_tool_that_checks_its_arguments_itself() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": r"^\p{L}+$"}}}
    assert Tool("do", "", schema, run=print, parse=dict).input_schema == schema


def test_a_schema_of_boundless_depth_is_a_fault() -> None:
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(400):
        schema = {"type": "object", "properties": {"a": schema}}
    assert [str(fault) for fault in faults_in(schema)] == ["is nested too deeply to be checked"]


def test_what_the_api_takes_in_a_strict_tool_is_no_fault() -> None:
    schema = {
        **CLOSED,
        "properties": {
            "a": {"type": "array", "items": {"enum": ["x"]}, "minItems": 1},
            "b": {"$ref": "#/$defs/b"},
            "c": {"$ref": "#/$defs/b"},
        },
        "$defs": {"b": {"type": "string", "format": "date"}},
    }
    assert list(strict_faults(schema)) == []


def strict(name: str, schema: dict[str, Any]) -> Tool:
    return Tool(name, "", schema, run=print, options={"strict": True})


@pytest.mark.parametrize(
    ("count", "each", "told"),
    [
        (20, {}, None),
        (21, {}, "there are 21 strict tools; the API takes 20"),
        (2, {f"p{n}": {"type": "string"} for n in range(12)}, None),
        (5, {f"p{n}": {"type": "string"} for n in range(5)}, "there are 25 optional parameters in strict tools"),
        (1, {f"p{n}": {"type": ["string", "null"]} for n in range(16)}, None),
        (17, {"p": {"type": "array", "items": {"type": ["string", "null"]}}}, "there are 17 parameters of several"),
        (17, {"p": {"anyOf": [{"type": "string"}, {"type": "null"}]}}, "there are 17 parameters of several types"),
    ],
)
def test_the_limits_of_a_request_hold_over_all_of_its_strict_tools(count: int, each: Any, told: str | None) -> None:
    tools = [strict(f"tool_{n}", {**CLOSED, "properties": each}) for n in range(count)]
    if told is None:
        check_together(tools)
        return
    with pytest.raises(ConfigurationError, match=told):
        check_together(tools)


def test_a_tool_that_is_not_strict_has_no_such_limits() -> None:
    schema = {"type": "object", "properties": {f"p{n}": {"type": "integer", "minimum": 1} for n in range(99)}}
    check_together([Tool(f"tool_{n}", "", schema, run=print) for n in range(30)])


def test_required_parameters_are_not_optional() -> None:
    names = [f"p{n}" for n in range(99)]
    assert strict_totals([{**CLOSED, "properties": dict.fromkeys(names, True), "required": names}]) is None


def test_arguments_are_held_against_the_schema_and_left_as_they_are() -> None:
    validate = validator_of({**CLOSED, "properties": {"a": {"type": "integer"}}, "required": ["a"]}, ToolError)
    arguments = {"a": 1}
    assert validate(arguments) is arguments
    with pytest.raises(ToolError) as caught:
        validate({"a": "1", "b": 2})
    assert str(caught.value).splitlines()[1:] == [
        "arguments: Additional properties are not allowed ('b' was unexpected)",
        "a: '1' is not of type 'integer'",
    ]


@pytest.mark.parametrize("name", ["", "a b", "a.b", "ü", "a" * 65, "a\n"])
def test_a_name_that_the_api_does_not_take_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="1 to 64 letters, digits"):
        Tool(name, "", CLOSED, run=print)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"input_schema": None}, "input_schema is missing"),
        ({"effects": ["red"]}, "effects: 'red' is none of read, write, execute, network"),
        ({"options": {"name": "y"}}, "options.name: has a place of its own"),
        ({"input_schema": {"type": "object", "properties": {"a": 3}}}, "input_schema.properties.a: 3 is not of type"),
    ],
)
def test_other_faults_of_a_tool_are_named_with_their_paths(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Tool("x", **{"description": "", "input_schema": CLOSED, "run": print} | fields)
    assert f"the tool 'x': {told}" in caught.value.message


def test_a_tool_whose_arguments_the_api_knows_needs_no_schema() -> None:
    bash = Tool("bash", run=print, effects=frozenset({"execute"}), options={"type": "bash_20250124"})
    assert bash.definition() == {"name": "bash", "type": "bash_20250124"}
    assert bash.parse is not None
    assert bash.parse({"command": "ls"}) == {"command": "ls"}


def test_a_tool_of_the_servers_cannot_be_called() -> None:
    with pytest.raises(TypeError, match="run by the server"):
        Tool("web_search", options={"type": "web_search_20260318"})()
