"""Patterns as in .gitignore files, matched by RE2: one that a model or a repository wrote may not take for ever."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from claudeprov.tools.extra import required
from claudeprov.tools.tool import ToolError

_GitIgnoreSpec = required("pathspec").GitIgnoreSpec
_FAULTS = (ValueError, re.error, required("re2").error)


class Patterns:
    """Patterns such as ``*.py``, ``src/**/*.ts`` and ``!tests/``, of which the last that fits decides.

    Args:
        lines: The patterns, as the lines of a .gitignore file.
        forgiving: Leave out what is no pattern, as git does.
    Raises:
        ToolError: One of them is no pattern.
    """

    def __init__(self, lines: Sequence[str], *, forgiving: bool = False) -> None:
        self._specs = _compiled(lines, forgiving)

    def match(self, path: str) -> bool | None:
        """Whether the path is taken (True) or given back (False); None where no pattern fits."""
        for spec in reversed(self._specs):
            taken: bool | None = spec.check_file(path).include
            if taken is not None:
                return taken
        return None


def _compiled(lines: Sequence[str], forgiving: bool) -> list[Any]:
    try:
        return [_GitIgnoreSpec.from_lines(lines, backend="re2")]
    except _FAULTS as error:
        if len(lines) > 1:  # too many for one automaton, or one of them is at fault
            middle = len(lines) // 2
            return _compiled(lines[:middle], forgiving) + _compiled(lines[middle:], forgiving)
        if forgiving:
            return []
        raise ToolError(f"{lines[0]!r} is no pattern; give some such as *.py, src/**/*.ts or !tests/.") from error
