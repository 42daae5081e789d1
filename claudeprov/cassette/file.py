"""The file: a vcrpy cassette of format version 1, written to be read, and read without trust.

    version: 1
    interactions:
    - request:                 method, uri, headers (allowed ones only), body as indented JSON with sorted keys
      response:                status, headers (allowed ones only)
        claudeprov: {...}      see :class:`claudeprov.cassette.interaction.Details`
        body: {string: ...}    text as it came, decompressed; bytes that are no UTF-8 as ``!!binary``

Plain vcrpy and pytest-recording replay such a file. A request that got no answer has none to replay there: it is
written as an empty answer of status 599, so that a client without us sees a failed attempt in its place.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any

import yaml
from vcr.cassette import Cassette
from vcr.filters import decode_response
from vcr.record_mode import RecordMode
from vcr.serialize import deserialize, serialize

from claudeprov.cassette.interaction import interactions
from claudeprov.cassette.redact import redact_request, redact_response
from claudeprov.cassette.secrets import find_secrets
from claudeprov.cassette.text import Text
from claudeprov.errors import CassetteError

UNANSWERED = 599
"""The status that stands in a file where no answer came."""


def new_cassette(path: Path) -> Cassette:
    """Make an empty cassette that redacts what is appended to it."""
    return Cassette(
        path,
        serializer=Text,
        persister=Files,
        record_mode=RecordMode.ALL,
        before_record_request=redact_request,
        before_record_response=redact_response,
    )


def load(path: Path) -> Cassette:
    """Read a cassette, ours or any other of vcrpy's format 1. Nothing in it is executed.

    Raises:
        CassetteError: There is no such file, or it is no cassette; the message says what is wrong, and where.
    """
    try:
        return Cassette.load(
            path=path,
            serializer=Text,
            persister=Files,
            record_mode=RecordMode.NONE,
            before_record_response=decode_response,
        )
    except OSError as error:
        raise CassetteError(f"cannot read the cassette {path}: {error.strerror}") from error
    except (ValueError, TypeError, yaml.YAMLError) as error:
        raise CassetteError(f"{path} is no cassette: {error}", code="malformed", context={"path": str(path)}) from error


def files_below(path: Path) -> list[Path]:
    """Give the cassette *path* itself, or all those below the folder *path*, in the order of their names.

    Raises:
        CassetteError: There is none.
    """
    files = sorted(path.rglob("*.yaml")) if path.is_dir() else [path]
    if not files:
        raise CassetteError(f"there is no cassette below {path}", context={"path": str(path)})
    return files


def save(cassette: Cassette) -> None:
    """Write *cassette* in one step: a reader sees the old file or the new one, never a part.

    Raises:
        CassetteError: It holds what looks like a secret; nothing was written. The message names the places only.
    """
    found = [
        f"{secret} in {interaction.place}: {place}"
        for interaction in interactions(cassette)
        for place, secret in find_secrets(interaction)
    ]
    if found:
        raise CassetteError(
            f"{cassette.path} was not written, it would hold secrets: {'; '.join(found)}",
            code="secret_found",
            context={"path": str(cassette.path), "places": found},
        )
    Files.save_cassette(cassette.path, {"requests": cassette.requests, "responses": cassette.responses}, Text)


class Files:
    """vcrpy's persister, with errors in place of empty cassettes, and whole files only."""

    @staticmethod
    def load_cassette(path: Path, serializer: type[Text]) -> Any:
        return deserialize(path.read_text(encoding="utf-8"), serializer)

    @staticmethod
    def save_cassette(path: Path, cassette_dict: dict[str, Any], serializer: type[Text]) -> None:
        text = serialize(cassette_dict, serializer)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        try:
            draft.write_text(text, encoding="utf-8", newline="\n")
            os.replace(draft, path)
        finally:
            draft.unlink(missing_ok=True)
