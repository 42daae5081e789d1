"""``claudeprov report``: what a run gave, or the calls of a time, as one HTML page."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from claudeprov.clock import SYSTEM_CLOCK
from claudeprov.errors import ConfigurationError
from claudeprov.paths import file_name
from claudeprov.settings import Settings

if TYPE_CHECKING:
    from claudeprov.report.content import Report

HELP = "write a run, a sweep, or the ledger's calls of a time as one HTML page with charts"
EXAMPLE = "claudeprov report 7d"

_EXTRA = ("altair", "jinja2", "vl_convert")
_SHOWN = 5
"""Runs that are named where a name is wrong."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of the command."""
    parser.add_argument(
        "of",
        metavar="RUN_OR_PERIOD",
        help="a run's or a sweep's folder, by its path or its name in runs/; or since when, as usage --since takes it: "
        "2026-11-01, 7d, 12h, 30m, 2w",
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="where to write it (default: report.html in the run's folder, runs/report-PERIOD.html)",
    )
    parser.add_argument("--answers", action="store_true", help="put the answers of the run's result file into it, too")
    parser.add_argument("--json", action="store_true", help="the path, the title and the size as one JSON document")


def run(settings: Settings, args: argparse.Namespace) -> int:
    """Write the page, and print where it is."""
    if any(find_spec(package) is None for package in _EXTRA):
        raise ConfigurationError("claudeprov report needs an extra: pip install 'claudeprov[report]'")
    runs = Path(settings.runs_dir)
    folder = _folder(runs, args.of)
    if folder is not None:
        report, file = _of_runs(folder, answers=args.answers), folder / "report.html"
    elif args.answers:
        raise ConfigurationError(f"--answers: {args.of} is a time, and a ledger keeps no answers")
    else:
        report, file = _of_period(settings, runs, args.of), runs / f"report-{file_name(args.of)}.html"
    file = Path(args.out) if args.out else file

    from claudeprov.report.page import page_of, save

    page = page_of(report)
    save(page, file)
    told = {"path": str(file), "title": report.title, "bytes": len(page.encode())}
    sys.stdout.write(f"{json.dumps(told) if args.json else file}\n")
    return 0


def _folder(runs: Path, name: str) -> Path | None:
    """The folder that *name* means, if there is one with results."""
    for place in (runs / name, Path(name)):
        folder = place.parent if place.name == "result.json" else place
        if folder.resolve() != runs.resolve() and _files(folder):  # all runs together are no sweep
            return folder
    return None


def _files(folder: Path) -> list[Path]:
    """The result files of a run's folder, or of a sweep's."""
    own = folder / "result.json"
    return [own] if own.exists() else sorted(folder.glob("*/result.json"))


def _of_runs(folder: Path, *, answers: bool) -> Report:
    from claudeprov.bench.result import read
    from claudeprov.report.runs import report_of

    results, unread = [], {}
    for file in _files(folder):
        try:
            results.append(read(file))
        except ConfigurationError as error:
            unread[file.parent.name] = error
    if not results:
        raise ConfigurationError(f"RUN_OR_PERIOD {folder}: {next(iter(unread.values()))}")
    return report_of(results, SYSTEM_CLOCK.now(), answers=answers, unread=list(unread))


def _of_period(settings: Settings, runs: Path, text: str) -> Report:
    from claudeprov.commands.ledger import opened_ledger
    from claudeprov.ledger.sums import since_text
    from claudeprov.report.period import report_of

    now = SYSTEM_CLOCK.now()
    try:
        since = since_text(text, now)
    except (ValueError, OverflowError) as error:
        raise ConfigurationError(f"RUN_OR_PERIOD {text}: is neither a run nor a time{_choice(runs, text)}") from error
    with opened_ledger(settings) as store:
        return report_of(store, text, since, now)


def _choice(runs: Path, text: str) -> str:
    names = sorted({name for file in runs.rglob("result.json") for name in _names(runs, file)}, reverse=True)
    near = get_close_matches(text, names, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    told = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    return f"{hint} (runs in {runs}: {told or 'none'}; times: 2026-11-01, 7d, 12h, 30m, 2w)"


def _names(runs: Path, file: Path) -> Iterator[str]:
    """A run's name, and its sweep's."""
    run = file.parent.relative_to(runs)
    return (place.as_posix() for place in (run, *run.parents) if place.name)
