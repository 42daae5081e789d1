"""``claudeprov cassettes verify``: whether cassettes are fit to be committed."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

HELP = "check recorded sessions: format, secrets, grammar, and that plain vcrpy replays them"
EXAMPLE = "claudeprov cassettes verify cassettes/bench"
NEEDS_SETTINGS = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("action", choices=["verify"], help="what to do with the cassettes")
    parser.add_argument(
        "paths", nargs="*", type=Path, metavar="PATH", help="cassette, or folder of them; the shipped ones if left out"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document with the problems of each cassette")


def run(settings: None, args: argparse.Namespace) -> int:
    """Print what is wrong with the cassettes; 1 if anything is."""
    from claudeprov.cassette.file import files_below
    from claudeprov.cassette.verify import verify
    from claudeprov.paths import cassettes_dir

    files = [file for path in args.paths or [cassettes_dir()] for file in files_below(path)]
    problems = {str(file): verify(file) for file in files}
    failed = sum(map(bool, problems.values()))
    if args.json:
        sys.stdout.write(json.dumps({"ok": not failed, "problems": problems}, indent=2) + "\n")
    else:
        for file, found in problems.items():
            sys.stdout.write(f"{file}: {'ok' if not found else f'{len(found)} problem(s)'}\n")
            sys.stdout.writelines(f"  {problem}\n" for problem in found)
        sys.stdout.write(f"{len(files)} cassette(s), {failed} with problems\n")
    return 1 if failed else 0
