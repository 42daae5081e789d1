"""Grading: whether an answer is right, and if not, how it is wrong.

The code of an answer runs in the sandbox, at the level that the suite's settings ask for. The right values never enter
it: what the expressions give is compared here, so there is no verdict to forge.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from claudeprov.bench.answer import code_of, is_right, value_of
from claudeprov.bench.suite import AnalysisTask, Check, GenerationTask
from claudeprov.sandbox import Finished, Limits, Sandbox
from claudeprov.sandbox.root import PYTHON

Verdict = Literal["passed", "failed", "error", "timeout", "memory", "no_code"]
"""``failed``: a wrong value. ``error``: the code raised, does not compile, or ended its process. ``no_code``: the
answer does not define what was asked for."""

LIMITS = Limits(
    seconds=10.0, cpu_seconds=3, memory_mib=256, file_mib=1, disk_mib=16, processes=1, output_kib=1024, open_files=32
)
"""What one answer's code may use, the harness included; the same for all, so that verdicts can be compared."""

_HARNESS = Path(__file__).with_name("harness.py").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Grade:
    """What came of an answer."""

    verdict: Verdict
    detail: str | None = None
    """Why it did not pass, in one line."""


async def grade(task: GenerationTask | AnalysisTask, text: str, sandbox: Sandbox) -> Grade:
    """Grade the answer *text* to *task*.

    Raises:
        SandboxUnavailableError: The answer's code cannot be run here; the answer is not to blame.
    """
    if isinstance(task, AnalysisTask):
        if is_right(text, task.answer, task.choices):
            return Grade("passed")
        return Grade("failed", f"answered {_short(value_of(text))}, not {task.answer!r}")
    code = code_of(text, task.defines)
    if code is None:
        return Grade("no_code", f"no code in the answer defines {task.defines}")
    return await run_code(code, task.checks, sandbox)


async def run_code(code: str, checks: tuple[Check, ...], sandbox: Sandbox, limits: Limits = LIMITS) -> Grade:
    """Run *code* in the sandbox and compare what *checks* give; the first that is not right decides.

    Raises:
        SandboxUnavailableError: The code cannot be run here.
    """
    job = json.dumps({"code": code, "calls": [check.call for check in checks]}).encode()
    finished = await sandbox.run({}, (PYTHON, "-I", "-S", "-B", "-c", _HARNESS), stdin=job, limits=limits)
    if finished.ended_by == "time":
        return Grade("timeout", f"not done after {limits.seconds:g} s")
    if finished.ended_by == "cpu_time":
        return Grade("timeout", f"more than {limits.cpu_seconds} s of CPU time")
    outcomes = _outcomes(finished.stdout)
    return _judge(outcomes, checks) or _end(outcomes, checks, finished)


class _Outcome(msgspec.Struct):
    """One line of the harness."""

    value: str | None = None
    raised: list[str] = []
    message: str = ""


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


def _end(outcomes: list[_Outcome], checks: tuple[Check, ...], finished: Finished) -> Grade:
    """Grade code all of whose outcomes are right: all there are, or all before its process ended."""
    if len(outcomes) > len(checks):
        return Grade("passed")
    call = ("loading the code", *(check.call for check in checks))[len(outcomes)]
    if finished.cut:
        return Grade("error", f"{call} gave a value that is too long")
    if finished.exit_code is None:
        return Grade(
            "memory" if finished.ended_by == "memory" else "error", f"{call} took too much {finished.ended_by}"
        )
    how = f"signal {-finished.exit_code}" if finished.exit_code < 0 else f"status {finished.exit_code}"
    return Grade("error", f"{call} ended the process with {how}")


def _short(value: object, limit: int = 80) -> str:
    text = "".join(char if char.isprintable() else "\ufffd" for char in " ".join(str(value).split()))
    return text if len(text) <= limit else text[: limit - 1] + "…"
