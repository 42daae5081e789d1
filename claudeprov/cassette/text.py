"""The text of a cassette: YAML with bodies as literal blocks, loaded safely and checked before use."""

from __future__ import annotations

import base64
import json
import re
from typing import Annotated, Any

import msgspec
import yaml

from claudeprov.cassette.interaction import Details

_MAX_DEPTH = 32
"""Deeper YAML is no cassette; libyaml's reader would recurse until the stack ends."""

_MAX_NODES = 500_000
"""More values are no cassette: 1,000 interactions have less than a fifth. Each takes 700 bytes while it is read."""

_MAX_CHARACTERS = 256 * 1024 * 1024
"""More text is no cassette, once what an alias stands for is counted wherever it is used."""

_MAX_NUMBER = 100
"""A longer number is none: YAML's numbers to the base of 60 take time that grows with the square of their length."""

_TAGS = frozenset({None, "!", "tag:yaml.org,2002:binary", "tag:yaml.org,2002:str", "tag:yaml.org,2002:null"})
"""What a value may be called; every other type follows from how it is written, or is none of a cassette's."""

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Text:
    """A serializer for vcrpy; both methods work on its document of ``version`` and ``interactions``."""

    @staticmethod
    def serialize(document: dict[str, Any]) -> str:
        """Write a document."""
        parts = [f"version: {document['version']}\ninteractions:{'' if document['interactions'] else ' []'}\n"]
        for interaction in document["interactions"]:
            block = _mapping(interaction, "  ")
            parts.append(f"- {block[2:]}")
        return "".join(parts)

    @staticmethod
    def deserialize(text: str) -> dict[str, Any]:
        """Read a document.

        Raises:
            ValueError, yaml.YAMLError: It is no cassette; the message says what is wrong, and where.
        """
        _check_shape(text)
        document: dict[str, Any] = yaml.load(text, Loader=_Loader)  # noqa: S506  # safe with libyaml and without
        _check(document)
        return document


class _Request(msgspec.Struct, forbid_unknown_fields=True):
    method: str
    uri: str
    headers: dict[str, str | Annotated[list[str], msgspec.Meta(min_length=1)]]
    body: Any = None


class _Status(msgspec.Struct):
    code: int
    message: str | None = None


class _Body(msgspec.Struct):
    string: Any = None


class _Response(msgspec.Struct):
    status: _Status
    headers: dict[str, list[str]]
    body: _Body
    claudeprov: Details | None = None


class _Interaction(msgspec.Struct):
    request: _Request
    response: _Response


class _File(msgspec.Struct):
    interactions: list[_Interaction]
    version: int = 1


def _check_shape(text: str) -> None:
    """Refuse what would take too long or too much memory to build, without building it."""
    nodes = characters = 0
    open_at: list[tuple[str | None, int, int]] = []
    anchors: dict[str | None, tuple[int, int]] = {}
    for event in yaml.parse(text, Loader=_Loader):
        match event:
            case yaml.AliasEvent():
                more_nodes, more_characters = anchors.get(event.anchor, (0, 0))
                nodes, characters = nodes + more_nodes, characters + more_characters
            case yaml.ScalarEvent():
                nodes, characters = nodes + 1, characters + len(event.value)
                anchors[event.anchor] = 1, len(event.value)
                if event.implicit[0] and len(event.value) > _MAX_NUMBER and _NUMBER.fullmatch(event.value):
                    raise ValueError(f"{_line(event)}: a number of {len(event.value)} characters")
            case yaml.CollectionStartEvent():
                open_at.append((event.anchor, nodes, characters))
                nodes += 1
            case yaml.CollectionEndEvent():
                anchor, nodes_before, characters_before = open_at.pop()
                anchors[anchor] = nodes - nodes_before, characters - characters_before
            case _:
                continue
        if (tag := getattr(event, "tag", None)) not in _TAGS:
            raise ValueError(f"{_line(event)}: values of the type {tag} are not read")
        if len(open_at) > _MAX_DEPTH:
            raise ValueError(f"{_line(event)}: nested deeper than {_MAX_DEPTH} levels")
        if nodes > _MAX_NODES or characters > _MAX_CHARACTERS:
            size = f"{_MAX_NODES} values or {_MAX_CHARACTERS} characters"
            raise ValueError(f"{_line(event)}: it holds more than {size}, with its aliases unfolded")


def _line(event: yaml.Event) -> str:
    return f"line {event.start_mark.line + 1}" if event.start_mark else "somewhere"


def _check(document: object) -> None:
    file = msgspec.convert(document, _File)
    if file.version != 1:
        raise ValueError(f"version is {file.version}; vcrpy's format 1 is what can be read")
    for number, interaction in enumerate(file.interactions, start=1):
        _check_body(interaction.request.body, f"interaction {number}: request.body")
        body = _check_body(interaction.response.body.string, f"interaction {number}: response.body.string")
        details = interaction.response.claudeprov
        if details and (problem := details.check(body)):
            raise ValueError(f"interaction {number}: {problem}")


def _check_body(body: object, where: str) -> bytes:
    if body is None or isinstance(body, bytes):
        return body or b""
    if isinstance(body, str):
        return body.encode()
    raise ValueError(f"{where} is {type(body).__name__}; text is needed")


_NUMBER = re.compile(r"[-+0-9_:.]+")

_NOT_PLAIN = re.compile("[^\t\n -~\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
"""What YAML does not let stand as it is, or takes for the end of a line."""

_YAML_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


def _mapping(mapping: dict[str, Any], indent: str) -> str:
    return "".join(f"{indent}{_key(key)}:{_value(value, indent + '  ')}" for key, value in mapping.items())


def _key(key: str) -> str:
    return key if re.fullmatch(r"[a-z][\w-]*", key) and key not in _YAML_WORDS else _quoted(key)


def _value(value: Any, indent: str) -> str:
    # PyYAML's writers put every text with a tab, a space at a line's end or (libyaml) an emoji on one quoted line.
    if isinstance(value, dict) and value:
        return f"\n{_mapping(value, indent)}"
    if isinstance(value, bytes):
        return f" !!binary {base64.b64encode(value).decode()}\n"
    if isinstance(value, str) and ('"' in value or "\n" in value) and not _NOT_PLAIN.search(value):
        lines = value.removesuffix("\n").split("\n")
        header = f"|{'2' if value[0].isspace() else ''}{'+' if value.endswith(chr(10)) else '-'}"
        return "".join((f" {header}\n", *(f"{indent}{line}\n" if line else "\n" for line in lines)))
    return f" {_quoted(value)}\n"


def _quoted(value: Any) -> str:
    """JSON is YAML, but for a few characters."""
    return _NOT_PLAIN.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(value, ensure_ascii=False))
