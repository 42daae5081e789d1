"""Python is linted by the project's own rules; nothing outside the root is quoted."""

from __future__ import annotations

from pathlib import Path

import pytest

from claudeprov.tools import lint as module
from claudeprov.tools.lint import lint
from claudeprov.tools.tool import ToolError

CODE = "import os\n\nprint(undefined_name)\n"


@pytest.fixture
def root(tmp_path: Path) -> str:
    (tmp_path / "root" / "src").mkdir(parents=True)
    (tmp_path / "root" / "src" / "a.py").write_text(CODE)
    (tmp_path / "root" / "notes.md").write_text("import os")
    return str(tmp_path / "root")


FINDINGS = ["1:8 F401 `os` imported but unused", "3:7 F821 Undefined name `undefined_name`"]


@pytest.mark.parametrize("path", [".", "src", "src/a.py"])
def test_findings_stand_under_their_file(root: str, path: str):
    assert lint(root, path).split("\n") == ["2 findings in 1 Python files", "src/a.py", *FINDINGS]


def test_the_configuration_of_the_project_holds_unless_rules_are_asked_for(root: str):
    Path(root, "ruff.toml").write_text('[lint]\nselect = ["T20"]\n')
    assert lint(root).split("\n")[2:] == ["3:1 T201 `print` found"]
    assert lint(root, rules=["F401"]).split("\n")[2:] == FINDINGS[:1]


def test_a_configuration_that_leads_out_quotes_nothing(root: str, tmp_path: Path):
    (tmp_path / "secret.toml").write_text("password of the outside")
    Path(root, "ruff.toml").write_text('extend = "../secret.toml"\n')
    shown = lint(root)
    assert "ruff cannot use the project's configuration: these are its own rules" in shown
    assert FINDINGS[0] in shown
    assert "password" not in shown


def test_a_syntax_error_is_a_finding(root: str):
    Path(root, "src", "a.py").write_text("def f(:\n")
    assert "1:7 invalid-syntax" in lint(root)


def test_a_file_that_is_no_text_is_told_and_the_others_are_linted(root: str):
    Path(root, "src", "b.py").write_bytes(b"\0\0")
    shown = lint(root)
    assert "not linted: 'src/b.py' is binary" in shown
    assert FINDINGS[0] in shown


def test_nothing_is_written_and_no_key_reaches_ruff(root: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RUFF_OUTPUT_FORMAT", "github")
    before = sorted(Path(root).rglob("*"))
    assert FINDINGS[0] in lint(root)
    assert sorted(Path(root).rglob("*")) == before


@pytest.mark.parametrize("rule", ["--fix", "f401", "F401,E", "", "F401 --add-noqa"])
def test_what_is_no_rule_is_told(root: str, rule: str):
    with pytest.raises(ToolError, match="is no rule of ruff"):
        lint(root, rules=[rule])


def test_a_rule_that_ruff_does_not_know_is_told(root: str):
    assert "not linted: ruff ended with status 2; are the rules right?" in lint(root, rules=["QQQ"])


def test_without_ruff_that_is_said(root: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(module.sysconfig, "get_path", lambda _: str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match="ruff is not installed here"):
        lint(root)


def test_a_lint_stops_at_its_time_and_says_so(root: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MAX_SECONDS", -1)
    assert "stopped after -1 s with 1 files to go" in lint(root)


def test_ruff_is_read_to_a_bound_and_that_is_said(root: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MAX_FINDINGS", 3)
    Path(root, "src", "a.py").write_text("x;\n" * 5_000)
    Path(root, "src", "b.py").write_text(CODE)
    shown = lint(root)
    assert shown.startswith("3 findings in 1 Python files; stopped after 3 findings")
    assert "1:1 F821 Undefined name `x`" in shown


def test_a_file_too_long_to_lint_is_told_and_the_others_are_linted(root: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MAX_BYTES", len(CODE))
    Path(root, "src", "b.py").write_text(CODE + "\n")
    shown = lint(root)
    assert f"not linted: it has {len(CODE) + 1} bytes" in shown
    assert FINDINGS[0] in shown
