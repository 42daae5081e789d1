"""A parsed file: its definitions, with what documents them and how complex they are."""

from __future__ import annotations

import inspect
import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from claudeprov.tools.grammar import Grammar
from claudeprov.tools.paging import clipped
from claudeprov.tools.tool import ToolError

MAX_DEPTH = 200
"""Most definitions that hold each other in a file."""

MAX_NAME = 200
"""Most characters of a name."""

_MAX_INDENT = 1_000
_QUOTES = re.compile(r"""^[A-Za-z]*("{3}|'{3}|["'])(.*)\1$""", re.DOTALL)
_MARGIN = re.compile(r"^[ \t]*(?:/\*\*?|\*/|\*|//[/!]?|#)?[ \t]?|[ \t]*\*/[ \t]*$", re.MULTILINE)
_BRACKETS = re.compile(r"(?<=[(\[]) |,? (?=[)\]])")  # what is left of line ends within them
_CALLABLE = frozenset({"function", "method"})


@dataclass
class Definition:
    """A class, function or other name that a file defines.

    ``cyclomatic`` is 1 and one for each decision, as McCabe counts them, boolean operators and conditional expressions
    included (T. J. McCabe, A Complexity Measure, 1976); ``nesting`` the most statements that are nested in each other.
    What stands in a named function within a function counts for the inner one alone.
    """

    kind: str
    name: str
    signature: str
    first: int
    """Its first line, counted from 1, decorators included."""
    last: int
    span: tuple[int, int] = field(repr=False)
    at: int = field(repr=False)
    """The byte where its name stands."""
    has_body: bool = field(repr=False)
    holder: Definition | None = None
    depth: int = 0
    """How many definitions hold it."""
    doc: str = ""
    cyclomatic: int = 1
    nesting: int = 0

    @property
    def qualified(self) -> str:
        """Its name after those of the definitions that hold it."""
        names = [self.name]
        holder = self.holder
        while holder:
            names.append(holder.name)
            holder = holder.holder
        return ".".join(reversed(names))

    @property
    def lines(self) -> int:
        """How many lines it takes."""
        return self.last - self.first + 1

    @property
    def summary(self) -> str:
        """The first line of what documents it."""
        return clipped(self.doc.split("\n", 1)[0], 200)

    @property
    def measured(self) -> bool:
        """Whether its complexity was measured: it is a function, and has a body."""
        return self.kind in _CALLABLE and self.has_body


@dataclass
class Source:
    """A parsed file, its definitions in order."""

    content: bytes
    tree: Any
    definitions: list[Definition]
    doc: str = ""

    def holder_of(self, byte: int) -> Definition | None:
        """Return the innermost definition around a byte."""
        count = bisect_right(self.definitions, byte, key=lambda found: found.span[0])
        found = self.definitions[count - 1] if count else None
        while found and found.span[1] <= byte:
            found = found.holder
        return found

    def fault_line(self) -> int | None:
        """Return the line of the first syntax error, or None."""
        if not self.tree.root_node.has_error:
            return None
        return next((node.start_point.row + 1 for node in faults(self.tree)), None)


def parse(content: bytes, grammar: Grammar) -> Source:
    """Parse a file's bytes; what is wrong in them is skipped, as tree-sitter does.

    Raises:
        ToolError: More than MAX_DEPTH definitions hold each other, or it takes too long.
    """
    tree = grammar.parse(content)
    found: dict[int, Definition] = {}
    nodes: dict[str, list[Any]] = {"doc": [], "comment": [], "branch": [], "nest": [], "chained": []}
    for captures in grammar.matches(tree):
        if "name" in captures:
            definition = _definition(captures, content)
            known = found.get(definition.at)
            if known is None or _rank(definition) > _rank(known):
                found[definition.at] = definition
        for capture in nodes.keys() & captures.keys():
            nodes[capture] += captures[capture]
    source = Source(content, tree, sorted(found.values(), key=lambda found: (found.span[0], -found.span[1])))
    _nest(source.definitions)
    _document(source, nodes["doc"], nodes["comment"])
    chained = {node.id for node in nodes["chained"]}
    _measure(source.definitions, nodes["branch"], [node for node in nodes["nest"] if node.id not in chained])
    return source


def faults(tree: Any) -> Iterable[Any]:
    """Give the nodes that are errors or stand for what is missing, in order."""
    cursor = tree.walk()
    while True:
        node = cursor.node
        if node.is_error or node.is_missing:
            yield node
        if node.has_error and not node.is_error and cursor.goto_first_child():
            continue
        while not cursor.goto_next_sibling():
            if not cursor.goto_parent():
                return


def _definition(captures: Mapping[str, list[Any]], content: bytes) -> Definition:
    capture = next(capture for capture in captures if capture.startswith("definition."))
    node, name = captures[capture][0], captures["name"][0]
    body = captures["body"][0] if "body" in captures else None
    head = content[node.start_byte : body.start_byte if body else node.end_byte].decode("utf-8", "replace")
    return Definition(
        kind=capture.removeprefix("definition."),
        name=clipped(_text(name, content), MAX_NAME),
        signature=clipped(_on_one_line(head).rstrip(":;{ "), 300 if body else 120),
        first=node.start_point.row + 1,
        last=node.end_point.row + 1,
        span=(node.start_byte, node.end_byte),
        at=name.start_byte,
        has_body=body is not None,
    )


def _text(node: Any, content: bytes) -> str:
    return content[node.start_byte : node.end_byte].decode("utf-8", "replace")


def _on_one_line(code: str) -> str:
    return _BRACKETS.sub("", " ".join(code.split()))


def _rank(definition: Definition) -> tuple[bool, int]:
    start, end = definition.span
    return definition.has_body, end - start


def _nest(definitions: Iterable[Definition]) -> None:
    around: list[Definition] = []
    for definition in definitions:
        while around and around[-1].span[1] <= definition.span[0]:
            around.pop()
        if around:
            definition.holder = around[-1]
            definition.depth = len(around)
            if definition.holder.kind == "class" and definition.kind == "function":
                definition.kind = "method"
        around.append(definition)
        if len(around) > MAX_DEPTH:
            raise ToolError(f"Line {definition.first} is in more than {MAX_DEPTH} definitions: this is not analysed.")


def _document(source: Source, docs: Iterable[Any], comments: Iterable[Any]) -> None:
    for node in docs:
        text = _text(node, source.content)
        quoted = _QUOTES.match(text)
        doc = inspect.cleandoc(quoted[2] if quoted else text)
        if holder := source.holder_of(node.start_byte):
            holder.doc = doc
        else:
            source.doc = doc
    before: dict[int, list[str]] = {}
    for node in sorted(comments, key=lambda node: node.start_byte):
        first, last = node.start_point.row, node.end_point.row
        indent = node.start_point.column
        if indent > _MAX_INDENT or source.content[node.start_byte - indent : node.start_byte].strip():
            continue  # it is about what stands before it
        before[last] = before.pop(first - 1, [])
        if text := _MARGIN.sub("", _text(node, source.content)).strip():
            before[last].append(text)
    for definition in source.definitions:
        definition.doc = definition.doc or "\n".join(before.get(definition.first - 2, ()))


def _measure(definitions: Iterable[Definition], branches: Iterable[Any], nests: Iterable[Any]) -> None:
    """Go through functions, decisions and nested statements in order of where they begin."""
    events: list[tuple[int, int, Definition | None, bool]] = [
        (definition.span[0], -definition.span[1], definition, False)
        for definition in definitions
        if definition.measured
    ]
    events += [(node.start_byte, -node.end_byte, None, True) for node in branches]
    events += [(node.start_byte, -node.end_byte, None, False) for node in nests]
    functions: list[tuple[Definition, list[int]]] = []  # each with the ends of the statements that are open in it
    for start, negative_end, definition, is_branch in sorted(events, key=lambda event: event[:2]):
        while functions and functions[-1][0].span[1] <= start:
            functions.pop()
        if definition is not None:
            functions.append((definition, []))
        elif functions:
            function, ends = functions[-1]
            if is_branch:
                function.cyclomatic += 1
                continue
            while ends and ends[-1] <= start:
                ends.pop()
            ends.append(-negative_end)
            function.nesting = max(function.nesting, len(ends))
