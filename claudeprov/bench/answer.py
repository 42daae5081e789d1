"""What an answer says: the code in it, or the one value asked for. Reads text only and runs nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from textwrap import dedent

_FENCED = re.compile(r"^[ \t]*```[ \t]*([\w+-]*)[^\n]*\n(.*?)(?:^[ \t]*```|\Z)", re.MULTILINE | re.DOTALL)
_CODE_BEGINS = re.compile(r"^(?:@|(?:async[ ]+)?def\s|class\s|from\s+\w+\s+import\s|import\s)", re.MULTILINE)
_PYTHON = {"", "python", "python3", "py"}
_MARKER = re.compile(r"\banswer[*_ ]*:", re.IGNORECASE)
_THOUSANDS = re.compile(r"(?<=\d)[,_](?=\d{3}(?!\d))")
_WRAPPERS = "`*_\"' \t"


def code_of(text: str, name: str) -> str | None:
    """Return the code in *text* that defines *name*, or ``None``.

    The last fenced block of Python that does so counts, closed or cut off, as models correct themselves. Without
    fences it is the text from its first line of code on.
    """
    definition = re.compile(rf"^(?:(?:async[ ]+)?def|class)\s+{name}\b|^{name}\s*=", re.MULTILINE)
    blocks = [dedent(code) for label, code in _FENCED.findall(text) if label.lower() in _PYTHON]
    if "```" not in text:
        begins = _CODE_BEGINS.search(text)
        blocks = [text[begins.start() :]] if begins else []
    return next((code for code in reversed(blocks) if definition.search(code)), None)


def value_of(text: str) -> str:
    """Return the line in which *text* gives its answer, bare of Markdown.

    That is what follows the last ``Answer:``, or else the first line; fences and empty lines do not count.
    """
    marked = list(_MARKER.finditer(text))
    if marked:
        text = text[marked[-1].end() :]
    lines = (line.strip(_WRAPPERS) for line in text.splitlines() if not line.lstrip().startswith("```"))
    return next((line for line in lines if line), "")


def is_right(text: str, answer: int | str, choices: Sequence[str] = ()) -> bool:
    """Say whether *text* gives *answer* and no other.

    A number: it is the only whole number in the answer's line; it may have separators of thousands, as in ``1,000``.
    A choice: it is the only one of *choices* named there, whatever the case and spaces. A text: it is the line, but for
    runs of spaces, quotes and a full stop at the end.
    """
    line = value_of(text)
    if isinstance(answer, int):
        line = _THOUSANDS.sub("", line)
        return {int(number) for number in re.findall(r"(?<![\w.])-?\d{1,18}(?![\w]|\.\d)", line)} == {answer}
    if choices:
        return _named(line, choices) == {answer}
    return _plain(line) == _plain(answer)


def _named(line: str, choices: Sequence[str]) -> set[str]:
    """Which of *choices* stand in *line* as words of their own; the longest wins where one holds another."""
    line = line.replace("²", "^2").replace("³", "^3").replace("**", "^")
    found = set()
    for choice in sorted(choices, key=len, reverse=True):
        pattern = r"\s*".join(re.escape(part) for part in re.findall(r"\w+|\S", choice))
        line, hits = re.subn(rf"(?<!\w){pattern}(?!\w)", " ", line, flags=re.IGNORECASE)
        if hits:
            found.add(choice)
    return found


def _plain(line: str) -> str:
    return " ".join(line.split()).removesuffix(".").strip(_WRAPPERS)
