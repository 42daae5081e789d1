"""JSON Schemas as the API takes them where it keeps a model to them: structured outputs and strict tools.

Source: the API's documentation of structured outputs, November 2026, and recorded refusals.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from claudeprov.errors import InvalidRequestError
from claudeprov.tools.schema import (
    LEAVES_OPEN,
    MEANS_NOTHING,
    MEANS_SOMETHING,
    Fault,
    Path,
    Schema,
    not_strict,
    pointed_at,
    strict_faults,
    strict_totals,
)

_LEFT_OUT = MEANS_NOTHING | {"discriminator", "additionalProperties"}
"""What tells neither the API nor the model anything, or is made anew."""


def strict(schema: Schema) -> dict[str, Any]:
    """Return *schema* as the API takes it; limits that it has no room for are told in descriptions.

    Every object is closed, ``oneOf`` becomes ``anyOf``, and what stands beside a ``$ref`` is put where it leads.

    Raises:
        InvalidRequestError: It cannot be said so: a part holds itself, or leaves open what it is. The path is named.
    """
    recursions = [fault for fault in strict_faults(schema) if fault.path[-1:] == ("$ref",)]
    refuse(recursions[-1:])  # definitions come last, and it is there that a part holds itself
    made = _made(schema, schema, ())
    refuse(strict_faults(made))
    if too_much := strict_totals([made]):
        raise InvalidRequestError(f"output: {too_much}")
    return made


def refuse(faults: Iterable[Fault]) -> None:
    """Raise an :class:`InvalidRequestError` for the first of *faults*, if there is one."""
    for fault in faults:
        raise _refusal(fault)


def _made(node: Any, root: Schema, path: Path) -> dict[str, Any]:
    """The part of *root* at *path*, as the API takes it."""
    if not isinstance(node, Mapping):
        raise _refusal(Fault(path, LEAVES_OPEN))
    while "$ref" in node:
        beside = {name: value for name, value in node.items() if name != "$ref" and name not in _LEFT_OUT}
        if not beside:
            return {"$ref": node["$ref"]}
        node = {**(pointed_at(root, node["$ref"]) or {}), **beside}
    made: dict[str, Any] = {}
    told: dict[str, Any] = {}
    for keyword, value in node.items():
        at = (*path, keyword)
        match keyword:
            case "properties" | "$defs" | "definitions":
                made[keyword] = {name: _made(part, root, (*at, name)) for name, part in value.items()}
            case "anyOf" | "oneOf":
                made["anyOf"] = _each(value, root, at)
            case "allOf":
                made[keyword] = _each(value, root, at)
            case "items" if "prefixItems" not in node:
                made[keyword] = _made(value, root, at)
            case "prefixItems":
                made["items"] = {"anyOf": _each(value, root, at)}
            case _ if keyword in _LEFT_OUT:
                pass
            case _ if not_strict(keyword, value):
                told[keyword] = value
            case _:
                made[keyword] = value
    if not made.keys() & MEANS_SOMETHING:
        raise _refusal(Fault(path, LEAVES_OPEN))
    if made.get("type") == "object":
        if "properties" not in made and node.get("additionalProperties") is not False:
            raise _refusal(Fault(path, "holds names of any kind; ask for a list of entries, each with name and value"))
        made["additionalProperties"] = False
    if told:
        limits = "; ".join(f"{keyword}: {json.dumps(value)}" for keyword, value in told.items())
        made["description"] = f"{made['description']} ({limits})" if "description" in made else limits
    return made


def _each(parts: list[Any], root: Schema, path: Path) -> list[dict[str, Any]]:
    made = [_made(part, root, (*path, index)) for index, part in enumerate(parts)]
    return [part for index, part in enumerate(made) if part not in made[:index]]


def _refusal(fault: Fault) -> InvalidRequestError:
    return InvalidRequestError(f"output: {fault}", context={"path": list(fault.path)})
