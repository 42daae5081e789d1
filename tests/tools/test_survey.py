"""Symbols are found by name and not by text; the complexity of functions is that which one counts by hand."""

from __future__ import annotations

import json
import subprocess
import sysconfig
from pathlib import Path

import pytest

import claudeprov
from claudeprov.tools import survey
from claudeprov.tools.grammar import grammar_for
from claudeprov.tools.source import MAX_DEPTH, parse
from claudeprov.tools.survey import complexity, find_symbol
from claudeprov.tools.tool import ToolError


@pytest.fixture
def root(tmp_path: Path) -> str:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "parser.py").write_text(
        'class Parser:\n    """Parses."""\n    def parse(self, text):\n        """Parse it."""\n'
        "        return self.parse(text)  # parse\n\ndef parse(): return 'parse'\n"
    )
    (tmp_path / "src" / "use.ts").write_text(
        'import { parse } from "./parse";\nconst $parse = 1;\nfunction run(p: Parser) { return p.parse(1) + parse(2); }'
    )
    (tmp_path / "broken.py").write_bytes(b"parse(\xff\xfe")
    (tmp_path / "notes.md").write_text("parse")
    return str(tmp_path)


def test_definitions_and_uses_are_told_apart_from_each_other_and_from_text(root: str):
    assert find_symbol(root, "parse").split("\n") == [
        "parse: 2 definitions and 4 uses in 3 source files",
        "defined in src/parser.py",
        "3-5  method (in Parser)  def parse(self, text)  — Parse it.",
        "7-7  function  def parse()",
        "used in broken.py",
        "1:parse(\ufffd\ufffd",
        "used in src/parser.py",
        "5:return self.parse(text)  # parse  (in Parser.parse)",
        "used in src/use.ts",
        '1:import { parse } from "./parse";',
        "3:function run(p: Parser) { return p.parse(1) + parse(2); }  (in run)",
    ]


def test_what_holds_it_picks_among_definitions(root: str):
    shown = find_symbol(root, "Parser.parse", show="definitions").split("\n")
    assert shown[0].startswith("Parser.parse: 1 definitions and 0 uses")
    assert shown[2].startswith("3-5  method (in Parser)")


def test_uses_alone_and_globs(root: str):
    shown = find_symbol(root, "Parser", show="references", globs=["*.ts"])
    assert "Parser: 0 definitions and 1 uses in 1 source files" in shown
    assert "function run(p: Parser)" in shown


def test_a_name_with_a_dollar_is_one_name(root: str):
    assert find_symbol(root, "$parse").startswith("$parse: 1 definitions and 0 uses")


@pytest.mark.parametrize("name", ["", "a b", "parse(", "../x", "a..b", ".*"])
def test_what_is_no_name_is_told(root: str, name: str):
    with pytest.raises(ToolError, match="is no name"):
        find_symbol(root, name)


def test_a_survey_stops_at_its_bounds_and_says_so(root: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(survey, "MAX_FOUND", 1)
    assert "stopped after 1 places" in find_symbol(root, "parse")
    assert find_symbol(root, "parse", show="references").startswith("parse: 0 definitions and 1 uses")
    monkeypatch.setattr(survey, "MAX_SECONDS", -1)
    assert "stopped after -1 s" in complexity(root)


PYTHON_CASES = {
    "def f(): pass": (1, 0),
    "def f(a):\n if a: pass": (2, 1),
    "def f(a):\n if a: pass\n elif b: pass\n else: pass": (3, 1),
    "def f(a):\n return a and b or c": (3, 0),
    "def f(a):\n return 1 if a else 2": (2, 0),
    "def f(a):\n for x in a:\n  while x:\n   if x: pass": (4, 3),
    "def f(a):\n try: pass\n except A: pass\n except B: pass\n finally: pass": (3, 1),
    "def f(a):\n return [x for x in a if x for y in x]": (4, 0),
    "def f(a):\n with a:\n  with b: pass": (1, 2),
    "def f(a):\n match a:\n  case 1: pass\n  case _: pass": (3, 1),
    "def f(a):\n assert a": (2, 0),
    "def f(a):\n return sorted(a, key=lambda x: x if x else 0)": (2, 0),
    "def f(a):\n if a:\n  if b: pass\n if c: pass": (4, 2),
    "async def f(a):\n async for x in a:\n  async with x: pass": (2, 2),
    "@d\ndef f(a):\n def g():\n  if a: pass\n if a: pass": (2, 1),
}

TYPESCRIPT_CASES = {
    "function f() {}": (1, 0),
    "function f(a) { if (a) {} else if (b) {} else {} }": (3, 1),
    "function f(a) { if (a) {} else { if (b) {} } }": (3, 2),
    "function f(a) { return a && b || c ?? d; }": (4, 0),
    "function f(a) { a ||= 1; a += 1; }": (2, 0),
    "function f(a) { switch (a) { case 1: break; case 2: break; default: } }": (3, 1),
    "function f(a) { for (const x of a) { for (let i = 0;;) { do {} while (1) } } }": (4, 3),
    "function f(a) { try { } catch (e) { } finally { } }": (2, 1),
    "const f = (a) => a ? 1 : 2;": (2, 0),
    "function f(a) { return a.map((x) => x ? 1 : 2); }": (2, 0),
    "class C { f() { while (1) {} } }": (2, 1),
    "function f() { const g = () => { if (1) {} }; }": (1, 0),
}


@pytest.mark.parametrize(
    ("suffix", "code", "figures"),
    [("py", code, figures) for code, figures in PYTHON_CASES.items()]
    + [(suffix, code, figures) for suffix in ("ts", "js") for code, figures in TYPESCRIPT_CASES.items()],
)
def test_figures_are_those_counted_by_hand(suffix: str, code: str, figures: tuple[int, int]):
    source = parse(code.encode(), grammar_for(f"a.{suffix}"))
    function = next(found for found in source.definitions if found.name == "f")
    assert (function.cyclomatic, function.nesting) == figures


def test_functions_are_listed_the_most_complex_first(tmp_path: Path):
    (tmp_path / "a.py").write_text(
        "def simple(): pass\n\nclass C:\n    def hard(self, a):\n        if a: pass\n        if a: pass\n"
    )
    assert complexity(str(tmp_path)).split("\n") == [
        "2 functions in 1 source files; cyclomatic complexity: median 2, most 3, 0 over 10",
        "cyclomatic  nesting  lines  function",
        "         3        1      3  a.py:4 C.hard",
        "         1        0      1  a.py:1 simple",
    ]
    assert "simple" not in complexity(str(tmp_path), least=2)


def test_decisions_of_statements_are_counted_as_ruff_counts_them(tmp_path: Path):
    """On this package's own functions that have no decision but of statements that both count, and hold no others."""
    package = Path(claudeprov.__file__).parent
    both = {"if_statement", "elif_clause", "for_statement", "while_statement", "except_clause"}
    compared = 0
    for file in sorted(package.glob("*.py")):
        source = parse(file.read_bytes(), grammar_for(file.name))
        theirs = ruff_complexity(file)
        for function in source.definitions:
            body = source.content[slice(*function.span)]
            tree = grammar_for(file.name).parse(body)
            kinds = {
                node.type for captures in grammar_for(file.name).matches(tree) for node in captures.get("branch", [])
            }
            plain = kinds <= both and not any(inner.holder is function for inner in source.definitions)
            if function.measured and plain and b"else:" not in body and b"finally:" not in body:
                assert (file.name, function.name, function.cyclomatic) == (
                    file.name,
                    function.name,
                    theirs[source.content.count(b"\n", 0, function.at) + 1],
                )
                compared += 1
    assert compared > 100


def ruff_complexity(file: Path) -> dict[int, int]:
    """The complexity that ruff finds in a file, by the line of a function's name."""
    options = [
        "--isolated",
        "--no-cache",
        "--select=C901",
        "--config=lint.mccabe.max-complexity=0",
        "--output-format=json",
    ]
    ruff = Path(sysconfig.get_path("scripts"), "ruff")
    answer = subprocess.run([ruff, "check", "--ignore-noqa", *options, file], capture_output=True, text=True)
    return {
        found["location"]["row"]: int(found["message"].split("(")[1].split(" ")[0])
        for found in json.loads(answer.stdout)
    }


def test_files_that_cannot_be_read_are_counted_and_the_others_measured(tmp_path: Path):
    (tmp_path / "a.py").write_text("def f(): pass\n")
    (tmp_path / "b.py").write_text("# " + "long" * 100)
    shown = complexity({"path": str(tmp_path), "max_bytes": 100})
    assert "1 functions in 2 source files" in shown
    assert "1 files not parsed (too large, faulty, deep or slow to parse, or unreadable)" in shown


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 3_000])
def test_a_file_that_nests_too_deeply_is_told_and_the_others_are_surveyed(tmp_path: Path, depth: int):
    (tmp_path / "a.py").write_text("def f(): pass\n")
    (tmp_path / "deep.js").write_text("function f(){" * depth + "}" * depth)
    assert "1 functions in 2 source files" in complexity(str(tmp_path))
    shown = find_symbol(str(tmp_path), "f")
    assert "f: 1 definitions and 0 uses in 2 source files" in shown
    assert "1 files not parsed (too large, faulty, deep or slow to parse, or unreadable)" in shown


def test_names_are_whole_as_deep_as_a_file_may_nest():
    code = "function f(){" * MAX_DEPTH + "}" * MAX_DEPTH
    innermost = parse(code.encode(), grammar_for("a.js")).definitions[-1]
    assert (innermost.depth, innermost.qualified) == (MAX_DEPTH - 1, ".".join("f" * MAX_DEPTH))


def test_what_is_around_a_byte_is_found_without_looking_at_all_definitions():
    source = parse(b"class C:\n" + b" def f():\n  def g(): pass\n  x\n" * 500, grammar_for("a.py"))
    looked_at: list[int] = []

    class Counted(list):  # type: ignore[type-arg]
        def __getitem__(self, index):
            looked_at.append(index)
            return super().__getitem__(index)

    source.definitions = Counted(source.definitions)
    holder = source.holder_of(source.content.rfind(b"x"))
    assert holder is not None
    assert holder.qualified == "C.f"
    assert len(looked_at) < 15
    assert source.holder_of(len(source.content) + 1) is None
