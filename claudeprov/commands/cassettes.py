"""``claudeprov cassettes``: list, read, check and compare recorded sessions."""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from claudeprov.clock import SYSTEM_CLOCK
from claudeprov.commands.terminal import printable
from claudeprov.errors import CassetteError, ConfigurationError
from claudeprov.settings import Settings

if TYPE_CHECKING:
    from claudeprov.cassette.listing import Entry
    from claudeprov.cassette.users import Project

HELP = "list, read, check and compare recorded sessions"
EXAMPLE = "claudeprov cassettes verify cassettes/bench"

_ACTIONS = """actions:
  list    how old each is, of which model, how big, and who uses it
            claudeprov cassettes list
  show    a session as a person reads it: prompt, thinking, tools, answer, usage, timing
            claudeprov cassettes show session.yaml
  verify  secrets, grammar of the streams, details, staleness, orphans, replay by plain vcrpy; status 1 if anything is
          wrong. A recording is stale once its model is retired, with another version of the API, or after
          cassette.max_age days (180). An orphan is a cassette of the project that no suite, test or file uses
            claudeprov cassettes verify cassettes cassette.max_age=90
  diff    how two recordings differ in meaning; status 1 if they do
            claudeprov cassettes diff old.yaml new.yaml
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.epilog = f"{_ACTIONS}\n{parser.epilog or ''}"
    parser.add_argument("action", choices=list(_RUN), help="what to do with the cassettes")
    parser.add_argument(
        "paths",
        nargs="*",
        type=Path,
        metavar="PATH",
        help="cassette, or folder of them; left out, those of the project, or else the shipped ones. "
        "diff takes two cassettes",
    )
    parser.add_argument("--json", action="store_true", help="one JSON document")


def run(settings: Settings, args: argparse.Namespace) -> int:
    """Do what is asked; 1 if ``verify`` or ``list`` finds something wrong, or ``diff`` a difference."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # the terminal may know fewer characters than the model
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return _RUN[args.action](settings, args)
    except RecursionError as error:
        raise CassetteError("a body of the cassette is nested too deeply to be read", code="malformed") from error


def _list(settings: Settings, args: argparse.Namespace) -> int:
    from claudeprov.cassette.listing import entry_of

    project, now = _project(), SYSTEM_CLOCK.now()
    entries, failures = [], []
    for file in _files(args.paths):
        try:
            entries.append(entry_of(file, project, now=now))
        except CassetteError as error:
            failures.append(error.message)
    if args.json:
        _print_json([asdict(entry) for entry in entries])
    else:
        _print_table(entries)
    sys.stderr.writelines(f"{failure}\n" for failure in failures)
    return 1 if failures else 0


def _show(settings: Settings, args: argparse.Namespace) -> int:
    from claudeprov.cassette.file import load
    from claudeprov.cassette.interaction import interactions
    from claudeprov.cassette.show import document_of, text_of

    documents: dict[str, Any] = {}
    for file in _files(args.paths):
        recorded = list(interactions(load(file)))
        if args.json:
            documents[str(file)] = [document_of(item) for item in recorded]
            continue
        _print(f"{file}: {len(recorded)} interaction(s)\n")
        for item in recorded:
            _print(f"\n{text_of(item, len(recorded))}")
    if args.json:
        _print_json(documents)
    return 0


def _verify(settings: Settings, args: argparse.Namespace) -> int:
    from claudeprov.cassette.verify import verify

    project, max_age = _project(), settings.cassette.max_age
    problems = {str(file): verify(file, project=project, max_age=max_age) for file in _files(args.paths)}
    failed = sum(map(bool, problems.values()))
    if args.json:
        _print_json({"ok": not failed, "problems": problems})
        return 1 if failed else 0
    for file, found in problems.items():
        _print(f"{file}: {'ok' if not found else f'{len(found)} problem(s)'}\n")
        _print("".join(f"  {problem}\n" for problem in found))
    _print(f"{len(problems)} cassette(s), {failed} with problems\n")
    return 1 if failed else 0


def _diff(settings: Settings, args: argparse.Namespace) -> int:
    from claudeprov.cassette.diff import changes, summary
    from claudeprov.cassette.file import load
    from claudeprov.cassette.rules import Rules

    if len(args.paths) != 2:
        raise ConfigurationError(f"cassettes diff takes two cassettes, the old and the new one, not {len(args.paths)}")
    old, new = map(load, args.paths)
    found = changes(old, new, rules=Rules(settings.cassette.ignore))
    if args.json:
        _print_json({"same": not found, "summary": summary(found), "changes": [asdict(change) for change in found]})
    else:
        _print("".join(f"{change.kind:10}  {change.place}: {change.text}\n" for change in found))
        _print(f"{summary(found)}\n")
    return 1 if found else 0


_RUN = {"list": _list, "show": _show, "verify": _verify, "diff": _diff}


def _files(paths: Sequence[Path]) -> Iterable[Path]:
    from claudeprov.cassette.file import files_below
    from claudeprov.paths import cassettes_dir

    own = Path("cassettes")
    for path in paths or [own if own.is_dir() else cassettes_dir()]:
        yield from files_below(path)


def _project() -> Project:
    from claudeprov.cassette.users import Project

    return Project(Path())


def _print_table(entries: Sequence[Entry]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for column in "cassette", "age", "model", "lifecycle", "calls", "size", "used by":
        table.add_column(column, overflow="fold", justify="right" if column in ("age", "calls", "size") else "left")
    for entry in entries:
        cells = (
            str(entry.path),
            "unknown" if entry.age_days is None else f"{entry.age_days:.0f} d",
            "\n".join(model.name for model in entry.models),
            "\n".join(_lifecycle(model.lifecycle, model.replacement) for model in entry.models),
            str(entry.interactions),
            f"{entry.bytes / 1024:.0f} kB",
            "\n".join(entry.used_by) or "nothing known",
        )
        table.add_row(*(Text(printable(cell, sys.stdout)) for cell in cells))
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _lifecycle(status: str | None, replacement: str | None) -> str:
    ending = status in ("deprecated", "retired") and replacement
    return f"{status}, then {replacement}" if ending else status or "unknown"


def _print(text: str) -> None:
    sys.stdout.write(printable(text, sys.stdout))


def _print_json(document: Any) -> None:
    sys.stdout.write(json.dumps(document, indent=2, default=str) + "\n")  # str: of paths
