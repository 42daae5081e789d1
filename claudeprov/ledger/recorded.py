"""What cassettes tell of the calls in a ledger, which keeps no prompts: whose hash is whose."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import shorten
from typing import Any

from claudeprov.ledger.prompt import prefixes_of

_SHOWN = 60
"""Characters of a prompt that are shown."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What there is in cassettes."""

    prompts: dict[str, str] = field(default_factory=dict)
    """Hashes of prefixes to how the prompt begins, and in which file that stands."""
    models: Counter[str] = field(default_factory=Counter)
    """How many exchanges each model, as it was asked for, has."""


def recorded_in(path: Path) -> Recorded:
    """Read the cassette *path*, or those below the folder *path*; there may be none.

    Raises:
        CassetteError: One of them cannot be read.
    """
    found = Recorded()
    if not path.exists() or (path.is_dir() and not any(path.rglob("*.yaml"))):
        return found
    # vcrpy costs half a second to import
    from claudeprov.cassette.file import files_below, load
    from claudeprov.cassette.interaction import interactions
    from claudeprov.cassette.match import sent_of

    for file in files_below(path):
        for item in interactions(load(file)):
            sent = sent_of(item.request)
            if sent.model:
                found.models[sent.model] += 1
            if isinstance(sent.body, dict):
                begins = f"{_beginning(sent.body)} ({file})"
                found.prompts.update(dict.fromkeys((prefix.hash for prefix in prefixes_of(sent.body)), begins))
    return found


def _beginning(body: Mapping[str, Any]) -> str:
    """The first words of a prompt that a person would know it by: of the system prompt, else of the first message."""
    messages = body.get("messages")
    first = messages[0].get("content") if isinstance(messages, list) and messages else None
    said = body.get("system") or first or body.get("tools") or ""
    if isinstance(said, list) and said and isinstance(said[0], dict):
        said = said[0].get("text") or said[0].get("name") or said
    return repr(shorten(said if isinstance(said, str) else json.dumps(said), _SHOWN, placeholder="..."))
