"""What may be told of calls: no secret, and little of their content."""

from __future__ import annotations

import json
import os
from functools import lru_cache
from typing import Any

from claudeprov.mask import credentials_in, mapped, masked_text
from claudeprov.secret import without_secrets

_LONGEST = 200
"""Characters of a text that is remembered: names come again and again."""
_credentials: list[str] = []


def heed_environment() -> None:
    """Take note of the credentials that the environment holds now, in variables whose names say so.

    It takes long enough to be done when a provider is opened, and not at each call.
    """
    if (found := credentials_in(os.environ)) != _credentials:
        _credentials[:] = found
        _remembered.cache_clear()


def text_without_secrets(text: str) -> str:
    """Return *text* with the credentials of the environment masked, and what looks like one."""
    return _remembered(text) if len(text) <= _LONGEST else masked_text(text, _credentials)


def without_secrets_within(value: Any) -> Any:
    """Return *value* with all texts in it as :func:`text_without_secrets` leaves them; see :func:`mapped`."""
    return mapped(value, text_without_secrets)


def scrubbed(content: Any, limit: int) -> str:
    """Return *content* as a text of at most *limit* characters and a mark where it was cut, with secrets masked.

    Args:
        content: A text, or a JSON value. What only might be a secret, random words beside names that say so, is too.
        limit: Characters that are kept. What is cut is cut after masking: half a key looks like none.
    """
    if not isinstance(content, str):
        content = json.dumps(content, ensure_ascii=False, default=str)
    text = without_secrets(text_without_secrets(content))
    return text if len(text) <= limit else f"{text[:limit]}…"


@lru_cache(maxsize=1024)
def _remembered(text: str) -> str:
    return masked_text(text, _credentials)
