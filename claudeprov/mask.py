"""What may not be shown, and what stands in its place."""

from __future__ import annotations

import re

MASK = "**********"

_SECRET = re.compile(
    r"\bsk-(?:ant|proj|svcacct|admin)-[\w-]+|\bsk-[A-Za-z0-9]{20,}"  # Anthropic's and OpenAI's keys
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bAIza[\w-]{30,}|\bgh[pousr]_\w{20,}"
    r"|(?<=Bearer )[\w.~+/=-]{8,}|(?<=://)[^/@\s]+(?=@)"
)


def masked_text(text: str) -> str:
    """Return *text* with what looks like a credential masked: keys, bearer tokens, users and passwords of URLs."""
    return _SECRET.sub(MASK, text)
