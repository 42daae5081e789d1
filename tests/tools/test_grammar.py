"""A language is added by an entry in a table and a query file."""

from __future__ import annotations

from pathlib import Path

import pytest

from claudeprov.errors import ConfigurationError
from claudeprov.tools import grammar as module
from claudeprov.tools.grammar import GRAMMARS, MAX_IN_ERRORS, Grammar, grammar_for, grammar_named, grammar_of
from claudeprov.tools.outline import outline_file
from claudeprov.tools.tool import ToolError


@pytest.mark.parametrize("grammar", GRAMMARS, ids=lambda grammar: grammar.name)
def test_each_query_fits_its_grammar(grammar: Grammar):
    assert list(grammar.matches(grammar.parse(b""))) == []
    assert grammar_of(f"src/file{grammar.suffixes[0].upper()}") is grammar
    assert grammar_named(grammar.name.upper()) is grammar


def test_no_suffix_is_of_two_languages():
    suffixes = [suffix for grammar in GRAMMARS for suffix in grammar.suffixes]
    assert len(suffixes) == len(set(suffixes))


def test_an_entry_in_the_table_is_a_language(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    entry = Grammar("starlark", (".bzl",), "tree_sitter_python", queries=("python",))
    monkeypatch.setattr("claudeprov.tools.grammar.GRAMMARS", [*GRAMMARS, entry])
    (tmp_path / "rules.bzl").write_text("def rule(name):\n    pass\n")
    assert "1-2  def rule(name)" in outline_file(str(tmp_path), "rules.bzl")


def test_a_grammar_that_is_not_installed_is_told_with_what_to_install():
    with pytest.raises(
        ConfigurationError, match=r"need tree_sitter_none; install it with: pip install 'claudeprov\[tools\]'"
    ):
        Grammar("none", (".none",), "tree_sitter_none").parse(b"")


def test_a_language_that_is_unknown_is_told():
    with pytest.raises(ToolError, match="there are: python, javascript, typescript, tsx"):
        grammar_named("cobol")


def test_a_source_that_takes_too_long_to_parse_is_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MAX_SECONDS", -1)
    with pytest.raises(ToolError, match="takes more than -1 s to parse"):
        grammar_for("x.py").parse(b"x " * 10_000)


@pytest.mark.parametrize(("path", "unit"), [("x.py", b"("), ("x.js", b"{"), ("x.ts", b"`${")])
def test_a_source_of_nothing_but_errors_is_not_queried(path: str, unit: bytes):
    language = grammar_for(path)
    with pytest.raises(ToolError, match="Too much of it is in syntax errors"):
        list(language.matches(language.parse(unit * (MAX_IN_ERRORS + 1))))
