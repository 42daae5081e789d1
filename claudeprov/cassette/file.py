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

import gc
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from vcr.cassette import Cassette
from vcr.filters import decode_response
from vcr.record_mode import RecordMode
from vcr.serialize import deserialize, serialize

from claudeprov.cassette.interaction import interactions
from claudeprov.cassette.redact import Scrubber, redact_request, redact_response
from claudeprov.cassette.secrets import find_secrets
from claudeprov.cassette.text import Text
from claudeprov.errors import CassetteError
from claudeprov.files import write_whole

UNANSWERED = 599
"""The status that stands in a file where no answer came."""

MAX_BYTES = 64 * 1024 * 1024
"""A larger file is no cassette: reading a hostile one must end, and within some memory."""

_MAX_MESSAGE = 500
_WINDOWS = {"gzip": (zlib.MAX_WBITS | 16,), "deflate": (zlib.MAX_WBITS, -zlib.MAX_WBITS)}
"""The encodings that vcrpy undoes, as zlib knows them."""


def new_cassette(path: Path, scrubber: Scrubber = ()) -> Cassette:
    """Make an empty cassette that redacts what is appended to it."""
    return Cassette(
        path,
        serializer=Text,
        persister=Files,
        record_mode=RecordMode.ALL,
        before_record_request=partial(redact_request, scrubber=scrubber),
        before_record_response=partial(redact_response, scrubber=scrubber),
    )


def load(path: Path) -> Cassette:
    """Read a cassette, ours or any other of vcrpy's format 1. Nothing in it is executed.

    Raises:
        CassetteError: There is no such file, or it is no cassette; the message says what is wrong, and where.
    """
    try:
        with _no_collection():
            return Cassette.load(
                path=path,
                serializer=Text,
                persister=Files,
                record_mode=RecordMode.NONE,
                before_record_response=_decoded,
            )
    except OSError as error:
        raise CassetteError(f"cannot read the cassette {path}: {error.strerror}") from error
    except (ValueError, TypeError, OverflowError, yaml.YAMLError) as error:
        what = str(error)[:_MAX_MESSAGE]  # a hostile file can put megabytes there
        raise CassetteError(f"{path} is no cassette: {what}", code="malformed", context={"path": str(path)}) from error


def _decoded(response: dict[str, Any]) -> dict[str, Any]:
    """vcrpy's own decompression, once it is known that it ends."""
    headers = {name.lower(): values for name, values in response["headers"].items()}
    encoding = next(iter(headers.get("content-encoding", ())), "")
    body = response["body"].get("string")
    if encoding in _WINDOWS and isinstance(body, bytes) and not _ends(body, _WINDOWS[encoding]):
        raise ValueError(f"a body is no {encoding}, as its headers say, or one of more than {MAX_BYTES // 2**20} MB")
    decoded: dict[str, Any] = decode_response(response)
    return decoded


def _ends(body: bytes, windows: tuple[int, ...]) -> bool:
    for window in windows:
        reader = zlib.decompressobj(window)
        with suppress(zlib.error):
            reader.decompress(body, MAX_BYTES)
            return not reader.unconsumed_tail
    return False


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the collector from going through a large file's values, none of them garbage, again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


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
        with open(path, "rb", opener=_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ValueError("it is no regular file")
            if status.st_size > MAX_BYTES:
                raise ValueError(f"it has {status.st_size} bytes; the most that is read is {MAX_BYTES}")
            text = file.read(MAX_BYTES).decode()
        return deserialize(text, serializer)

    @staticmethod
    def save_cassette(path: Path, cassette_dict: dict[str, Any], serializer: type[Text]) -> None:
        # vcrpy's serialize turns the bodies that it is given into text
        responses = [{**response, "body": {**response["body"]}} for response in cassette_dict["responses"]]
        data = serialize({**cassette_dict, "responses": responses}, serializer).encode()
        if len(data) > MAX_BYTES:
            raise CassetteError(f"{path} was not written: it would have {len(data)} bytes, the most is {MAX_BYTES}")
        write_whole({path: data})


def _without_waiting(path: str, flags: int) -> int:
    """Open a pipe too without waiting for its writer."""
    return os.open(path, flags | os.O_NONBLOCK)
