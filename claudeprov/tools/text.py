"""Text of files: told when it is none, and lines counted as editors and compilers count them."""

from __future__ import annotations

from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from claudeprov.tools.jail import Root
from claudeprov.tools.paging import MAX_CHARS, MAX_LINE, clipped, fitting
from claudeprov.tools.tool import ToolError

_SIGNATURES = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a ZIP archive",
    b"\x1f\x8b": "gzip data",
    b"\x7fELF": "an ELF program",
    b"SQLite format 3": "an SQLite database",
}


@dataclass(frozen=True)
class Text:
    """The text of a file; ``note`` says what was wrong with its encoding, if anything was."""

    content: str
    note: str = ""

    @property
    def lines(self) -> list[str]:
        lines = self.content.split("\n")
        if lines[-1] == "":
            lines.pop()
        return [line.removesuffix("\r") for line in lines]


def is_binary(content: bytes) -> bool:
    """Whether bytes are no text: a NUL stands among the first of them, as git decides."""
    return b"\0" in content[:8192]


def read_text(root: Root, path: str) -> Text:
    """Read a file as UTF-8, or UTF-16 where it begins with its mark; bytes that are neither become U+FFFD.

    Raises:
        ToolError: The file is binary, or cannot be read.
    """
    content = root.read(path)
    if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        return Text(content.decode("utf-16", "replace"), "The file is UTF-16.")
    if is_binary(content):
        what = next((name for start, name in _SIGNATURES.items() if content.startswith(start)), "not text")
        raise ToolError(f"{path!r} is binary ({what}, {len(content):,} bytes); only text is shown.")
    content = content.removeprefix(BOM_UTF8)
    try:
        return Text(content.decode())
    except UnicodeDecodeError as error:
        wrong, line = content[error.start], content.count(b"\n", 0, error.start) + 1
        note = (
            f"The file is not UTF-8: byte 0x{wrong:02x} in line {line} is none of it; such bytes are shown as \ufffd."
        )
        return Text(content.decode(errors="replace"), note)


def read_lines(
    root: Root | str | Mapping[str, Any], path: str, start: int = 1, end: int | None = None, column: int = 1
) -> str:
    """Read lines of a text file. Use it to see code once you know where it is, by an outline, a symbol or a search.

    Returns the lines with their numbers, the number and a tab before each. A long range is cut, and says how to go on.

    Args:
        path: File to read, relative to the root.
        start: First line, counted from 1.
        end: Last line, included; the end of the file if left out.
        column: First character of each line, counted from 1: for files with lines that are too long to show.
    """
    text = read_text(Root.of(root), path)
    lines = text.lines
    if start < 1 or column < 1 or (end is not None and end < start):
        raise ToolError("start and column count from 1, and end is not before start.")
    if not lines:
        return "[The file is empty.]"
    if start > len(lines):
        raise ToolError(f"{path!r} has {len(lines):,} lines; ask for a start of at most that.")
    wanted = lines[start - 1 : end]
    blocks = [f"{number:>6}\t{clipped(line[column - 1 :])}" for number, line in enumerate(wanted, start)]
    shown = fitting(blocks, MAX_CHARS)
    notes = [text.note] if text.note else []
    if shown < len(blocks):
        notes.append(
            f"Cut: lines {start:,} to {start + shown - 1:,} of {len(lines):,}. Go on with start={start + shown}."
        )
    elif start + shown - 1 < len(lines):
        notes.append(f"The file has {len(lines):,} lines.")
    if any(len(line) >= column + MAX_LINE for line in wanted[:shown]):
        notes.append(f"Lines that were cut go on with column={column + MAX_LINE}.")
    return "\n".join([*blocks[:shown], *(f"[{note}]" for note in notes)])
