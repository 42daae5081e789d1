"""What must never stand in a cassette, wherever it hides."""

from __future__ import annotations

import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from claudeprov.cassette.interaction import Interaction, events

_SHAPES = {
    "an Anthropic key": r"\bsk-ant-[\w-]{16,}",
    "an AWS access key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "a Google API key": r"\bAIza[\w-]{35}",
    "a Google access token": r"\bya29\.[\w-]{20,}",
    "a GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{22,})",
    "a private key": r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----(?:\\+[rn]|\s)*[A-Za-z0-9+/=]{16}",
    "a JSON web token": r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}",
    "an OpenAI key": r"\bsk-(?!ant-)(?P<random>[\w-]{20,})",
    "a bearer token": r"(?i:\bbearer)\s+(?P<random>[\w.~+/-]{20,}=*)",
    "a named secret": (
        r"(?i:api_?-?key|secret|token|password|passwd|credential)s?"
        r"\\*[\"']?\s*[:=]\s*\\*[\"']?(?P<random>[\w.~+/-]{20,}=*)"
    ),
}
"""How secrets look. What a group ``random`` holds must look random too."""

_RULES = {kind: re.compile(shape) for kind, shape in _SHAPES.items()}


def find_secrets(interaction: Interaction) -> list[tuple[str, str]]:
    """Give place and kind of everything in *interaction* that looks like a secret, never the secret itself.

    Bodies are read as they stand and with their JSON decoded; the text of a stream is joined across its deltas.
    """
    found = {(place, kind): None for place, text in _texts(interaction) for kind in _kinds(text)}
    return list(found)


def _kinds(text: str) -> Iterator[str]:
    for kind, rule in _RULES.items():
        if any("random" not in rule.groupindex or _looks_random(match["random"]) for match in rule.finditer(text)):
            yield kind


def _looks_random(value: str) -> bool:
    """Whether *value* has letters, digits and at least 3.5 bits a character; words and names have not."""
    if not (re.search("[A-Za-z]", value) and re.search("[0-9]", value)):
        return False
    entropy = -sum(count / len(value) * math.log2(count / len(value)) for count in Counter(value).values())
    return entropy >= 3.5


def _texts(interaction: Interaction) -> Iterator[tuple[str, str]]:
    request, details = interaction.request, interaction.details
    yield "request address", request.uri
    yield from ((f"request header {name}", value) for name, value in request.headers.items())
    yield from _texts_of("request body", request.body or b"")
    yield from ((f"response header {name}", value) for name, value in interaction.headers)
    yield from _texts_of("response body", interaction.body)
    yield "error", (details and details.error) or ""


def _texts_of(place: str, body: bytes) -> Iterator[tuple[str, str]]:
    yield place, body.decode("utf-8", "replace")
    document = _json(body)
    if document is not None:
        yield from ((f"{place} at {path}", text) for path, text in _strings(document, "$"))
        return
    joined: defaultdict[str, list[str]] = defaultdict(list)
    for event in filter(None, events(body)):
        delta = event.get("delta")
        for name, text in delta.items() if isinstance(delta, dict) else ():
            if isinstance(text, str) and name != "type":
                joined[f"{name} of block {event.get('index')}"].append(text)
    yield from ((f"{place}, joined {name}", "".join(texts)) for name, texts in joined.items())


def _strings(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _strings(item, f"{path}.{name}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _strings(item, f"{path}[{index}]")


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
