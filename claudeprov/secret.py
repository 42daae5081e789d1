"""How secrets look, in whatever text they hide."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator

from claudeprov.mask import MASK, SHAPES, Shape, masked_text

_START = r"(?:(?<![A-Za-z0-9+_-])|(?<=\\[nrt]))"
"""Not in the middle of a word or of base64, but after an escape that was not undone."""
_RULES = tuple(
    (shape, re.compile(_START + shape.pattern))
    for shape in (*SHAPES, Shape("an OpenAI key", ("sk-",), r"sk-(?!ant-)(?P<random>[\w-]{20,})"))
)
"""What a group ``random`` holds must look random too."""

_RUN = re.compile(r"(?<![\w.~+/-])[\w.~+/-]{20,}", re.ASCII)
"""What may be a secret of no known shape."""

_BEARER = re.compile(r"(?i)\b(?:bearer|basic)\s+$")
_NAME = re.compile(
    r"(?i)(?:(?:api|access|secret|private|account|auth|encryption|signing)[_-]?key|secret|token|passw(?:or)?d|credential)s?"
    r"\\*[\"'`]?\s*(?::|:?=|=>)\s*\\*[\"'`]?$"
)
_BEFORE = 60
"""Characters before a run in which its name may stand."""

_UNNAMED = re.compile(r"(?![a-z]+_0)(?!.*(?:--|__))(?=.*[a-z])(?=.*[A-Z])[A-Za-z0-9_-]{32,128}")
"""A key without a name; neither one of the API's own ids (``msgbatch_01...``), nor a boundary of multipart bodies."""


def kinds_of_secrets(text: str, *, opaque: bool = False) -> Iterator[str]:
    """Give the kinds of what looks like a secret in *text*.

    Args:
        text: To be searched.
        opaque: Whether it looks random and is no secret, so that only known shapes count.
    """
    known = [kind for kind, pattern in _rules_for(text) if any(map(_is_random, pattern.finditer(text)))]
    yield from known
    if not (known or opaque):
        yield from {kind: None for run in _RUN.finditer(text) if (kind := _kind_of_run(run))}


def without_secrets(text: str) -> str:
    """Return *text* with everything masked that looks like a secret."""
    text = masked_text(text)
    for _, pattern in _rules_for(text):
        text = pattern.sub(lambda match: MASK if _is_random(match) else match[0], text)
    return _RUN.sub(lambda run: MASK if _kind_of_run(run) else run[0], text)


def without_random_words(text: str) -> str:
    """Return *text*, a name of something, without what is a secret or might be one."""
    for _, pattern in _RULES:
        text = pattern.sub("…", text)
    return _RUN.sub(lambda run: "…" if _looks_random(run[0], bits=3.5) else run[0], text)


def _rules_for(text: str) -> list[tuple[str, re.Pattern[str]]]:
    lowered = text.lower()
    return [(shape.kind, pattern) for shape, pattern in _RULES if any(mark in lowered for mark in shape.marks)]


def _kind_of_run(run: re.Match[str]) -> str | None:
    value = run[0].rstrip(".")
    if not _looks_random(value, bits=3.5):
        return None
    before = run.string[max(0, run.start() - _BEFORE) : run.start()]
    if _BEARER.search(before):
        return "a bearer token"
    if _NAME.search(before):
        return "a named secret"
    unnamed = _UNNAMED.fullmatch(value) and len(re.findall("[0-9]+", value)) >= 3 and _looks_random(value, bits=4.3)
    return "a random key" if unnamed else None


def _is_random(match: re.Match[str]) -> bool:
    return "random" not in match.re.groupindex or _looks_random(match["random"], bits=3.5)


def _looks_random(value: str, *, bits: float) -> bool:
    """Whether *value* has letters, digits and at least so many *bits* a character; words and names have not."""
    if not (re.search("[A-Za-z]", value) and re.search("[0-9]", value)):
        return False
    entropy = -sum(count / len(value) * math.log2(count / len(value)) for count in Counter(value).values())
    return entropy >= bits
