"""The tool that shows what a file defines without its code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from claudeprov.tools.grammar import grammar_for
from claudeprov.tools.jail import Root
from claudeprov.tools.paging import clipped, page
from claudeprov.tools.source import Definition, parse

MAX_DOC = 4_000
"""Most characters of the documentation of one definition."""


def outline_file(root: Root | str | Mapping[str, Any], path: str, full_docs: bool = False, offset: int = 0) -> str:
    """Show the outline of a source file: its classes, functions, signatures and documentation, without their code.

    Use it before you read a file, to see what is in it and on which lines. Returns one definition a line, indented as
    they hold each other: its first and last line, its signature, then the first line of its documentation. For Python,
    JavaScript and TypeScript.

    Args:
        path: File to outline, relative to the root.
        full_docs: Show documentation in full, not only its first line.
        offset: Number of definitions to leave out; a cut outline says which to ask for.
    """
    root = Root.of(root)
    grammar = grammar_for(path)
    source = parse(root.read(path), grammar)
    lines = source.content.count(b"\n") + (not source.content.endswith(b"\n") and bool(source.content))
    head = f"{path}: {grammar.name}, {lines:,} lines, {len(source.definitions):,} definitions"
    if (line := source.fault_line()) is not None:
        head += f"; a syntax error in line {line} may hide some"
    if source.doc and not offset:
        head += "\n" + _indented(
            clipped(source.doc, MAX_DOC) if full_docs else clipped(source.doc.split("\n", 1)[0]), 2
        )
    return page([_block(found, full_docs) for found in source.definitions], offset, "definitions", head=head)


def _block(definition: Definition, full_docs: bool) -> str:
    line = f"{'  ' * definition.depth}{definition.first}-{definition.last}  {definition.signature}"
    if full_docs and definition.doc:
        return line + "\n" + _indented(clipped(definition.doc, MAX_DOC), 2 * definition.depth + 4)
    return f"{line}  — {definition.summary}" if definition.doc else line


def _indented(text: str, width: int) -> str:
    return "\n".join((" " * width + line).rstrip() for line in text.split("\n"))
