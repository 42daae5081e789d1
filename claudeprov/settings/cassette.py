"""Recorded traffic."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from claudeprov.settings.kind import Duration, Group, Name, Seconds


def _volatile(text: str) -> str:
    if text != "timestamps" and not re.fullmatch(r"\$(\.[\w-]+|\[(\d+|\*)\])+", text):
        raise ValueError("must be a JSON path such as $.metadata.user_id or $.messages[*].content, or timestamps")
    return text


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from None
    return text


Volatile = Annotated[str, AfterValidator(_volatile)]
Pattern = Annotated[Name, AfterValidator(_pattern)]


class CassetteSettings(Group):
    """Whether real traffic is used, recorded or replayed."""

    mode: Literal["auto", "live", "replay", "record"] = "auto"
    """``auto``: live where there are credentials, replay where there are none."""
    path: Name | None = None
    """Cassette file, or folder of them; ``null``: the project's own of the suite."""
    new_only: bool = False
    """Of a recording: what is recorded already is replayed, and only the rest is sent and added."""
    all: Annotated[bool, Field(strict=True)] = False
    """Whether ``claudeprov record`` records everything again; else only what is missing or stale."""
    max_age: Duration | None = 180.0
    """Days after which a recording is stale; ``null``: age alone does not make it so."""
    ignore: tuple[Volatile, ...] = ()
    """Parts of a request that do not count when it is looked for: JSON paths, and ``timestamps`` within texts."""
    scrub: tuple[Pattern, ...] = ()
    """Regular expressions; what they match in addresses and bodies is written as a pseudonym."""
    speed: Seconds = 0.0
    """Pace of replay: 0 at once, 1 as recorded, 2 twice as fast."""
    default_model: Name = "qwen"
    """Model of the recordings that a replay uses where none was chosen."""
