"""What may be written to a terminal."""

from __future__ import annotations

from typing import TextIO

_CONTROLS = {code: None for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}
"""What could move a terminal's cursor, set its title or type on its user's behalf."""


def printable(text: str, out: TextIO) -> str:
    """Take from *text* what a terminal would obey; a file or a pipe gets all of it."""
    return text.translate(_CONTROLS) if out.isatty() else text
