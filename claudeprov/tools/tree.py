"""Walks below a root by the rules of .gitignore files, and the tool that lists them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from claudeprov.tools.jail import Entry, Root
from claudeprov.tools.paging import page
from claudeprov.tools.patterns import Patterns
from claudeprov.tools.tool import ToolError

CLUTTER = (
    "node_modules/",
    "__pycache__/",
    "*.pyc",
    ".venv/",
    ".tox/",
    ".nox/",
    ".mypy_cache/",
    ".pytest_cache/",
    ".ruff_cache/",
    ".DS_Store",
)
"""Ignored everywhere, unless a .gitignore file says otherwise."""

MAX_VISITED = 100_000
"""Most entries that one walk looks at."""

MAX_SECONDS = 20.0
"""Most seconds that one walk goes on, with what is done meanwhile about what it found."""

MAX_RULES = 10_000
"""Most lines of all .gitignore files of one walk that are heeded."""

Rules: TypeAlias = tuple[tuple[str, Patterns], ...]


@dataclass
class Walk:
    """A walk over the files and folders below a path, folder by folder, in order of their names.

    Args:
        root: Where it is jailed.
        path: Where it begins.
        globs: Patterns of the files wanted; all where left out. Folders come whether they fit or not.
        depth: How many levels of folders are entered; all where None.
        ignored: Whether what .gitignore files ignore comes too.
    """

    root: Root
    path: str = "."
    globs: Sequence[str] = ()
    depth: int | None = None
    ignored: bool = False
    left_out: int = field(default=0, init=False)
    """Entries that were met and left out: ignored, hidden, unreadable, or with a name that no path may hold."""
    stopped: str = field(default="", init=False)
    """The bound at which the walk ended before it was through, or nothing."""
    _lines: int = field(default=0, init=False, repr=False)

    def __iter__(self) -> Iterator[Entry]:
        start = self.root.resolve(self.path)
        self.left_out, self.stopped, self._lines = 0, "", 0
        until = time.monotonic() + MAX_SECONDS
        visited = 0
        wanted = Patterns(self.globs) if self.globs else None
        ahead = [(start, 1, () if self.ignored else self._rules_above(start))]
        while ahead:
            place, level, rules = ahead.pop()
            try:
                folder = self.root.scan(place)
            except ToolError:
                if place == start:
                    raise
                self.left_out += 1
                continue
            self.left_out += folder.unseen
            if not self.ignored:
                rules = self._with_rules(rules, place, folder.entries)
            below: list[tuple[str, int, Rules]] = []
            for entry in folder.entries:
                visited += 1
                if visited > MAX_VISITED:
                    self.stopped = f"{MAX_VISITED:,} entries"
                    return
                if time.monotonic() > until:
                    self.stopped = f"{MAX_SECONDS:g} s"
                    return
                if _ignores(rules, entry):
                    self.left_out += 1
                elif entry.kind == "folder":
                    yield entry
                    if self.depth is None or level < self.depth:
                        below.append((entry.path, level + 1, rules))
                elif wanted is None or wanted.match(entry.path):
                    yield entry
            ahead.extend(reversed(below))

    def files(self) -> Iterator[Entry]:
        """Only the files; the one file where the path names a file."""
        if not self.root.is_folder(self.path):
            yield Entry(self.root.resolve(self.path), "file")
            return
        yield from (entry for entry in self if entry.kind == "file")

    @property
    def notes(self) -> list[str]:
        """What the reader of a walk's result has to know of it, once it is through."""
        notes = []
        if self.left_out:
            notes.append(
                f"{self.left_out:,} ignored or hidden" + ("" if self.ignored else " (ignored=true shows ignored ones)")
            )
        if self.stopped:
            notes.append(f"stopped after {self.stopped}: name a folder below")
        if self._lines >= MAX_RULES:
            notes.append(f"only {MAX_RULES:,} lines of .gitignore files count")
        return notes

    def _rules_above(self, start: str) -> Rules:
        rules: Rules = (("", Patterns(CLUTTER)),)
        parts = [] if start == "." else start.split("/")
        for count in range(len(parts)):
            place = "/".join(parts[:count]) or "."
            rules = self._with_rules(rules, place, self.root.scan(place).entries)
        return rules

    def _with_rules(self, rules: Rules, place: str, entries: Sequence[Entry]) -> Rules:
        """Put a folder's own rules before those of the folders above."""
        prefix = "" if place == "." else place + "/"
        if not any(entry.kind == "file" and entry.path == prefix + ".gitignore" for entry in entries):
            return rules
        try:
            lines = self.root.read(prefix + ".gitignore").decode("utf-8", "replace").split("\n")
        except ToolError:  # it cannot be read, or is gone
            return rules
        lines = [line.removesuffix("\r") for line in lines[: MAX_RULES - self._lines]]
        self._lines += len(lines)
        return ((prefix, Patterns(lines, forgiving=True)), *rules) if lines else rules


def list_files(
    root: Root | str | Mapping[str, Any],
    path: str = ".",
    depth: int = 2,
    globs: Sequence[str] = (),
    ignored: bool = False,
    offset: int = 0,
) -> str:
    """List the files and folders below a folder. Use it first, to learn how a project is laid out or where a file is.

    Returns one path a line, relative to the root, as the other tools take it: folders end with /, files have their
    size. What .gitignore files and the configuration leave out is only counted. Long lists are cut, and say so.

    Args:
        path: Folder to list, relative to the root; . is the root.
        depth: How many levels of folders to enter, from 1 to 20.
        globs: Show only files that fit one of these patterns, such as ["*.py", "src/**/*.ts", "!*_test.py"].
        ignored: Show what .gitignore files ignore too, such as installed packages and build results.
        offset: Number of lines to leave out; a cut list says which to ask for.
    """
    walk = Walk(Root.of(root), path, globs, max(1, min(depth, 20)), ignored)
    lines = [_line(entry) for entry in walk if entry.kind != "folder" or not globs]
    head = f"{walk.root.resolve(path)}/: {len(lines):,} entries to depth {walk.depth}"
    head += "".join(f"; {note}" for note in walk.notes)
    return page(lines, offset, "entries", head=head)


def _line(entry: Entry) -> str:
    match entry.kind:
        case "folder":
            return entry.path + "/"
        case "file":
            return f"{entry.path}  {entry.size:,} bytes"
        case "link":
            return f"{entry.path}  (symbolic link)"
    return f"{entry.path}  (device, FIFO or socket: cannot be read)"


def _ignores(rules: Rules, entry: Entry) -> bool:
    """Ask the rules of the innermost folder first, as git does."""
    name = entry.path + ("/" if entry.kind == "folder" else "")
    for prefix, patterns in rules:
        decided = patterns.match(name[len(prefix) :])
        if decided is not None:
            return decided
    return False
