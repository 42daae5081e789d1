"""``claudeprov config``: the composed configuration and where each value came from; the schema for editors."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic.fields import FieldInfo

from claudeprov.errors import ConfigurationError
from claudeprov.problem import masked
from claudeprov.settings import GROUPS, Settings, models_in

if TYPE_CHECKING:
    from claudeprov.compose import Composition

HELP = "print the composed configuration and where each value came from"
EXAMPLE = "claudeprov config model=haiku retry.max_attempts=9"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of the command."""
    parser.add_argument("--json", action="store_true", help="one JSON object: settings, choices and origins")
    parser.add_argument(
        "--json-schema",
        nargs="?",
        const="-",
        metavar="PATH",
        help="write the JSON Schema instead: to a file, to standard output, or one of each group into a folder",
    )


def run(settings: Settings, args: argparse.Namespace) -> int:
    """Print what was composed, or write the schema."""
    composition: Composition = args.composition
    if args.json_schema is not None:
        _write_schema(args.json_schema)
    elif args.json:
        document = {
            "settings": masked("", settings.model_dump(mode="json")),
            "choices": composition.choices,
            "chosen_by": composition.chosen_by,
            "origins": composition.origins,
        }
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        values = masked("", settings.model_dump(mode="json"))
        sys.stdout.writelines(f"{line}\n" for line in _lines(values, composition))
    return 0


def as_yaml(composition: Composition) -> str:
    """Return the composed mapping as YAML, without secrets."""
    return yaml.safe_dump(masked("", composition.values), sort_keys=False, allow_unicode=True)


def _lines(values: Mapping[str, Any], composition: Composition, parent: str = "") -> Iterator[str]:
    indent = "  " * (parent.count(".") + bool(parent))
    for name, value in values.items():
        key = f"{parent}.{name}" if parent else name
        origin = composition.origin(key)
        if key in composition.choices:
            origin = f"{key}={composition.choices[key]} by {composition.chosen_by[key]}"
        if isinstance(value, dict) and value:
            yield f"{indent}{name}:" + (f"  # {origin}" if key in composition.choices else "")
            yield from _lines(value, composition, key)
        else:
            # In a list, YAML writes a value on one line and without the end-of-document mark.
            inline = yaml.safe_dump([value], default_flow_style=True, width=sys.maxsize, allow_unicode=True)
            yield f"{indent}{name}: {inline.strip()[1:-1]}  # {origin}"


def _write_schema(path: str) -> None:
    if path == "-":
        sys.stdout.write(_document(Settings.model_json_schema()))
        return
    files = {Path(path): Settings.model_json_schema()}
    if Path(path).is_dir():
        files = {Path(path, f"{group}.json"): _group_schema(Settings.model_fields[group]) for group in GROUPS}
    for file, schema in files.items():
        try:
            file.write_text(_document(schema), encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(f"the schema cannot be written: {error}") from error


def _group_schema(group: FieldInfo) -> dict[str, Any]:
    """Return the schema of a group's files, which may hold a defaults list and leave keys to it."""
    (kind,) = models_in(group)
    schema = kind.model_json_schema()
    schema.pop("required", None)
    schema["properties"]["defaults"] = {"type": "array", "description": "Hydra's defaults list."}
    return schema


def _document(schema: Mapping[str, Any]) -> str:
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema"} | dict(schema), indent=2) + "\n"
