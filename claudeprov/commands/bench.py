"""``claudeprov bench``: run a suite, show what came of it, and keep it in ``runs/``."""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from claudeprov import __version__, errors
from claudeprov.bench.result import Row, RunResult, Summary, Timing, new_folder, save
from claudeprov.bench.run import Provider, failure_of, run_suite
from claudeprov.bench.suite import Suite, cassettes_of, chosen_suite
from claudeprov.bench.table import summary_table, task_table
from claudeprov.catalog import catalog
from claudeprov.clock import SYSTEM_CLOCK
from claudeprov.commands import INTERRUPTED, exit_status
from claudeprov.commands.terminal import opening_notes, printable
from claudeprov.compose import Composition
from claudeprov.paths import file_name
from claudeprov.pricing import list_prices
from claudeprov.provider import AnthropicClaudeProvider
from claudeprov.sandbox import Sandbox
from claudeprov.settings import Settings

HELP = "run a suite of tasks, grade the answers, and measure latency and cost"
EXAMPLE = "claudeprov bench suite=code model=sonnet"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of the command."""
    parser.add_argument("--json", action="store_true", help="the result file's JSON; of a sweep, a list of them")


def run(settings: Settings, args: argparse.Namespace) -> int:
    """Run the suite once."""
    settings = _stand_in(args.composition)
    suite = chosen_suite(settings.suite)
    name = settings.run_name or file_name(f"{_now()}-{suite.name}-{settings.model.id}")
    result = asyncio.run(_execute(settings, suite, Path(settings.runs_dir), name))
    if args.json:
        sys.stdout.write(result.model_dump_json(indent=2) + "\n")
    else:
        _print(task_table(result.rows))
        _print("")
        _print(summary_table([result]))
    return _status([result])


def run_sweep(jobs: Sequence[Composition], args: argparse.Namespace) -> int:
    """Run the suite of each job, one after another; an interruption ends the sweep, a job that cannot run does not."""
    chosen = [_stand_in(job) for job in jobs]
    suites = [chosen_suite(settings.suite) for settings in chosen]
    runs = Path(chosen[0].runs_dir)
    name = chosen[0].run_name or file_name(f"{_now()}-{suites[0].name}-sweep")
    results: list[RunResult] = []
    statuses: list[int] = []
    with new_folder(runs, name) as sweep:
        for number, (settings, suite) in enumerate(zip(chosen, suites, strict=True)):
            job = file_name(f"{number}-{settings.model.id}")
            try:
                results.append(asyncio.run(_execute(settings, suite, runs, f"{sweep.name}/{job}")))
            except errors.ProviderError as error:
                sys.stderr.write(f"job {job}: {error.message}\n")
                statuses.append(exit_status(type(error)))
                continue
            if results[-1].interrupted and results[-1].stopped is None:
                break
    if args.json:
        documents = [result.model_dump(mode="json") for result in results]
        sys.stdout.write(json.dumps(documents, indent=2) + "\n")
    elif results:
        _print(summary_table(results))
    return max([*statuses, _status(results)])


def _stand_in(composition: Composition) -> Settings:
    """Where a replay was asked for no model in particular, take the one whose recordings there are."""
    settings, nobody = composition.settings, "conf/config.yaml"
    chosen_by = composition.chosen_by.get("model", nobody)
    if chosen_by != nobody or AnthropicClaudeProvider(settings).mode != "replay":
        return settings
    model = catalog().find(settings.cassette.default_model)
    return settings.model_copy(update={"model": model, "pricing": list_prices(model.id)})


def _with_cassettes(settings: Settings, suite: Suite) -> Settings:
    """Fill in where the suite's cassettes are, if the configuration does not say: the model's own for a replay."""
    if settings.cassette.path is not None:
        return settings
    replay = AnthropicClaudeProvider(settings).mode == "replay"
    path = cassettes_of(suite.name, replay=replay)
    own = path / file_name(suite.name) / f"{file_name(settings.model.id)}.yaml"
    if replay and own.is_file():
        path = own
    return settings.model_copy(update={"cassette": settings.cassette.model_copy(update={"path": str(path)})})


async def _execute(settings: Settings, suite: Suite, runs: Path, name: str) -> RunResult:
    """Run *suite* and write its result into ``runs/name``; a run that is cut short has the rows that were done."""
    settings = _with_cassettes(settings, suite)
    async with AnthropicClaudeProvider(settings, suite=suite.name) as provider:
        sys.stderr.writelines(f"{note}\n" for note in opening_notes(provider))
        with new_folder(runs, name) as folder:
            started_at, began = SYSTEM_CLOCK.now(), SYSTEM_CLOCK.monotonic()
            run = folder.relative_to(runs).as_posix()
            sandbox = Sandbox(settings.suite.sandbox)
            level = (await sandbox.level()).name if suite.has_code else None
            rows, cut_short = await _rows(provider, settings, suite, sandbox, run)
            spent = cut_short if isinstance(cut_short, errors.LimitError) and rows else None
            broken = cut_short if isinstance(cut_short, Exception) and spent is None else None
            if broken is not None and not rows:
                raise broken
            timing = _timing(provider.mode, settings.cassette.speed)
            result = RunResult(
                name=run,
                suite=suite.name,
                suite_digest=suite.digest,
                tasks=len(suite.tasks),
                model=settings.model.id,
                endpoint=settings.endpoint.kind,
                mode=provider.mode,
                source=provider.cassette_note,
                sandbox=level,
                timing=timing,
                started_at=started_at,
                seconds=SYSTEM_CLOCK.monotonic() - began,
                interrupted=cut_short is not None,
                stopped=None if spent is None else failure_of(spent),
                versions={
                    "claudeprov": __version__,
                    "anthropic": version("anthropic"),
                    "python": platform.python_version(),
                },
                settings=settings.model_dump(mode="json"),
                summary=Summary.of(rows, timing),
                rows=rows,
            )
            file = save(result, folder)
    _explain(result)
    sys.stderr.write(f"result: {file}\n")
    if broken is not None:
        raise broken
    return result


async def _rows(
    provider: Provider, settings: Settings, suite: Suite, sandbox: Sandbox, run: str
) -> tuple[tuple[Row, ...], BaseException | None]:
    """Return the rows that were done, in the suite's order, and what cut the run short, if anything did."""
    done: dict[str, Row] = {}
    cut_short: BaseException | None = None
    with _progress(suite, settings.model.id) as advance:

        def keep(row: Row) -> None:
            done[row.id] = row
            advance(row)

        try:
            await run_suite(provider, suite, sandbox=sandbox, run=run, concurrency=settings.concurrency, on_row=keep)
        except (Exception, asyncio.CancelledError) as error:
            cut_short = error
    return tuple(done[task.id] for task in suite.tasks if task.id in done), cut_short


def _timing(mode: str, speed: float) -> Timing:
    if mode != "replay":
        return "live"
    return "recorded" if speed == 1 else "replayed"


def _explain(result: RunResult) -> None:
    """Say what went wrong with calls, one line for each kind of error, and whether the run was cut short."""
    for code, count in sorted(result.summary.failures.items()):
        row = next(row for row in result.rows if row.failure and row.failure.code == code)
        assert row.failure is not None
        why = printable(row.failure.message, sys.stderr)
        sys.stderr.write(f"{code}, {count} of {len(result.rows)} calls; task {row.id}: {why}\n")
    if result.interrupted:
        stopped = result.stopped
        why = printable(f"{stopped.code}: {stopped.message}", sys.stderr) if stopped else "interrupted"
        sys.stderr.write(f"{why}: {len(result.rows)} of {result.tasks} tasks were done\n")


def _status(results: Sequence[RunResult]) -> int:
    """1 if a call failed; what all calls failed of, if none was answered and they agree; what stopped a run, if any."""
    stops = [result.stopped for result in results if result.interrupted]
    if stops:
        return max(INTERRUPTED if stop is None else exit_status(getattr(errors, stop.kind)) for stop in stops)
    failures = [row.failure for result in results for row in result.rows]
    statuses = {exit_status(getattr(errors, failure.kind, errors.ProviderError)) for failure in failures if failure}
    if not statuses:
        return 0
    return statuses.pop() if None not in failures and len(statuses) == 1 else 1


@contextmanager
def _progress(suite: Suite, model: str) -> Iterator[Callable[[Row], None]]:
    """Show on a terminal how far the run is; yield what to call with each row."""
    if not sys.stderr.isatty():
        yield lambda row: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    counts = TextColumn("{task.fields[passed]} passed, {task.fields[failed]} failed calls, last: {task.fields[last]}")
    with Progress(*columns, counts, console=Console(stderr=True)) as progress:
        bar = progress.add_task(f"{suite.name} {model}", total=len(suite.tasks), passed=0, failed=0, last="none")

        def advance(row: Row) -> None:
            fields = progress.tasks[bar].fields
            passed, failed = fields["passed"] + (row.verdict == "passed"), fields["failed"] + (row.failure is not None)
            progress.update(bar, advance=1, passed=passed, failed=failed, last=row.id)

        yield advance


def _print(what: Any) -> None:
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 160, highlight=False, markup=False, emoji=False).print(what)


def _now() -> str:
    return f"{SYSTEM_CLOCK.now():%Y%m%d-%H%M%S}"
