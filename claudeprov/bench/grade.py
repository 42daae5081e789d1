"""Grading: whether an answer is right, and if not, how it is wrong.

The code of an answer runs in a process of its own with limits on CPU and wall time, memory, file size and open files;
it can start no process and no thread. Its environment is empty, its standard streams lead nowhere, and it starts in a
temporary folder that is removed afterwards. Where the grader is root, the code runs as the user nobody. The right
values never enter that process: what the expressions give is compared here, so there is no verdict to forge.

This holds code that is wrong or clumsy. It is no sandbox against code that means harm: the file system can be read
(the suite's file too), files can be left in other folders, the network is open, and on macOS memory is not bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import msgspec

from claudeprov.bench.answer import code_of, is_right, value_of
from claudeprov.bench.suite import AnalysisTask, Check, GenerationTask
from claudeprov.errors import ProviderError

Verdict = Literal["passed", "failed", "error", "timeout", "memory", "no_code"]
"""``failed``: a wrong value. ``error``: the code raised, does not compile, or ended its process. ``no_code``: the
answer does not define what was asked for."""

_HARNESS = Path(__file__).with_name("harness.py")


class GradingError(ProviderError):
    """This machine cannot run code within the limits, or not at all; the answer is not to blame."""

    code = "grading"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one answer's code may use."""

    wall_seconds: float = 10
    cpu_seconds: int = 3
    memory_bytes: int = 256 * 2**20
    """Address space, the interpreter's own 20 MiB or so included."""
    file_bytes: int = 2**20
    """The size of each file."""
    report_bytes: int = 2**20
    """What the values of all expressions come to as text."""


@dataclass(frozen=True, slots=True)
class Grade:
    """What came of an answer."""

    verdict: Verdict
    detail: str | None = None
    """Why it did not pass, in one line."""


async def grade(task: GenerationTask | AnalysisTask, text: str, limits: Limits | None = None) -> Grade:
    """Grade the answer *text* to *task*.

    Raises:
        GradingError: This machine cannot run the answer's code.
    """
    if isinstance(task, AnalysisTask):
        if is_right(text, task.answer, task.choices):
            return Grade("passed")
        return Grade("failed", f"answered {_short(value_of(text))}, not {task.answer!r}")
    code = code_of(text, task.defines)
    if code is None:
        return Grade("no_code", f"no code in the answer defines {task.defines}")
    return await run_code(code, task.checks, limits)


async def run_code(code: str, checks: tuple[Check, ...] = (), limits: Limits | None = None) -> Grade:
    """Run *code* in a process of its own and compare what *checks* give; the first that is not right decides.

    Raises:
        GradingError: The limits do not hold on this machine, or it has no file, process or memory left.
    """
    limits = limits or Limits()
    job = {"code": code, "calls": [check.call for check in checks], "limits": asdict(limits)}
    try:
        async with _temporary_folder() as folder:
            job_file = folder / "job.json"
            job_file.write_text(json.dumps(job), encoding="utf-8")
            status, said = await _run(job_file, limits)
    except TimeoutError:
        return Grade("timeout", f"not done after {limits.wall_seconds:g} s")
    except OSError as error:
        raise GradingError(f"code that a model wrote cannot be run here: {error}") from error
    ready, *outcomes = _outcomes(said) or [_Outcome(refused=f"the harness ended with status {status}")]
    if ready.refused is not None:
        raise GradingError(f"code that a model wrote cannot be run here: {ready.refused}")
    if status == -signal.SIGXCPU:
        return Grade("timeout", f"more than {limits.cpu_seconds} s of CPU time")
    return _judge(outcomes, checks) or _end(outcomes, checks, status)


class _Outcome(msgspec.Struct):
    """One line of the harness."""

    refused: str | None = None
    value: str | None = None
    raised: list[str] = []
    message: str = ""


async def _run(job_file: Path, limits: Limits) -> tuple[int | None, bytes]:
    """Run the harness; return its exit status, or None if it said more than it may, and what it said."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", "-B", str(_HARNESS), str(job_file)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=job_file.parent,
        env={},
        start_new_session=True,
    )
    assert process.stdout is not None
    said = bytearray()
    status = None
    try:
        async with asyncio.timeout(limits.wall_seconds):
            while len(said) <= limits.report_bytes and (data := await process.stdout.read(2**16)):
                said += data
            if len(said) <= limits.report_bytes:
                status = await process.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.communicate()
    return status, bytes(said)


def _outcomes(said: bytes) -> list[_Outcome]:
    """Read the harness's lines up to the first that is none: the code can reach the pipe and write there as well."""
    outcomes = []
    with contextlib.suppress(msgspec.DecodeError):
        for line in said.splitlines():
            outcomes.append(msgspec.json.decode(line, type=_Outcome))  # noqa: PERF401
    return outcomes


def _judge(outcomes: list[_Outcome], checks: tuple[Check, ...]) -> Grade | None:
    """Return the grade of the first outcome that is not right, if there is one."""
    for check, outcome in zip((None, *checks), outcomes, strict=False):
        call = check.call if check else "loading the code"
        given = f"raised {outcome.raised[0]}" if outcome.raised else f"gave {_short(outcome.value)}"
        if check and check.raises:
            if check.raises not in outcome.raised:
                return Grade("failed", f"{call} {given}, not {check.raises}")
        elif outcome.raised:
            verdict: Verdict = "memory" if "MemoryError" in outcome.raised else "error"
            return Grade(verdict, f"{call} {given}: {_short(outcome.message)}")
        elif check and outcome.value != repr(check.gives):
            return Grade("failed", f"{call} {given}, not {check.gives!r}")
    return None


def _end(outcomes: list[_Outcome], checks: tuple[Check, ...], status: int | None) -> Grade:
    """Grade code all of whose outcomes are right: all there are, or all before its process ended."""
    if len(outcomes) > len(checks):
        return Grade("passed")
    call = ("loading the code", *(check.call for check in checks))[len(outcomes)]
    if status is None:
        return Grade("error", f"{call} gave a value that is too long")
    how = f"signal {-status}" if status < 0 else f"status {status}"
    return Grade("error", f"{call} ended the process with {how}")


@contextlib.asynccontextmanager
async def _temporary_folder() -> AsyncIterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="claudeprov-"))
    try:
        yield folder
    finally:
        await asyncio.to_thread(_remove, folder)  # other calls are being timed meanwhile


def _remove(folder: Path) -> None:
    # not shutil.rmtree, which gives up on folders nested a thousand deep
    for command in (["chmod", "-R", "u+rwX"], ["rm", "-rf"]):
        subprocess.run([*command, folder], check=False, stderr=subprocess.DEVNULL)  # noqa: S603


def _short(value: object, limit: int = 80) -> str:
    text = "".join(char if char.isprintable() else "\ufffd" for char in " ".join(str(value).split()))
    return text if len(text) <= limit else text[: limit - 1] + "…"
