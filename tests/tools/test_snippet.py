"""Snippets are checked without being run, and run only where they are locked in."""

from __future__ import annotations

import importlib.util

import pytest

from claudeprov.errors import SandboxUnavailableError
from claudeprov.sandbox import Sandbox
from claudeprov.tools.snippet import check_syntax, run_tests
from claudeprov.tools.tool import ToolError

CODE = "def double(x):\n    return 2 * x\n"
TESTS = "from solution import double\n\ndef test_it():\n    assert double(2) == 4\n"


@pytest.fixture
async def sandbox() -> None:
    """A level that locks code in, or the reason why there is none."""
    try:
        await Sandbox().level()
    except SandboxUnavailableError as error:
        pytest.skip(error.message)


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("python", "x = 1\n"),
        ("Python", "async def f():\n    return [x async for x in y]\n"),
        ("python", "x = '\\d'"),  # only a warning
        ("javascript", "export const f = async (a) => a?.b ?? 1;"),
        ("typescript", "enum A { B }\nconst f = <T,>(a: T): T => a satisfies T;"),
        ("tsx", "const a = <A b={1}>c</A>;"),
    ],
)
def test_right_code_has_no_errors(language: str, code: str):
    assert check_syntax(code, language).startswith("No syntax errors")


@pytest.mark.parametrize(
    ("language", "code", "said"),
    [
        ("python", "x = 1\ndef f(:\n  pass", "line 2, column 7: invalid syntax\n    def f(:"),
        ("python", "return 1", "line 1, column 1: 'return' outside function\n    return 1"),
        ("python", "if x:\n\ty\n        z", "line 3, column 1: inconsistent use of tabs and spaces in indentation"),
        ("python", "-" * 100_000 + "1", "line 1, column 1: nested too deeply"),
        ("python", "x\0", "line 1, column 1: source code string cannot contain null bytes"),
        (
            "typescript",
            "const ü = 1; let a: number = ;",
            "line 1, column 28: no valid typescript from here to line 1: =",
        ),
        ("javascript", "const a: number = 1", "line 1, column 7: no valid javascript"),
        ("javascript", "let x;\nf(1", "line 2, column 1: no valid javascript from here to line 2: f(1"),
        ("javascript", "let x;\n  foo(;", "line 2, column 7: ')' is missing\n    foo(;"),
    ],
)
def test_each_error_is_told_with_its_line_and_column(language: str, code: str, said: str):
    assert check_syntax(code, language).startswith(said)


def test_many_errors_are_cut():
    shown = check_syntax("let = = ;\n" * 100, "javascript").split("\n")
    assert len(shown) == 41
    assert shown[-1] == "[Cut: there are more than 20 errors; put these right, and check again.]"


async def test_code_that_is_too_long_is_refused():
    with pytest.raises(ToolError, match=r"200,001 characters of code; at most 200,000"):
        check_syntax("x" * 200_001)
    with pytest.raises(ToolError, match=r"200,001 characters of code"):
        await run_tests(CODE, "x" * 200_001)


def test_an_unknown_language_is_told():
    with pytest.raises(ToolError, match="there are: python, javascript"):
        check_syntax("x", "cobol")


@pytest.mark.usefixtures("sandbox")
async def test_tests_that_pass_are_told():
    assert (await run_tests(CODE, TESTS)).startswith("All tests passed, in ")


@pytest.mark.usefixtures("sandbox")
async def test_tests_that_fail_are_told_with_what_pytest_said():
    shown = await run_tests(CODE.replace("2 *", "3 *"), TESTS)
    assert shown.startswith("The tests failed (pytest ended with status 1).")
    assert "assert 6 == 4" in shown


@pytest.mark.usefixtures("sandbox")
async def test_tests_that_end_their_process_have_not_passed():
    shown = await run_tests("import os\nos._exit(0)", TESTS)
    assert shown.startswith("The process ended before pytest did")


@pytest.mark.usefixtures("sandbox")
async def test_a_file_without_tests_is_told():
    assert (await run_tests(CODE, "x = 1")).startswith("There are no tests")


@pytest.mark.usefixtures("sandbox")
async def test_a_limit_that_was_met_is_told():
    shown = await run_tests("import time\ntime.sleep(60)", "import solution", limits={"seconds": 0.5})
    assert shown.startswith("The run was ended at a limit: time. It may use: seconds 0.5,")


@pytest.mark.usefixtures("sandbox")
async def test_much_output_is_cut_at_its_beginning():
    shown = await run_tests(CODE, "def test_it():\n    print('x' * 50_000)\n    assert False, 'why'")
    assert "[Cut: the first " in shown
    assert len(shown) < 20_200
    assert shown.rstrip().endswith("1 failed") or "why" in shown


async def test_where_no_level_does_what_is_asked_nothing_is_run():
    with pytest.raises(ToolError, match=r"The tests were not run: .*no level of the sandbox does here"):
        await run_tests(CODE, TESTS, sandbox={"level": "limits", "require": ["disk", "read", "write"]})


async def test_without_pytest_that_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ToolError, match="pytest is not installed here"):
        await run_tests(CODE, TESTS)
