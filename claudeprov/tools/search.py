"""Search in the text of files, piece by piece, so that a deadline holds: the patterns are RE2's."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from claudeprov.tools.extra import required
from claudeprov.tools.jail import Entry, Root
from claudeprov.tools.paging import clipped, page
from claudeprov.tools.text import is_binary
from claudeprov.tools.tool import ToolError
from claudeprov.tools.tree import Walk

MAX_SECONDS = 10.0
"""Most seconds that one search goes on before it says what it did not look at."""

MAX_MATCHES = 2_000
"""Most matching lines that one search collects."""

_re2 = required("re2")
_PIECE = 16 * 1024  # bytes in which one match is looked for: RE2 cannot be stopped within them
_MEMORY = 1024 * 1024  # bytes of RE2's program and automaton; over each piece it takes up to their product in time
_WIDTH = 300  # characters of a line that are shown
_BLOCK = 20  # lines after which matches that follow each other are another place


def search_text(
    root: Root | str | Mapping[str, Any],
    pattern: str,
    path: str = ".",
    literal: bool = False,
    ignore_case: bool = False,
    globs: Sequence[str] = (),
    context: int = 0,
    ignored: bool = False,
    offset: int = 0,
) -> str:
    """Search the lines of all text files below a folder, or of one file. Use it to find where something is written.

    Returns, under each file's path, the matching lines as NUMBER:TEXT and those around them as NUMBER-TEXT. To find
    where a function or class is defined or used, a symbol look-up is more exact.

    Args:
        pattern: Regular expression in RE2 syntax (no lookaround, no backreferences); ^ and $ match at each line.
        path: Folder or file to search, relative to the root.
        literal: Take the pattern as plain text, not as a regular expression.
        ignore_case: Let upper and lower case match each other.
        globs: Search only files that fit one of these patterns, such as ["*.py", "src/**/*.ts", "!*_test.py"].
        context: Lines to show before and after each match, from 0 to 10.
        ignored: Search what .gitignore files ignore too, such as installed packages.
        offset: Number of places to leave out; a cut result says which to ask for.
    """
    expression = _compiled(pattern, literal, ignore_case)
    context = max(0, min(context, 10))
    walk = Walk(Root.of(root), path, globs, ignored=ignored)
    blocks: list[str] = []
    places: list[str] = []
    files = matches = searched = unread = 0
    notes: list[str] = []
    until = time.monotonic() + MAX_SECONDS
    for entry in walk.files():
        content = _content(walk.root, entry)
        if content is None:
            unread += 1
        else:
            searched += 1
        found = list(islice(_matching_lines(expression, content or b"", until), MAX_MATCHES - matches))
        if content and found:
            files += 1
            matches += len(found)
            blocks += _blocks(content.split(b"\n"), found, context)
            places += [entry.path] * (len(blocks) - len(places))
        if matches >= MAX_MATCHES:
            notes.append(f"stopped after {MAX_MATCHES:,} lines: make the pattern narrower")
            break
        if time.monotonic() > until:
            notes.append(f"stopped after {MAX_SECONDS:g} s: name a folder or globs")
            break
    if unread:
        notes.append(f"{unread:,} files not searched (binary, too large or unreadable)")
    notes += walk.notes
    head = f"{matches:,} matching lines in {files:,} of {searched:,} files" + "".join(f"; {note}" for note in notes)
    return page(blocks, offset, "places", head=head, headings=places)


def _compiled(pattern: str, literal: bool, ignore_case: bool) -> Any:
    options = _re2.Options()
    options.log_errors = False
    options.literal = literal
    options.never_capture = True
    options.max_mem = _MEMORY
    options.case_sensitive = not ignore_case
    if not pattern or len(pattern) > 1_000:
        raise ToolError("The pattern must have 1 to 1,000 characters.")
    try:
        return _re2.compile(pattern if literal else f"(?m){pattern}", options)
    except _re2.error as error:
        why = error.args[0].decode() if isinstance(error.args[0], bytes) else error
        raise ToolError(
            f"The pattern {pattern!r} is no regular expression of RE2: {why}. RE2 has no lookaround and no "
            "backreferences; to find the text as it is, ask with literal=true."
        ) from None


def _content(root: Root, entry: Entry) -> bytes | None:
    if entry.size > root.max_bytes:
        return None
    try:
        content = root.read(entry.path)
    except ToolError:
        return None
    return None if is_binary(content) else content


def _matching_lines(expression: Any, content: bytes, until: float) -> Iterator[int]:
    """Give the number of each line in which a match begins, as long as there is time."""
    number, counted, last = 1, 0, 0
    for begin, end in _pieces(content):
        while begin < end and time.monotonic() <= until:
            match = expression.search(content, begin, end)
            if match is None or match.start() == len(content):  # past the last newline is no line
                break
            number += content.count(b"\n", counted, match.start())
            counted = match.start()
            if number != last:
                yield number
                last = number
            line_end = content.find(b"\n", match.start(), end)
            begin = max(match.end(), line_end + 1) if line_end >= 0 else end


def _pieces(content: bytes) -> Iterator[tuple[int, int]]:
    """Cut at line ends, and where a line is longer than a piece within it."""
    begin = 0
    while begin < len(content):
        end = begin + _PIECE
        if end < len(content):
            end = content.rfind(b"\n", begin, end) + 1 or end
        yield begin, min(end, len(content))
        begin = end


def _blocks(lines: Sequence[bytes], numbers: Sequence[int], context: int) -> Iterator[str]:
    """Give the matching lines with those around them; what overlaps is one block."""
    begin = 0
    for index, number in enumerate(numbers, 1):
        joined = index < len(numbers) and numbers[index] - context <= number + context + 1
        if context and joined and number - numbers[begin] < _BLOCK:
            continue
        matching = set(numbers[begin:index])
        around = range(max(1, numbers[begin] - context), min(len(lines), number + context) + 1)
        yield "\n".join(f"{n}{':' if n in matching else '-'}{_shown(lines[n - 1])}" for n in around)
        begin = index


def _shown(line: bytes) -> str:
    return clipped(line.decode("utf-8", "replace").rstrip("\r"), _WIDTH)
