"""JSON Schemas of tools: whether they are any, whether the API takes them with ``strict``, and arguments held to them.

Source of the limits: the API's documentation of strict tool use and of structured outputs, November 2026.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

Schema = Mapping[str, Any]
Path = tuple[str | int, ...]

MOST_STRICT = 20
"""Strict tools of a request."""
MOST_OPTIONAL = 24
"""Optional parameters of all strict tools of a request."""
MOST_UNIONS = 16
"""Parameters of more than one type, of all strict tools of a request."""

MEANS_SOMETHING = frozenset(("type", "enum", "const", "anyOf", "allOf"))
"""Keywords of which each part of a strict schema has one, unless it is a reference."""
MEANS_NOTHING = frozenset(("title", "$schema", "$id", "$comment"))
"""Keywords that the API takes, and that tell the model nothing."""
LEAVES_OPEN = "leaves open what it is; name a type"

_STRICT = frozenset(("type", "description", "default", "required", "format", "minItems", "enum", "const"))
_STRUCTURE = frozenset(
    ("properties", "$defs", "definitions", "anyOf", "allOf", "items", "$ref", "additionalProperties")
)
_FORMATS = ("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid")
_TOLD = 5
"""Faults of a call's arguments that the model is told of."""
_LONGEST = 300
"""Characters of one of them."""


class Fault(NamedTuple):
    """What is wrong with a tool, and where in its declaration."""

    path: Path
    what: str

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.path))}: {self.what}" if self.path else self.what


def faults_in(schema: Schema, *, patterns: bool = True) -> Iterator[Fault]:
    """Find where *schema* is no JSON Schema, or none for a tool's arguments.

    Args:
        schema: Of arguments.
        patterns: Whether arguments are to be held against its regular expressions here.
    """
    try:
        yield from _faults_in(schema)
        if patterns:
            yield from _pattern_faults(schema)
    except RecursionError:
        yield Fault((), "is nested too deeply to be checked")


def _faults_in(schema: Schema) -> Iterator[Fault]:
    if not isinstance(schema, Mapping):
        yield Fault((), "must be an object")
        return
    from jsonschema.validators import Draft202012Validator, validator_for

    kind = validator_for(schema, default=Draft202012Validator)
    broken = False
    for error in kind(kind.META_SCHEMA).iter_errors(schema):
        broken = True
        yield Fault(tuple(error.absolute_path), _shortened(error.message))
    if broken:
        return
    if schema.get("type") != "object":
        yield Fault((), "its type must be object: arguments have names")
    for path, reference in _references(schema, ()):
        if pointed_at(schema, reference) is None:
            yield Fault(path, f"{reference} leads to nothing in this schema")


def _pattern_faults(schema: Schema) -> Iterator[Fault]:
    for path, node in nodes(schema):
        written = [((*path, "patternProperties", pattern), pattern) for pattern in node.get("patternProperties", ())]
        if "pattern" in node:
            written.append(((*path, "pattern"), node["pattern"]))
        for at, pattern in written:
            try:
                re.compile(pattern)
            except re.error as error:
                yield Fault(at, f"cannot be held against arguments, for Python does not take it: {error}")


def strict_faults(schema: Schema) -> Iterator[Fault]:
    """Find what the API does not take in a strict tool."""
    for path, node in nodes(schema):
        for keyword, value in node.items():
            if keyword not in _STRUCTURE | MEANS_NOTHING and (what := not_strict(keyword, value)):
                yield Fault((*path, keyword), what)
        if not node.keys() & (MEANS_SOMETHING | {"$ref"}):
            yield Fault(path, LEAVES_OPEN)
        for at, part in _parts(node):
            if isinstance(part, bool) and at != ("additionalProperties",):
                yield Fault((*path, *at), LEAVES_OPEN)
        for name in node.get("required", ()):
            if name not in node.get("properties", {}):
                yield Fault((*path, "required"), f"{name} is none of its properties")
        if _is_object(node) and node.get("additionalProperties") is not False:
            yield Fault(path, "additionalProperties must be false in a strict tool")
        if "$ref" in node and _recurs(schema, node["$ref"]):
            yield Fault((*path, "$ref"), f"{node['$ref']} holds itself; strict tools take no recursion")


def not_strict(keyword: str, value: Any) -> str | None:
    """Say why a strict schema may not have *value* at *keyword*, which holds no schemas, if it may not."""
    match keyword:
        case "format" if value not in _FORMATS:
            return f"strict tools take {', '.join(_FORMATS)} only"
        case "minItems" if value not in (0, 1):
            return "strict tools take 0 or 1 only"
        case "enum" | "const":
            values = value if keyword == "enum" else [value]
            if not all(item is None or isinstance(item, str | int | float) for item in values):
                return "strict tools take plain values only"
    return None if keyword in _STRICT else f"strict tools take no {keyword}; say it in the description"


def strict_totals(schemas: Sequence[Schema]) -> str | None:
    """Say which limit of a request its strict tools break together, if any."""
    optional = unions = 0
    for schema in schemas:
        for _, node in nodes(schema):
            optional += len(node.get("properties", {}).keys() - set(node.get("required", ())))
            unions += _is_union(node)
    for count, most, what in (
        (len(schemas), MOST_STRICT, "strict tools"),
        (optional, MOST_OPTIONAL, "optional parameters in strict tools"),
        (unions, MOST_UNIONS, "parameters of several types in strict tools"),
    ):
        if count > most:
            return f"there are {count} {what}; the API takes {most} in a request"
    return None


def validator_of(
    schema: Schema, error_type: Callable[[str], Exception]
) -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:
    """Return what passes arguments that *schema* allows, and raises an *error_type* that says what is wrong."""
    misfits = misfits_of(schema)

    def validate(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        if found := misfits(arguments):
            raise error_type(explained(iter(found)))
        return arguments

    return validate


def misfits_of(schema: Schema) -> Callable[[Any], list[tuple[Path, str]]]:
    """Return what finds where a value does not fit *schema*, and says why."""
    from jsonschema.validators import Draft202012Validator, validator_for
    from referencing import Registry

    # A registry of its own: the default one would fetch what a $ref names from the network.
    validator = validator_for(schema, default=Draft202012Validator)(schema, registry=Registry())

    def misfits(value: Any) -> list[tuple[Path, str]]:
        errors = sorted(validator.iter_errors(value), key=lambda error: list(map(str, error.absolute_path)))
        return [(tuple(error.absolute_path), error.message) for error in errors]

    return misfits


def explained(problems: Iterator[tuple[Sequence[str | int], str]]) -> str:
    """Tell the model what is wrong with its arguments, the first few things of it."""
    lines = [f"{'.'.join(map(str, path)) or 'arguments'}: {_shortened(what)}" for path, what in problems]
    more = [f"and {len(lines) - _TOLD} more"] if len(lines) > _TOLD else []
    said = "the arguments do not fit the tool's schema; call it again with ones that do:"
    return "\n".join([said, *lines[:_TOLD], *more])


def nodes(schema: Any, path: Path = ()) -> Iterator[tuple[Path, Schema]]:
    """Yield every schema within *schema*, itself included, each once, with its path."""
    if not isinstance(schema, Mapping):
        return
    yield path, schema
    for at, part in _parts(schema):
        yield from nodes(part, (*path, *at))


def _parts(node: Schema) -> Iterator[tuple[Path, Any]]:
    """The schemas right within one, and where in it."""
    for keyword in ("properties", "patternProperties", "dependentSchemas", "$defs", "definitions"):
        for name, value in node.get(keyword, {}).items():
            yield (keyword, name), value
    for keyword in ("anyOf", "oneOf", "allOf", "prefixItems"):
        for index, value in enumerate(node.get(keyword, ())):
            yield (keyword, index), value
    for keyword in ("items", "contains", "additionalProperties", "propertyNames", "not", "if", "then", "else"):
        if keyword in node:
            yield (keyword,), node[keyword]


def _references(schema: Schema, path: Path) -> Iterator[tuple[Path, str]]:
    for found, node in nodes(schema, path):
        if isinstance(node.get("$ref"), str):
            yield (*found, "$ref"), node["$ref"]


def pointed_at(schema: Schema, reference: str) -> Schema | None:
    """The part of *schema* that a reference within it means, by JSON Pointer."""
    if reference != "#" and not reference.startswith("#/"):
        return None
    node: Any = schema
    for part in reference.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(node, Mapping) and name in node:
            node = node[name]
        elif isinstance(node, list) and name.isdecimal() and int(name) < len(node):
            node = node[int(name)]
        else:
            return None
    return node if isinstance(node, Mapping) else None


def _recurs(schema: Schema, reference: str) -> bool:
    """Whether what *reference* means leads back to it."""
    pending, seen = [reference], set[str]()
    while pending:
        target = pointed_at(schema, pending.pop())
        for _, found in _references(target or {}, ()):
            if found == reference:
                return True
            if found not in seen:
                seen.add(found)
                pending.append(found)
    return False


def _is_object(node: Schema) -> bool:
    kind = node.get("type")
    return kind == "object" or (isinstance(kind, list) and "object" in kind) or "properties" in node


def _is_union(node: Any) -> bool:
    return isinstance(node, Mapping) and ("anyOf" in node or "oneOf" in node or isinstance(node.get("type"), list))


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
