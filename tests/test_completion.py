from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from claudeprov.commands import COMMANDS, main
from claudeprov.commands.completion import candidates
from claudeprov.paths import conf_dir

pytestmark = pytest.mark.usefixtures("no_settings")


@pytest.fixture
def shell_environment(tmp_path: Path) -> dict[str, str]:
    """An environment in which ``claudeprov`` is this checkout's."""
    program = tmp_path / "claudeprov"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m claudeprov "$@"\n')
    program.chmod(0o755)
    return os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(conf_dir().parent)}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("claudeprov mod", ["models "]),
        ("claudeprov config retr", ["retry.", "retry="]),
        ("claudeprov config retry=", ["retry=aggressive ", "retry=off ", "retry=patient ", "retry=standard "]),
        ("claudeprov config model=haiku retry=pa", ["retry=patient "]),
        ("claudeprov config +retry=pa", ["+retry=patient "]),
        ("claudeprov config ~retr", ["~retry.", "~retry="]),
        ("claudeprov config retry.max", ["retry.max_attempts=", "retry.max_wait="]),
        ("claudeprov config cassette.mode=re", ["cassette.mode=record ", "cassette.mode=replay "]),
        ("claudeprov config endpoint.ki", ["endpoint.kind="]),
        ("claudeprov config model.capabilities.pd", ["model.capabilities.pdf="]),
        (
            "claudeprov config model.capabilities.pdf=",
            ["model.capabilities.pdf=false ", "model.capabilities.pdf=true "],
        ),
        ("claudeprov config thinking.effort=m", ["thinking.effort=max ", "thinking.effort=medium "]),
        ("claudeprov config max_tok", ["max_tokens="]),
        ("claudeprov config --json", ["--json ", "--json-schema "]),
        ("claudeprov models --li", ["--lifecycle ", "--line ", "--live "]),
        ("claudeprov nonsense retr", []),
    ],
)
def test_words_are_completed(line: str, words: list[str]) -> None:
    assert candidates(line) == words


def test_commands_are_completed_from_nothing() -> None:
    assert {f"{command} " for command in COMMANDS} < set(candidates("claudeprov "))
    assert candidates("claudeprov") == candidates("")


def test_options_of_ones_own_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "retry").mkdir()
    (tmp_path / "retry/mine.yaml").touch()
    assert candidates(f"claudeprov config --config-dir {tmp_path} retry=m") == ["retry=mine "]
    assert candidates("claudeprov config retry=m") == []
    monkeypatch.setenv("CLAUDEPROV_CONFIG_DIR", str(tmp_path))
    assert candidates("claudeprov config retry=m") == ["retry=mine "]


def test_the_query_prints_a_word_a_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMP_LINE", "claudeprov config retry.max")
    assert main(["--shell-completion", "query"]) == 0
    assert capsys.readouterr().out == "retry.max_attempts=\nretry.max_wait=\n"


def test_bash_completes(shell_environment: dict[str, str]) -> None:
    script = """
        eval "$(claudeprov --shell-completion bash)"
        complete_line() {
            COMP_LINE="$1"; COMP_POINT=${#1}; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
            _claudeprov claudeprov
            printf '%s|' "${COMPREPLY[@]}"; echo
        }
        complete_line "claudeprov mod" claudeprov mod
        complete_line "claudeprov config retry=pa" claudeprov config retry = pa
        complete_line "claudeprov config retry=" claudeprov config retry =
        complete_line "claudeprov config retry=pa" claudeprov config retry=pa
    """
    assert _output("bash", script, shell_environment).splitlines() == [
        "models |",
        "patient |",  # bash breaks words at "="
        "aggressive |off |patient |standard |",
        "retry=patient |",  # unless COMP_WORDBREAKS has no "="
    ]


@pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed")
def test_zsh_completes(shell_environment: dict[str, str]) -> None:
    script = """
        compdef() { }; compadd() { print -r -- "$@" }
        eval "$(claudeprov --shell-completion zsh)"
        BUFFER="claudeprov config retry=pa"; CURSOR=${#BUFFER}; _claudeprov
    """
    assert _output("zsh", script, shell_environment) == "-Q -S  -- retry=patient \n"


@pytest.mark.skipif(not shutil.which("fish"), reason="fish is not installed")
def test_fish_completes(shell_environment: dict[str, str]) -> None:
    script = 'claudeprov --shell-completion fish | source; complete -C "claudeprov config retry=pa"'
    assert _output("fish", script, shell_environment) == "retry=patient\n"


def _output(shell: str, script: str, environment: dict[str, str]) -> str:
    ran = subprocess.run([shell, "-c", script], capture_output=True, text=True, env=environment)
    assert ran.stderr == ""
    return ran.stdout
