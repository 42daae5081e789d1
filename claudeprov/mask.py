"""What may not be shown, and what stands in its place."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

MASK = "**********"

_SECRET = re.compile(
    r"(?<![A-Za-z0-9])sk-(?:(?:ant|proj|svcacct|admin)-[\w-]+|[A-Za-z0-9]{20,})"  # Anthropic's and OpenAI's keys
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bAIza[\w-]{30,}|\bgh[pousr]_\w{20,}"
    r"|(?<=hooks\.slack\.com/)[\w/-]+"
    r"|(?<=Bearer )[\w.~+/=-]{8,}|(?<=://)[^/@\s]+(?=@)|(?<=password=)[^&\s'\"]+"
)
_CREDENTIAL_HEADER = re.compile(r"auth|key|token|secret|cookie|passw", re.IGNORECASE)
_SHORTEST = 8
"""Characters of a credential; one of fewer may stand anywhere by chance: servers that need none get ``none``."""
_DEEPEST = 20
"""Levels of a value that are kept; the API's own have three."""


def credentials_in(headers: Mapping[str, str]) -> list[str]:
    """Return the credentials that a request's *headers* hold, with and without their scheme (``Bearer``)."""
    values = [value for name, value in headers.items() if _CREDENTIAL_HEADER.search(name)]
    values += [value.partition(" ")[2] for value in values]
    return sorted({value for value in values if len(value) >= _SHORTEST}, key=len, reverse=True)


def masked_text(text: str, credentials: Sequence[str] = ()) -> str:
    """Return *text* with what looks like a credential masked: keys, bearer tokens, logins and passwords in URLs.

    Args:
        text: What is to be shown.
        credentials: What is one, whatever it looks like; the longest first.
    """
    for credential in credentials:
        text = text.replace(credential, MASK)
    return _SECRET.sub(MASK, text)


def masked_within(value: Any, credentials: Sequence[str] = (), *, deepest: int = _DEEPEST) -> Any:
    """Return a JSON *value* with all texts in it masked, names included; what is nested too deeply is left out."""
    if isinstance(value, str):
        return masked_text(value, credentials)
    if not isinstance(value, Mapping | list | tuple):
        return value
    if not deepest:
        return MASK
    if isinstance(value, Mapping):
        return {
            masked_text(str(name), credentials): masked_within(item, credentials, deepest=deepest - 1)
            for name, item in value.items()
        }
    return [masked_within(item, credentials, deepest=deepest - 1) for item in value]
