"""Tools for code that is in no file: a syntax check, and a run of its tests in the sandbox."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from claudeprov.errors import SandboxUnavailableError
from claudeprov.sandbox import Finished, Limits, Sandbox, SandboxSettings
from claudeprov.tools.grammar import Grammar, grammar_named
from claudeprov.tools.paging import MAX_CHARS, clipped
from claudeprov.tools.source import faults
from claudeprov.tools.tool import ToolError

MAX_CODE = 200_000
"""Most characters of a snippet."""

MAX_FAULTS = 20
"""Most faults of a snippet that are told."""

_PYTEST = ("--quiet", "--disable-plugin-autoload", "-p", "no:cacheprovider")  # plugins here may not work in there
_SUMMARY = re.compile(rb" in \d+\.\d+s[^\n]*\s*\Z")
"""What pytest ends with."""

_COMPILE = """
import json, sys
try:
    compile(sys.stdin.read(), "snippet", "exec", dont_inherit=True)
except SyntaxError as error:
    json.dump([error.lineno or 1, error.offset or 1, error.msg], sys.stdout)
except (MemoryError, RecursionError):
    json.dump([1, 1, "nested too deeply"], sys.stdout)
except ValueError as error:
    json.dump([1, 1, str(error)], sys.stdout)
"""


def check_syntax(code: str, language: str = "python") -> str:
    """Check the syntax of code without running it. Use it on code that you wrote, before you show or save it.

    Returns "No syntax errors", or each error with its line and column, counted from 1, and the line itself.

    Args:
        code: The code; a whole file or a part that stands for itself.
        language: Its language: python, javascript, typescript or tsx.
    """
    _check_size(code)
    grammar = grammar_named(language)
    found = list(islice(_python(code) if grammar.name == "python" else _parsed(code, grammar), MAX_FAULTS + 1))
    if not found:
        return f"No syntax errors ({_which(grammar)})."
    lines = code.split("\n")
    told = [
        f"line {line}, column {column}: {what}\n    {clipped(lines[min(line, len(lines)) - 1].strip(), 200)}"
        for line, column, what in found[:MAX_FAULTS]
    ]
    if len(found) > MAX_FAULTS:
        told.append(f"[Cut: there are more than {MAX_FAULTS} errors; put these right, and check again.]")
    return "\n".join(told)


async def run_tests(
    code: str, tests: str, sandbox: Mapping[str, Any] | None = None, limits: Mapping[str, Any] | None = None
) -> str:
    """Run tests of Python code with pytest, in a sandbox: no network, no files but its own, limits on time and memory.

    Use it to see whether code that you wrote does what it should. Returns whether all tests passed, and what pytest
    said. Nothing is kept from one run to the next.

    Args:
        code: The code under test; it is saved as solution.py.
        tests: The tests, saved as test_solution.py; they import from solution, and are functions test_... with asserts.
    """
    _check_size(code)
    _check_size(tests)
    if importlib.util.find_spec("pytest") is None:
        raise ToolError(
            "pytest is not installed here, so no tests can be run; whoever runs this can: pip install pytest"
        )
    command = [sys.executable, "-B", "-m", "pytest", *_PYTEST, "test_solution.py"]
    allowed = Limits.model_validate(limits or {})
    try:
        finished = await Sandbox(SandboxSettings.model_validate(sandbox or {})).run(
            {"solution.py": code, "test_solution.py": tests}, command, limits=allowed
        )
    except SandboxUnavailableError as error:
        raise ToolError(f"The tests were not run: {error.message}.") from error
    said = (finished.stdout + finished.stderr).decode("utf-8", "replace").strip()
    if len(said) > MAX_CHARS:
        said = f"[Cut: the first {len(said) - MAX_CHARS:,} characters are left out.]\n{said[-MAX_CHARS:]}"
    return f"{_verdict(finished, allowed)}\n{said}"


def _verdict(finished: Finished, limits: Limits) -> str:
    match finished.ended_by, finished.exit_code:
        case "itself", 0:
            if not _SUMMARY.search(finished.stdout):
                return "The process ended before pytest did (os._exit?): nothing is known of the tests."
            return f"All tests passed, in {finished.seconds:.1f} s."
        case "itself", 5:
            return "There are no tests: name their functions test_..."
        case "itself", code:
            return f"The tests failed (pytest ended with status {code})."
    most = ", ".join(f"{name} {value:g}" for name, value in limits.model_dump().items())
    return f"The run was ended at a limit: {finished.ended_by}. It may use: {most}."


def _check_size(code: str) -> None:
    if len(code) > MAX_CODE:
        raise ToolError(f"This is {len(code):,} characters of code; at most {MAX_CODE:,} are taken at once.")


def _which(grammar: Grammar) -> str:
    if grammar.name == "python":
        return f"Python {sys.version_info.major}.{sys.version_info.minor}"
    return grammar.name


def _python(code: str) -> Iterator[tuple[int, int, str]]:
    """Let the compiler say what is wrong, in a process of its own that neither its warnings nor its depth can hurt."""
    command = [sys.executable, "-I", "-S", "-W", "ignore", "-X", "utf8", "-c", _COMPILE]
    try:
        answer = subprocess.run(  # noqa: S603  # our own script; the code is data to it
            command, input=code.encode("utf-8", "replace"), capture_output=True, timeout=10, env={}, check=False
        )
    except subprocess.TimeoutExpired:
        raise ToolError("Python's compiler took more than 10 s over this code; check it in parts.") from None
    if answer.returncode:
        raise ToolError("Python's compiler broke down over this code; check it in parts.")
    if answer.stdout:
        line, column, what = json.loads(answer.stdout)
        yield line, column, what


def _parsed(code: str, grammar: Grammar) -> Iterator[tuple[int, int, str]]:
    content = code.encode("utf-8", "replace")
    for node in faults(grammar.parse(content)):
        line = content.rfind(b"\n", 0, node.start_byte) + 1
        column = len(content[line : node.start_byte].decode("utf-8", "replace")) + 1
        if node.is_missing:
            what = f"{node.type!r} is missing"
        else:
            text = " ".join(content[node.start_byte : node.end_byte].decode("utf-8", "replace").split())
            what = f"no valid {grammar.name} from here to line {node.end_point.row + 1}: {clipped(text, 60)}"
        yield node.start_point.row + 1, column, what
