"""The tools that ship are declared as a model needs them, and work on this package's own code."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest

import claudeprov
from claudeprov.compose import compose
from claudeprov.tools.load import load
from claudeprov.tools.tool import Tool, ToolError

REPOSITORY = Path(claudeprov.__file__).parents[1]
READING = {"list_files", "read_lines", "search_text"}
CODE = READING | {"outline_file", "find_symbol", "complexity", "lint", "check_syntax", "run_tests"}


@cache
def tools(*overrides: str) -> dict[str, Tool]:
    settings = compose(list(overrides))
    assert settings.tools is not None
    return {tool.name: tool for tool in load(settings.tools)}


@pytest.mark.parametrize(
    ("option", "names"),
    [("code_analysis", CODE), ("filesystem_read", READING), ("[code_analysis,filesystem_read]", CODE)],
)
def test_the_options_hold_their_tools(option: str, names: set[str]):
    assert tools(f"tools={option}").keys() == names


@pytest.mark.parametrize("name", sorted(CODE))
def test_a_tool_tells_the_model_what_it_needs(name: str):
    tool = tools("tools=code_analysis")[name]
    assert "Use it" in (tool.description or "")
    assert "Returns" in (tool.description or "")
    assert tool.input_schema is not None
    properties = tool.input_schema["properties"]
    assert all(told.get("description") for told in properties.values())
    assert not {"root", "sandbox", "limits"} & properties.keys()
    assert tool.effects == ({"execute"} if name == "run_tests" else {"read"})


CALLS = {
    "list_files": ({"path": "claudeprov"}, "claudeprov/chain.py"),
    "read_lines": ({"path": "claudeprov/chain.py", "start": 1, "end": 1}, '     1\t"""'),
    "search_text": ({"pattern": "^class Call:", "path": "claudeprov"}, "claudeprov/chain.py"),
    "outline_file": ({"path": "claudeprov/chain.py"}, "class Call"),
    "find_symbol": ({"name": "Call.attempt", "path": "claudeprov"}, "defined in claudeprov/chain.py"),
    "complexity": ({"path": "claudeprov/chain.py"}, "Call.attempt"),
    "lint": ({"path": "claudeprov/chain.py"}, "0 findings in 1 Python files"),
    "check_syntax": ({"code": "x = "}, "line 1, column 5: invalid syntax"),
}


def call(tool: Tool, arguments: dict[str, Any]) -> str:
    assert tool.parse is not None
    assert tool.run is not None
    return tool.run(**tool.parse(arguments), **tool.bound)


@pytest.mark.parametrize("name", sorted(CALLS))
def test_a_tool_works_on_this_package(name: str):
    arguments, expected = CALLS[name]
    assert expected in call(tools("tools=code_analysis", f"tools.root={REPOSITORY}")[name], arguments)


def test_each_file_tool_is_jailed(tmp_path: Path):
    jailed = tools("tools=code_analysis", f"tools.root={tmp_path}")
    for name in CALLS.keys() - {"check_syntax"}:
        with pytest.raises(ToolError, match=r"is refused: it holds \.\."):
            call(jailed[name], CALLS[name][0] | {"path": "../secret.py"})
