"""What may not be shown, and what stands in its place."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence, Set
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

MASK = "**********"


class Shape(NamedTuple):
    """How one kind of secret looks."""

    kind: str
    marks: tuple[str, ...]
    """One of them stands, in lower case, wherever the pattern matches: looking for them is ten times as fast."""
    pattern: str
    """What it is from its first character on; what stands before it is for others to say."""


SHAPES = (
    Shape("an Anthropic key", ("sk-ant-",), r"sk-ant-[\w-]{16,}"),
    Shape("an AWS access key", ("akia", "asia"), r"(?:AKIA|ASIA)[0-9A-Z]{16}(?![0-9A-Za-z])"),
    Shape("a Google API key", ("aiza",), r"AIza[\w-]{30,}"),
    Shape("a Google client secret", ("gocspx-",), r"GOCSPX-[\w-]{20,}"),
    Shape("a Google access token", ("ya29.",), r"ya29\.[\w-]{20,}"),
    Shape("a GitHub token", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"gh[pousr]_[A-Za-z0-9]{30,}"),
    Shape("a GitHub token", ("github_pat_",), r"github_pat_\w{22,}"),
    Shape(
        "a private key",
        ("private key",),
        r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----(?:\\+[rn]|\s)*[\w+/=]{16}[^-]*(?:-----END [A-Z0-9 ]*-----)?",
    ),
    Shape("a JSON web token", ("eyj",), r"eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"),
)
"""What is a secret wherever it stands."""

_START = r"(?:(?<![A-Za-z0-9])|(?<=\\[nrt]))"
"""Not in the middle of a word, but after an escape that was not undone."""
_MASKED = (
    *((shape.marks, re.compile(_START + shape.pattern)) for shape in SHAPES),
    # What may be one: nothing is lost where it is masked in vain.
    (("sk-",), re.compile(_START + r"sk-(?:(?:ant|proj|svcacct|admin)-[\w-]+|[A-Za-z0-9]{20,})")),
    (("hooks.slack.com/",), re.compile(r"(?<=hooks\.slack\.com/)[\w/-]+")),
    (("bearer ",), re.compile(r"(?<=Bearer )[\w.~+/=-]{8,}")),
    (("bearer ", "basic "), re.compile(r"(?i)(?:(?<=\bbearer )|(?<=\bbasic ))(?=[a-z.~+/_-]*[0-9=])[\w.~+/=-]{8,}")),
    (("://",), re.compile(r"(?<=://)[^/@\s]+(?=@)")),
    (
        ("key=", "token=", "secret=", "password=", "passwd="),
        re.compile(
            r"(?i)(?:(?<=api_key=)|(?<=api-key=)|(?<=apikey=)|(?<=[?&]key=)|(?<=token=)|(?<=secret=)"
            r"|(?<=password=)|(?<=passwd=))[^&\s'\"]+"
        ),
    ),
)
_MARKS = tuple({mark: None for marks, _ in _MASKED for mark in marks})
_CREDENTIAL_HEADER = re.compile(r"auth|key|token|secret|cookie|passw", re.IGNORECASE)
_SHORTEST = 8
"""Characters of a credential; one of fewer may stand anywhere by chance: servers that need none get ``none``."""
_DEEPEST = 20
"""Levels of a value that are kept; the API's own have three."""
_COLLECTIONS = (dict, list, tuple, Mapping, Set)
_HARMLESS = frozenset((bool, int, float, type(None), Decimal, date, datetime))
"""Types of which no value holds a secret; what is derived from them may."""


def credentials_in(headers: Mapping[str, str]) -> list[str]:
    """Return the credentials that a request's *headers* hold, with and without their scheme (``Bearer``)."""
    values = [value for name, value in headers.items() if _CREDENTIAL_HEADER.search(name)]
    values += [value.partition(" ")[2] for value in values]
    return sorted({value for value in values if len(value) >= _SHORTEST}, key=len, reverse=True)


def masked_text(text: str, credentials: Sequence[str] = ()) -> str:
    """Return *text* with what looks like a credential masked: keys, tokens, logins and passwords in URLs.

    Args:
        text: What is to be shown.
        credentials: What is one, whatever it looks like; the longest first.
    """
    for credential in credentials:
        text = text.replace(credential, MASK)
    lowered = text.lower()
    for mark in _MARKS:
        if mark in lowered:
            break
    else:
        return text
    for marks, pattern in _MASKED:
        if any(mark in lowered for mark in marks):
            text = pattern.sub(MASK, text)
    return text


def masked_within(value: Any, credentials: Sequence[str] = ()) -> Any:
    """Return *value* with all texts in it masked; see :func:`mapped`."""
    return mapped(value, partial(masked_text, credentials=credentials))


def mapped(value: Any, mask: Callable[[str], str], *, deepest: int = _DEEPEST) -> Any:
    """Return a JSON *value* with *mask* applied to all texts in it, names included.

    What JSON does not know is text, too, but for numbers, times and collections; what is nested too deeply is left out.
    """
    kind = type(value)
    if kind is str:
        return mask(value)
    if kind in _HARMLESS:
        return value
    if not isinstance(value, _COLLECTIONS):
        return mask(_text(value))
    if not deepest:
        return MASK
    if isinstance(value, Mapping):
        return {mask(_text(name)): mapped(item, mask, deepest=deepest - 1) for name, item in value.items()}
    return [mapped(item, mask, deepest=deepest - 1) for item in value]


def _text(value: Any) -> str:
    if type(value) is str:
        return value
    try:
        return str(value)
    except Exception:  # whatever a user's own object does there
        return f"<{type(value).__name__}>"
