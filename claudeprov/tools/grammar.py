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

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import PurePosixPath
from typing import Any

from claudeprov.tools.extra import required
from claudeprov.tools.tool import ToolError

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
        """Return tree-sitter's Tree of the source."""
        return _tree_sitter.Parser(self.language()).parse(source)

    def matches(self, tree: Any) -> Iterable[dict[str, list[Any]]]:
        """Give the nodes by capture of each place that a pattern of the query fits."""
        cursor = _tree_sitter.QueryCursor(_query(self))
        return (captures for _, captures in cursor.matches(tree.root_node))


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
