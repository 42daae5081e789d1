from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import claudeprov
from claudeprov import commands, errors
from claudeprov.commands import COMMANDS, describe, exit_status, main
from claudeprov.compose import Composition
from claudeprov.paths import conf_dir
from claudeprov.settings import Settings
from claudeprov.testing import text_events
from tests.server import Answer, Server

HEAVY = {"anthropic", "vcr", "rich", "aiohttp", "opentelemetry", "aiobreaker"}


pytestmark = pytest.mark.usefixtures("no_settings")


@pytest.fixture(autouse=True)
def empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Work in an empty folder, which is empty afterwards, too."""
    monkeypatch.chdir(tmp_path)
    yield
    assert list(tmp_path.iterdir()) == []


class Command(ModuleType):
    """A command that keeps what it was run with, and does what a test says."""

    HELP, EXAMPLE = "do it", "claudeprov bench"

    def __init__(self) -> None:
        super().__init__("claudeprov.commands.bench")
        self.jobs: list[Settings] = []
        self.args: list[argparse.Namespace] = []
        self.ends: list[int | BaseException] = []

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true")
        parser.add_argument("-p", "--prompt")

    def run(self, settings: Settings, args: argparse.Namespace) -> int:
        self.jobs.append(settings)
        self.args.append(argparse.Namespace(**vars(args)))
        end = self.ends.pop(0) if self.ends else 0
        if isinstance(end, BaseException):
            raise end
        return end


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Command:
    """A command in the place of ``bench``."""
    command = Command()
    monkeypatch.setitem(sys.modules, "claudeprov.commands.bench", command)
    return command


def told(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


# What is run


def test_overrides_and_flags_come_in_any_order(bench: Command) -> None:
    assert main(["bench", "--json", "retry=off", "-p", "a=b", "max_tokens=9", "~breaker", "+run_name=x"]) == 0
    (settings,), (args,) = bench.jobs, bench.args
    assert (settings.retry, settings.breaker, settings.max_tokens, settings.run_name) == (None, None, 9, "x")
    assert (args.json, args.prompt) == (True, "a=b")
    assert args.overrides == ["retry=off", "max_tokens=9", "~breaker", "+run_name=x"]
    assert args.composition.settings == settings


def test_the_config_directory_is_a_flag(bench: Command, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "config.yaml").write_text("max_tokens: 9")
    assert main(["bench", "--config-dir", str(folder)]) == 0
    assert bench.jobs[0].max_tokens == 9
    (folder / "config.yaml").unlink()
    folder.rmdir()


def test_cfg_prints_what_is_composed_and_runs_nothing(bench: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "retry=off", "--cfg", "job"]) == 0
    assert "retry: {}\n" in capsys.readouterr().out
    assert main(["bench", "-m", "max_tokens=8,9", "--cfg", "job"]) == 0
    eight, nine = capsys.readouterr().out.split("---\n")
    assert "max_tokens: 8\n" in eight
    assert "max_tokens: 9\n" in nine
    assert bench.jobs == []


# Sweeps


def test_a_sweep_runs_a_job_for_each_combination_and_ends_as_the_worst_of_them(
    bench: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.ends = [0, errors.OverloadedError("too busy"), 1]
    assert main(["bench", "model=qwen,smollm2", "retry=off,patient", "-m"]) == 5
    ran = [(settings.model.id, settings.retry is None) for settings in bench.jobs]
    assert ran == [("qwen", True), ("qwen", False), ("smollm2", True), ("smollm2", False)]
    assert [args.composition.choices["model"] for args in bench.args] == ["qwen", "qwen", "smollm2", "smollm2"]
    assert told(capsys) == "claudeprov: too busy\n"


def test_a_command_may_run_a_sweep_itself(bench: Command) -> None:
    jobs: list[Settings] = []

    def run_sweep(given: list[Composition], args: argparse.Namespace) -> int:
        jobs.extend(composition.settings for composition in given)
        return 1

    bench.__dict__["run_sweep"] = run_sweep
    assert main(["bench", "-m", "max_tokens=range(1,4)"]) == 1
    assert [settings.max_tokens for settings in jobs] == [1, 2, 3]
    assert bench.jobs == []


def test_a_sweep_with_one_wrong_job_runs_none(bench: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "-m", "retry=off,patent"]) == 2
    assert "did you mean patient?" in told(capsys)
    assert bench.jobs == []


def test_only_bench_and_record_sweep(bench: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "max_tokens=1,2"]) == 2
    assert "sweep over them with -m" in told(capsys)
    assert main(["config", "-m", "max_tokens=1,2"]) == 2
    assert "'-m' is unknown to claudeprov config" in told(capsys)


# How it ends


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.ProviderError, 1),
        (errors.InvalidRequestError, 1),
        (errors.ModelNotFoundError, 1),
        (errors.CassetteMissError, 1),
        (errors.ConfigurationError, 2),
        (errors.AuthenticationError, 3),
        (errors.PermissionDeniedError, 3),
        (errors.BillingError, 4),
        (errors.SpendLimitError, 4),
        (errors.BudgetExceededError, 4),
        (errors.RateLimitError, 5),
        (errors.OverloadedError, 5),
        (errors.ConnectionFailedError, 5),
        (errors.CallTimeoutError, 5),
        (errors.StreamInterruptedError, 5),
        (errors.CircuitOpenError, 5),
        (errors.StateUnavailableError, 5),
    ],
)
def test_an_errors_class_decides_the_exit_status(error: type[errors.ProviderError], status: int) -> None:
    assert exit_status(error) == status


def test_an_error_is_one_line_without_a_traceback(bench: Command, capsys: pytest.CaptureFixture[str]) -> None:
    bench.ends = [errors.AuthenticationError("no credentials")]
    assert main(["bench"]) == 3
    assert told(capsys) == "claudeprov: no credentials\n"


def test_with_json_an_error_is_json(bench: Command, capsys: pytest.CaptureFixture[str]) -> None:
    bench.ends = [errors.RateLimitError("slow down", retry_after=3, request_id="req_1")]
    assert main(["bench", "--json"]) == 5
    error = json.loads(told(capsys))["error"]
    assert (error["type"], error["code"], error["retry_after"]) == ("RateLimitError", "rate_limited", 3)
    assert main(["bench", "--json", "retry=patent"]) == 2
    (problem,) = json.loads(told(capsys))["error"]["context"]["problems"]
    assert (problem["key"], problem["value"], problem["nearest"]) == ("retry", "patent", "patient")


def test_an_interruption_is_130(bench: Command) -> None:
    bench.ends = [KeyboardInterrupt()]
    assert main(["bench"]) == commands.INTERRUPTED == 130


def test_a_bug_is_not_hidden(bench: Command) -> None:
    bench.ends = [ZeroDivisionError()]
    with pytest.raises(ZeroDivisionError):
        main(["bench"])


# Bad usage


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["bnech"], "there is no command 'bnech'; did you mean bench?"),
        (["--verison"], "did you mean --version?"),
        (["config", "--jsno"], "did you mean --json?"),
        (["config", "haiku"], "an override is key=value"),
        (["config", "--cfg", "hydra"], "invalid choice: 'hydra'"),
        (["config", "--config-dir"], "expected one argument"),
        (["config", "model=sonet"], "did you mean sonnet?"),
        (["--shell-completion", "tcsh"], "invalid choice: 'tcsh'"),
    ],
)
def test_bad_usage_is_explained(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert said in told(capsys)


# Help, and what it costs


def test_help_names_every_command_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    for command in COMMANDS:
        for text in describe(command):
            assert text in printed
    assert main([]) == 2
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_helps_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    help_, example = describe(command)
    printed = capsys.readouterr().out
    assert help_[1:] in printed
    assert example in printed
    module = import_module(f"claudeprov.commands.{command}")
    assert (help_, example) == (module.HELP, module.EXAMPLE)
    assert example.startswith(f"claudeprov {command}")


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"claudeprov {claudeprov.__version__}\n"


@pytest.mark.parametrize(
    ("words", "unwanted"),
    [
        (["--help"], HEAVY | {"hydra", "pydantic"}),
        *(([command, "retry=patent"], HEAVY) for command in ("chat", "bench", "record", "config")),
    ],
)
def test_nothing_is_imported_that_is_not_needed(words: list[str], unwanted: set[str]) -> None:
    script = f"import sys; from claudeprov.commands import main; main({words}); print(set(sys.modules) & {unwanted})"
    assert _python("-c", script).stdout.splitlines()[-1] == "set()"


@pytest.mark.parametrize("words", ["config", "config --help"])
def test_a_reader_that_has_left_is_no_bug(words: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "claudeprov", *words.split()]
    ran = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, env=_environment())
    os.close(writer)
    assert (ran.returncode, ran.stderr) == (1, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no disk is always full here")
@pytest.mark.parametrize("words", ["models", "models --json", "config", "config --help", "--help", "--version"])
def test_a_full_disk_is_told_in_one_line(words: str) -> None:
    ran = _shell(f"{words} > /dev/full")
    assert ran.returncode == 1
    assert "No space left on device" in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("models --json >&-", 0),
        ("config >&-", 0),
        ("--help >&-", 0),
        ("config retry=patent 2>&-", 2),
        ("chat cassette=replay <&-", 2),
    ],
)
def test_a_closed_stream_leads_nowhere(words: str, status: int) -> None:
    ran = _shell(words)
    assert ran.returncode == status
    assert "Traceback" not in ran.stderr
    assert "Warning" not in ran.stderr


def test_what_the_locale_cannot_show_is_escaped() -> None:
    ran = _shell("config", PYTHONIOENCODING="ascii", CLAUDEPROV_RUN_NAME="caf\xe9")
    assert ran.returncode == 0
    assert "run_name: caf\\xe9" in ran.stdout


def test_python_m_runs_it() -> None:
    ran = _python("-m", "claudeprov", "config", "retry=patent")
    assert ran.returncode == 2
    assert ran.stderr.startswith("claudeprov: retry = 'patent', from an override")


def _python(*words: str) -> Any:
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, env=_environment())


def _shell(words: str, **variables: str) -> Any:
    """Run a line of the command in a shell, with every warning an error."""
    line = f"{sys.executable} -X dev -W error -m claudeprov {words}"
    return subprocess.run(["sh", "-c", line], capture_output=True, text=True, env=_environment() | variables)


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(conf_dir().parent)}


async def test_a_warning_is_told_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "made-up")
    body = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in text_events("Hello"))
    words = ["chat", "-p", "Hi", "model=sonnet", "thinking=off", "preflight=adapt", "endpoint=compatible"]
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        async with Server(Answer(body.encode())) as server:
            assert await asyncio.to_thread(main, [*words, f"endpoint.base_url={server.url}"]) == 0
    assert capsys.readouterr().err.splitlines()[0] == (
        "claudeprov: a request to claude-sonnet-5-5 was adapted: thinking.type=disabled: only adaptive, between_tools"
    )
