"""What a run gave: a row for each task, the numbers over all of them, and the file that keeps both."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from claudeprov.bench.grade import Verdict
from claudeprov.errors import ConfigurationError
from claudeprov.files import write_whole
from claudeprov.settings.sandbox import LevelName

_log = logging.getLogger(__name__)

Timing = Literal["live", "recorded", "replayed"]
"""What the times of a run are: of the service; of the service when it was recorded, replayed at the recorded pace; or
only of the replay, which are no model's and are left out of the numbers."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Failure(_Frozen):
    """What went wrong with a call, or with the grading of its answer; the model is not to blame for it."""

    kind: str
    """The error's class, of :mod:`claudeprov.errors`."""
    code: str
    message: str
    request_id: str | None = None


class Row(_Frozen):
    """One task of a run: graded, failed, or neither, which is a session that was answered."""

    id: str
    kind: Literal["generation", "analysis", "session"]
    verdict: Verdict | None = None
    detail: str | None = None
    """Why it did not pass."""
    failure: Failure | None = None
    seconds: float | None = None
    """The whole call, its attempts and waits included."""
    first_chunk_seconds: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: Decimal | None = None
    cost_low_usd: Decimal | None = None
    cost_high_usd: Decimal | None = None
    """Between which two it lies, where an answer broke off and ``cost_usd`` is ``None``."""
    cost_reason: str | None = None
    """Why the cost is no number."""
    stop_reason: str | None = None
    attempts: int | None = None
    model: str | None = None
    """The model that served it."""
    request_id: str | None = None
    text: str = ""
    """The answer; of a call that failed, what had arrived of it."""


class Score(_Frozen):
    """How many answers were graded, and how many of them are right."""

    graded: int
    passed: int

    @property
    def rate(self) -> float | None:
        """The share of graded answers that passed; ``None`` if none was graded."""
        return self.passed / self.graded if self.graded else None


class Percentiles(_Frozen):
    """By nearest rank: the least value that at least p percent of the values do not exceed."""

    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Percentiles | None:
        """Return the percentiles of the values that are known, ``None`` if there are none."""
        ranked = sorted(value for value in values if value is not None)
        if not ranked:
            return None
        p50, p95, p99 = (ranked[-(-len(ranked) * p // 100) - 1] for p in (50, 95, 99))
        return cls(p50=p50, p95=p95, p99=p99)


class Summary(_Frozen):
    """The numbers over the rows of a run."""

    score: Score
    by_kind: dict[str, Score]
    verdicts: dict[str, int]
    failures: dict[str, int]
    """Calls that failed, by the code of their error. They are not graded."""
    latency_seconds: Percentiles | None
    """Of the calls that were answered; ``None`` where the times are no model's."""
    first_chunk_seconds: Percentiles | None
    input_tokens: int | None
    """The sum of what is known, as are the next two; ``None`` if nothing is."""
    output_tokens: int | None
    cost_usd: Decimal | None
    cost_intervals: int = 0
    """Answers that broke off, whose cost is an interval and not in ``cost_usd``."""
    cost_low_usd: Decimal | None = None
    """With those, the least that all answers cost; ``None`` if there are none."""
    cost_high_usd: Decimal | None = None
    """And the most; ``None`` where one has no bound, too."""
    cost_unknown: int
    """Answers whose cost is unknown and in none of the sums."""
    cost_reason: str | None
    """Why, for the first of them."""

    @classmethod
    def of(cls, rows: Sequence[Row], timing: Timing) -> Summary:
        """Add up *rows*."""
        answered = [row for row in rows if row.failure is None]
        timed = answered if timing != "replayed" else []
        kinds = sorted({row.kind for row in rows})
        costs = [row.cost_usd for row in rows if row.cost_usd is not None]
        lows = [row.cost_low_usd for row in rows if row.cost_low_usd is not None]
        highs = [row.cost_high_usd for row in rows if row.cost_high_usd is not None]
        exact = sum(costs, Decimal(0))
        unpriced = [row for row in rows if row.cost_usd is row.cost_low_usd is None and row.cost_reason is not None]
        return cls(
            score=_score(rows),
            by_kind={kind: _score(row for row in rows if row.kind == kind) for kind in kinds},
            verdicts=dict(Counter(row.verdict for row in rows if row.verdict is not None)),
            failures=dict(Counter(row.failure.code for row in rows if row.failure is not None)),
            latency_seconds=Percentiles.of(row.seconds for row in timed),
            first_chunk_seconds=Percentiles.of(row.first_chunk_seconds for row in timed),
            input_tokens=_sum(row.input_tokens for row in rows),
            output_tokens=_sum(row.output_tokens for row in rows),
            cost_usd=exact if costs else None,
            cost_intervals=len(lows),
            cost_low_usd=sum(lows, exact) if lows else None,
            cost_high_usd=sum(highs, exact) if lows and len(highs) == len(lows) else None,
            cost_unknown=len(unpriced),
            cost_reason=unpriced[0].cost_reason if unpriced else None,
        )


class RunResult(_Frozen):
    """One execution of a suite: the content of a result file."""

    format: Literal[1] = 1
    name: str
    """The run's folder."""
    suite: str
    suite_digest: str
    """See :attr:`claudeprov.bench.suite.Suite.digest`."""
    tasks: int
    """How many tasks the suite has; an interrupted run has fewer rows."""
    model: str
    endpoint: str
    mode: Literal["live", "replay", "record"]
    source: str | None = None
    """Whose answers were replayed, where they were."""
    sandbox: LevelName | None = None
    """At which level of the sandbox the code of answers ran, where answers were code."""
    timing: Timing
    started_at: datetime
    seconds: float
    """The run's own duration."""
    interrupted: bool = False
    """Whether it ended before its last task."""
    stopped: Failure | None = None
    """What ended it then, where a budget or a quota was spent."""
    versions: dict[str, str]
    settings: dict[str, Any]
    """The composed configuration; it holds no secrets."""
    summary: Summary
    rows: tuple[Row, ...]


def save(result: RunResult, folder: Path) -> Path:
    """Write ``result.json`` into *folder*, at once or not at all, and return its path."""
    file = folder / "result.json"
    write_whole({file: f"{result.model_dump_json(indent=2)}\n".encode()})
    return file


def read(file: Path) -> RunResult:
    """Return what ``save`` wrote.

    Raises:
        ConfigurationError: It cannot be read, or is no result that this version knows.
    """
    try:
        return RunResult.model_validate_json(file.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise ConfigurationError(f"{file} is no result of a run: {error.errors()[0]['msg']}") from error


def saved(runs: Path) -> Iterator[RunResult]:
    """Yield the results of all runs below *runs*; one that cannot be read is told of and left out."""
    for file in sorted(runs.rglob("result.json")):
        try:
            yield read(file)
        except ConfigurationError as error:
            _log.warning("%s", error)


@contextmanager
def new_folder(runs: Path, name: str) -> Iterator[Path]:
    """Make the folder of a run: ``runs/name``, or with ``-2``, ``-3`` ... after it where that is taken.

    It is removed at the end if nothing was put into it.

    Raises:
        ConfigurationError: It cannot be made there.
    """
    folder = _make_folder(runs, name)
    try:
        yield folder
    finally:
        if not any(folder.iterdir()):
            folder.rmdir()


def _make_folder(runs: Path, name: str) -> Path:
    try:
        runs.mkdir(parents=True, exist_ok=True)
        number = 1
        while True:
            folder = runs / (name if number == 1 else f"{name}-{number}")
            try:
                folder.mkdir()
                return folder
            except FileExistsError:
                number += 1
    except OSError as error:
        raise ConfigurationError(f"runs_dir, run_name: cannot make a folder {name!r} in {runs}: {error}") from error


def _score(rows: Iterable[Row]) -> Score:
    verdicts = [row.verdict for row in rows if row.verdict is not None]
    return Score(graded=len(verdicts), passed=verdicts.count("passed"))


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
