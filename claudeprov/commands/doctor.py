"""``claudeprov doctor``: what is wrong here, and what to do about it; costs no tokens."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from claudeprov.commands import exit_status
from claudeprov.commands.terminal import printable
from claudeprov.doctor.check import Check, Status
from claudeprov.errors import ConfigurationError
from claudeprov.settings import Settings

if TYPE_CHECKING:
    from claudeprov.compose import Composition

HELP = "check this machine, the configuration, credentials and ways to servers, and say what to do; costs nothing"
EXAMPLE = "claudeprov doctor state=redis"

_STYLES: dict[Status, str] = {"ok": "green", "warning": "yellow", "fault": "red", "skipped": "dim"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of the command."""
    parser.epilog = f"{_STATUS}\n{parser.epilog or ''}"
    parser.add_argument("--json", action="store_true", help="one JSON document, see docs/doctor.md")


_STATUS = """exit status:
  0 nothing is at fault; or by the first fault: 2 the configuration, 3 credentials, 4 billing or a limit, 5 the
  service or the way to it, 1 anything else. Warnings do not count.
"""


def run(settings: Settings, args: argparse.Namespace) -> int:
    """Make every check; by the first fault, the documented exit status."""
    return _examine(args.composition, args)


def run_misconfigured(error: ConfigurationError, args: argparse.Namespace) -> int:
    """Make the checks that need no configuration."""
    return _examine(error, args)


def _examine(configured: Composition | ConfigurationError, args: argparse.Namespace) -> int:
    from claudeprov.doctor.diagnosis import diagnose

    checks = asyncio.run(diagnose(configured))
    errors = [check.error for check in checks if check.error is not None]
    if args.json:
        document = {"ok": not errors, "checks": [_document(check) for check in checks]}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        _print_table(checks)
    return exit_status(type(errors[0])) if errors else 0


def _document(check: Check) -> dict[str, Any]:
    return {
        "name": check.name,
        "status": check.status,
        "found": check.found,
        "advice": check.advice,
        "code": check.error and check.error.code,
        "seconds": round(check.seconds, 6),
        "details": dict(check.details),
    }


def _print_table(checks: Sequence[Check]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False)
    for name in ("status", "check"):
        table.add_column(name, no_wrap=True)
    table.add_column("found", overflow="fold")
    for check in checks:
        lines = [check.found, *([f"-> {check.advice}"] if check.advice else [])]
        text = printable("\n".join(lines), sys.stdout)
        table.add_row(Text(check.status, _STYLES[check.status]), check.name, text)
    Console(width=None if sys.stdout.isatty() else 160, highlight=False, markup=False, emoji=False).print(table)
    count = Counter(check.status for check in checks)
    sys.stdout.write(", ".join(f"{count[status]} {status}" for status in _STYLES if count[status]) + "\n")
