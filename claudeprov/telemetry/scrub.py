"""What may be told of content: little of it, and no secret."""

from __future__ import annotations

import json
import os
from typing import Any

from claudeprov.mask import credentials_in, masked_text
from claudeprov.secret import without_secrets


def scrubbed(content: Any, limit: int) -> str:
    """Return *content* as a text of at most *limit* characters and a mark where it was cut, with secrets masked.

    A secret is what looks like one, and what the environment holds under a name that says so.

    Args:
        content: A text, or a JSON value.
        limit: Characters that are kept. What is cut is cut after masking: half a key looks like none.
    """
    if not isinstance(content, str):
        content = json.dumps(content, ensure_ascii=False, default=str)
    text = without_secrets(masked_text(content, credentials_in(os.environ)))
    return text if len(text) <= limit else f"{text[:limit]}…"
