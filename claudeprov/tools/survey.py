"""Tools that parse all source files below a folder: where a name is defined and used, which functions are complex."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal

from claudeprov.tools.grammar import grammar_of
from claudeprov.tools.jail import Root
from claudeprov.tools.paging import clipped, page
from claudeprov.tools.source import Source, parse
from claudeprov.tools.tool import ToolError
from claudeprov.tools.tree import Walk

MAX_SECONDS = 20.0
"""Most seconds that one survey goes on before it says what it did not look at."""

MAX_FOUND = 2_000
"""Most places of a name that one survey collects."""

_NAME = re.compile(r"#?[\w$]+(?:\.#?[\w$]+)*")


@dataclass
class Survey:
    """The source files below a path, parsed one after the other, those alone that hold a certain word."""

    root: Root
    path: str
    globs: Sequence[str]
    word: re.Pattern[bytes] | None = None
    files: int = field(default=0, init=False)
    notes: list[str] = field(default_factory=list, init=False)
    until: float = field(default=0.0, init=False)

    def __iter__(self) -> Iterator[tuple[str, Source]]:
        walk = Walk(self.root, self.path, self.globs)
        unread = 0
        self.until = time.monotonic() + MAX_SECONDS
        for entry in walk.files():
            grammar = grammar_of(entry.path)
            if grammar is None:
                continue
            if time.monotonic() > self.until:
                break
            self.files += 1
            try:
                content = self.root.read(entry.path)
                if self.word is not None and not self.word.search(content):
                    continue
                source = parse(content, grammar)
            except ToolError:
                unread += 1
                continue
            yield entry.path, source
        if time.monotonic() > self.until:
            self.notes.append(f"stopped after {MAX_SECONDS:g} s: name a folder or globs")
        if unread:
            self.notes.append(f"{unread:,} files not parsed (too large, faulty, deep or slow to parse, or unreadable)")
        self.notes += walk.notes


def find_symbol(
    root: Root | str | Mapping[str, Any],
    name: str,
    path: str = ".",
    show: Literal["all", "definitions", "references"] = "all",
    globs: Sequence[str] = (),
    offset: int = 0,
) -> str:
    """Find where a class, function, method, type or variable is defined and where it is used, in all source files.

    Use it rather than a text search for names in code: comments and strings do not count. It goes by the name alone,
    so that two things of one name are both found. Returns, under each file's path, the signature and the first line of
    documentation of definitions, and the line and the function around it of uses. For Python, JavaScript, TypeScript.

    Args:
        name: The name, such as parse; or with what holds it, such as Parser.parse, which picks among the definitions.
        path: Folder or file to look in, relative to the root.
        show: Only definitions, only references, or all.
        globs: Look only in files that fit one of these patterns, such as ["*.py", "!tests/"].
        offset: Number of places to leave out; a cut result says which to ask for.
    """
    if not _NAME.fullmatch(name):
        raise ToolError(
            f"{name!r} is no name; give one such as parse or Parser.parse. For other text use a text search."
        )
    word = re.compile(rb"(?<![\w$])%s(?![\w$])" % re.escape(name.rpartition(".")[2].encode()))
    survey = Survey(Root.of(root), path, globs, word)
    definitions: list[tuple[str, str]] = []
    references: list[tuple[str, str]] = []
    for place, source in survey:
        if show != "references":
            defined = ((f"defined in {place}", text) for text in _definitions(source, name))
            definitions += islice(defined, MAX_FOUND - len(definitions) - len(references))
        if show != "definitions":
            used = ((f"used in {place}", text) for text in _references(source, word, survey.until))
            references += islice(used, MAX_FOUND - len(definitions) - len(references))
        if len(definitions) + len(references) >= MAX_FOUND:
            survey.notes.append(f"stopped after {MAX_FOUND:,} places: name a folder")
            break
    found = definitions + references
    head = f"{name}: {len(definitions):,} definitions and {len(references):,} uses in {survey.files:,} source files"
    head = "; ".join([head, *survey.notes])
    return page([text for _, text in found], offset, "places", head=head, headings=[heading for heading, _ in found])


def complexity(
    root: Root | str | Mapping[str, Any],
    path: str = ".",
    least: int = 1,
    globs: Sequence[str] = (),
    offset: int = 0,
) -> str:
    """Measure the functions of a file or of all source files below a folder, the most complex first.

    Use it to find what is hard to understand, to test or to change. Returns for each function its cyclomatic complexity
    (1 and one for each decision, boolean operators included; over 10 is much), how deep its statements nest, and its
    length in lines. For Python, JavaScript and TypeScript.

    Args:
        path: Folder or file to measure, relative to the root.
        least: Show only functions of at least this cyclomatic complexity.
        globs: Measure only files that fit one of these patterns, such as ["*.py", "!tests/"].
        offset: Number of functions to leave out; a cut result says which to ask for.
    """
    survey = Survey(Root.of(root), path, globs)
    functions = [(place, found) for place, source in survey for found in source.definitions if found.measured]
    functions.sort(key=lambda measured: (-measured[1].cyclomatic, -measured[1].nesting, measured[0], measured[1].first))
    figures = [function.cyclomatic for _, function in functions]
    head = f"{len(functions):,} functions in {survey.files:,} source files"
    if figures:
        over = sum(figure > 10 for figure in figures)
        head += f"; cyclomatic complexity: median {statistics.median(figures):g}, most {figures[0]}, {over:,} over 10"
    head = "; ".join([head, *survey.notes]) + "\ncyclomatic  nesting  lines  function"
    blocks = [
        f"{found.cyclomatic:>10}  {found.nesting:>7}  {found.lines:>5}  "
        f"{place}:{found.first} {clipped(found.qualified, 200)}"
        for place, found in functions
        if found.cyclomatic >= least
    ]
    return page(blocks, offset, "functions", head=head)


def _definitions(source: Source, name: str) -> Iterator[str]:
    for found in source.definitions:
        if found.qualified == name or found.qualified.endswith(f".{name}"):
            doc = f"  — {found.summary}" if found.doc else ""
            holder = f" (in {clipped(found.holder.qualified, 200)})" if found.holder else ""
            yield f"{found.first}-{found.last}  {found.kind}{holder}  {found.signature}{doc}"


def _references(source: Source, word: re.Pattern[bytes], until: float) -> Iterator[str]:
    defined = {found.at for found in source.definitions}
    lines = source.content.split(b"\n")
    last = None
    for match in word.finditer(source.content):
        if time.monotonic() > until:
            return
        node = source.tree.root_node.descendant_for_byte_range(*match.span())
        row = node.start_point.row
        exact = (node.start_byte, node.end_byte) == match.span()
        if row == last or match.start() in defined or not exact or "identifier" not in node.type:
            continue
        last = row
        holder = source.holder_of(match.start())
        around = f"  (in {clipped(holder.qualified, 200)})" if holder else ""
        yield f"{row + 1}:{clipped(lines[row].decode('utf-8', 'replace').strip(), 200)}{around}"
