"""What is written to a terminal, and what may be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from claudeprov.provider import AnthropicClaudeProvider

_CONTROLS = {code: None for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}
"""What could move a terminal's cursor, set its title or type on its user's behalf."""


def printable(text: str, out: TextIO) -> str:
    """Take from *text* what a terminal would obey; a file or a pipe gets all of it."""
    return text.translate(_CONTROLS) if out.isatty() else text


def opening_notes(provider: AnthropicClaudeProvider) -> Iterator[str]:
    """What is to be known of a provider that has just been opened, a line each: whose answers it gives, unless its log
    has said so here, and where its metrics are."""
    telemetry = provider.settings.telemetry
    if provider.cassette_note and (telemetry is None or telemetry.log == "host"):
        yield provider.cassette_note
    if provider.metrics_url:
        yield f"metrics: {provider.metrics_url}"
