"""What is known of each programming language: the suffixes of its files, its tree-sitter grammar and its queries.

A language is added by an entry in GRAMMARS and a file ``queries/<name>.scm``, whose captures are:

- ``@definition.<kind>`` with ``@name`` in it, and ``@body`` where it has one: what an outline shows and a symbol is.
  Where several patterns fit the same name, one with a body counts, and the outermost of those (a decorated or exported
  definition). Of the kinds, ``function`` and ``method`` have complexity.
- ``@doc``: text that documents the definition it stands in, or the file where it stands in none.
- ``@comment``: a comment that documents the definition on the line after it.
- ``@branch``: each adds one to the cyclomatic complexity of the function it stands in.
- ``@nest``: a statement that nests others; with ``@chained``, one that only goes on with the one before (``else if``).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import PurePosixPath
from typing import Any

from claudeprov.tools.extra import required
from claudeprov.tools.tool import ToolError

MAX_SECONDS = 5.0
"""Most seconds that one source is parsed, and as many that its query is matched."""

MAX_IN_ERRORS = 20_000
"""Most nodes of a source that are right within its syntax errors."""

_PIECE = 16 * 1024
_tree_sitter = required("tree_sitter")


@dataclass(frozen=True)
class Grammar:
    """A language: ``module`` and ``function`` give its grammar, ``queries`` name the files that make up its query."""

    name: str
    suffixes: tuple[str, ...]
    module: str
    function: str = "language"
    queries: tuple[str, ...] = field(default=())

    def language(self) -> Any:
        """Return tree-sitter's Language."""
        return _language(self.module, self.function)

    def parse(self, source: bytes) -> Any:
        """Return tree-sitter's Tree of the source; its nodes know their places, not their text.

        Raises:
            ToolError: It takes too long.
        """

        def piece(start: int, _: Any) -> bytes:  # of whole bytes tree-sitter would let go only when it is done
            return source[start : start + _PIECE]

        until = time.monotonic() + MAX_SECONDS
        parser = _tree_sitter.Parser(self.language())
        try:
            return parser.parse(piece, progress_callback=lambda *_: time.monotonic() > until)
        except ValueError:  # all that tree-sitter says of it
            raise _too_long() from None

    def matches(self, tree: Any) -> Iterator[dict[str, list[Any]]]:
        """Give the nodes by capture of each place that a pattern of the query fits.

        Raises:
            ToolError: It takes too long, or would: within an error the time grows with the square of its length.
        """
        if _in_errors(tree) > MAX_IN_ERRORS:
            raise ToolError("Too much of it is in syntax errors: it is not analysed; read or search it as text.")
        until = time.monotonic() + MAX_SECONDS
        for _, captures in _tree_sitter.QueryCursor(_query(self)).matches(tree.root_node):
            if time.monotonic() > until:
                raise _too_long()
            yield captures


GRAMMARS = [
    Grammar("python", (".py", ".pyi"), "tree_sitter_python"),
    Grammar(
        "javascript", (".js", ".jsx", ".mjs", ".cjs"), "tree_sitter_javascript", queries=("ecmascript", "javascript")
    ),
    Grammar(
        "typescript",
        (".ts", ".mts", ".cts"),
        "tree_sitter_typescript",
        "language_typescript",
        ("ecmascript", "typescript"),
    ),
    Grammar("tsx", (".tsx",), "tree_sitter_typescript", "language_tsx", ("ecmascript", "typescript")),
]


def grammar_of(path: str) -> Grammar | None:
    """Return the grammar for a file's name, or None."""
    suffix = PurePosixPath(path).suffix.lower()
    return next((grammar for grammar in GRAMMARS if suffix in grammar.suffixes), None)


def grammar_for(path: str) -> Grammar:
    """Return the grammar for a file's name.

    Raises:
        ToolError: There is none.
    """
    grammar = grammar_of(path)
    if grammar is None:
        raise ToolError(f"{path!r} is in no language that is parsed here; these are: {known_suffixes()}.")
    return grammar


def grammar_named(name: str) -> Grammar:
    """Return the grammar of a language.

    Raises:
        ToolError: There is none.
    """
    for grammar in GRAMMARS:
        if grammar.name == name.lower():
            return grammar
    raise ToolError(
        f"There is no language {name!r} here; there are: {', '.join(grammar.name for grammar in GRAMMARS)}."
    )


def _in_errors(tree: Any) -> int:
    """Count the nodes that are right within an error, as far as they matter."""
    count, cursor = 0, tree.walk()
    while count <= MAX_IN_ERRORS:
        node = cursor.node
        if node.is_error:
            count += node.child_count
        if node.has_error and cursor.goto_first_child():
            continue
        while not cursor.goto_next_sibling():
            if not cursor.goto_parent():
                return count
    return count


def _too_long() -> ToolError:
    return ToolError(f"It takes more than {MAX_SECONDS:g} s to parse, and is not analysed; read or search it as text.")


def known_suffixes() -> str:
    """Return the suffixes of all languages, as text."""
    return ", ".join(suffix for grammar in GRAMMARS for suffix in grammar.suffixes)


@cache
def _language(module: str, function: str) -> Any:
    return _tree_sitter.Language(getattr(required(module), function)())


@cache
def _query(grammar: Grammar) -> Any:
    folder = resources.files("claudeprov.tools") / "queries"
    text = "\n".join((folder / f"{name}.scm").read_text() for name in grammar.queries or (grammar.name,))
    return _tree_sitter.Query(grammar.language(), text)
