"""The command line: ``claudeprov COMMAND [OVERRIDES] [FLAGS]``, overrides and flags in any order.

What shapes a run is an override in Hydra's grammar, what shapes the output is a flag. Results go to standard output,
everything else to standard error. Exit status: 0 done; 1 done, with failures; 2 bad usage or configuration; 3 no or
refused credentials; 4 budget or quota spent; 5 the service is unavailable; 130 interrupted.

A command is a module of this package with ``HELP``, ``EXAMPLE``, ``add_arguments(parser)`` and ``run(settings, args)``,
where ``args.composition`` tells how the settings came about. With ``run_sweep(compositions, args)`` it runs a whole
sweep itself, with ``run_misconfigured(error, args)`` it runs without settings where none can be composed. Only the
command that is run is imported.
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from claudeprov.errors import (
    AuthenticationError,
    BillingError,
    BudgetExceededError,
    CircuitOpenError,
    ConfigurationError,
    PermissionDeniedError,
    ProviderError,
    RateLimitError,
    ServiceError,
    SpendLimitError,
    StateUnavailableError,
)

if TYPE_CHECKING:
    from claudeprov.compose import Composition

COMMANDS = ("chat", "bench", "record", "cassettes", "models", "usage", "report", "dashboard", "doctor", "config")
SWEEPING = ("bench", "record")
"""Commands that take ``-m``."""
INTERRUPTED = 130

_EXIT_STATUS: tuple[tuple[type[ProviderError], int], ...] = (
    (ConfigurationError, 2),
    (AuthenticationError, 3),
    (PermissionDeniedError, 3),
    (BillingError, 4),
    (SpendLimitError, 4),
    (BudgetExceededError, 4),
    (RateLimitError, 5),
    (ServiceError, 5),
    (CircuitOpenError, 5),
    (StateUnavailableError, 5),
)
_OVERRIDE = re.compile(r"~\w|\+{0,2}[A-Za-z_][\w.@-]*=")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    words = sys.argv[1:] if argv is None else list(argv)
    as_json = "--json" in words
    _prepare_streams()
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _tell_warning
            status = _attempt(lambda: _run(words), as_json=as_json)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        try:
            if not isinstance(error, BrokenPipeError):  # whoever reads has seen enough
                _tell(ProviderError(str(error)), as_json=as_json)
            sys.stdout.flush()
        except OSError:  # nothing may be left for the interpreter's own flush to say
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


def exit_status(error: type[ProviderError]) -> int:
    """Return the exit status that tells of an error of that class."""
    return next((status for kind, status in _EXIT_STATUS if issubclass(error, kind)), 1)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigurationError(f"{message} (see {self.prog} --help)")

    def print_help(self, file: Any = None) -> None:
        (file or sys.stdout).write(self.format_help())  # argparse's own hides a full disk


def _attempt(work: Callable[[], int], *, as_json: bool) -> int:
    try:
        return work()
    except SystemExit as end:  # argparse has printed its help
        return int(end.code or 0)
    except ProviderError as error:
        _tell(error, as_json=as_json)
        return exit_status(type(error))


def _tell(error: ProviderError, *, as_json: bool) -> None:
    text = "claudeprov: " + "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in error.message)
    if as_json:
        told = ("code", "message", "retryable", "retry_after", "request_id", "context")
        fields = {"type": type(error).__name__} | {name: getattr(error, name) for name in told}
        text = json.dumps({"error": fields}, default=str)
    sys.stderr.write(f"{text}\n")


def _tell_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    sys.stderr.write(f"claudeprov: {message}\n")


def _prepare_streams() -> None:
    """Have a closed standard stream lead nowhere, and escape what the locale cannot show."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, open(nowhere, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - open to the end
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _run(words: list[str]) -> int:
    if not words or words[0].startswith("-"):
        return _run_without_command(words)
    command, *rest = words
    if command not in COMMANDS:
        raise ConfigurationError(
            f"there is no command {command!r}{_hint(command, COMMANDS)} (there are: {', '.join(COMMANDS)})"
        )
    module = import_module(f"claudeprov.commands.{command}")
    args = _parse(command_parser(command), rest, with_overrides=True)

    from claudeprov.compose import compose_with_origins, expand

    try:
        jobs = expand(args.overrides, config_dir=args.config_dir) if args.multirun else [args.overrides]
        compositions = [compose_with_origins(job, config_dir=args.config_dir) for job in jobs]
    except ConfigurationError as error:
        if args.cfg or not hasattr(module, "run_misconfigured"):
            raise
        return int(module.run_misconfigured(error, args))
    if args.cfg:
        from claudeprov.commands.config import as_yaml

        sys.stdout.write("---\n".join(as_yaml(composition) for composition in compositions))
        return 0
    if args.multirun and hasattr(module, "run_sweep"):
        return int(module.run_sweep(compositions, args))

    def run_job(composition: Composition) -> int:
        args.composition = composition
        return int(module.run(composition.settings, args))

    return max(_attempt(partial(run_job, job), as_json="--json" in words) for job in compositions)


def _run_without_command(words: list[str]) -> int:
    parser = _Parser(
        prog="claudeprov",
        usage="claudeprov COMMAND [OVERRIDES] [FLAGS]",
        description="Benchmark and use Claude models from declared configuration.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
        allow_abbrev=False,
    )
    parser.add_argument("-h", "--help", action="store_true", help="show this; claudeprov COMMAND --help tells more")
    parser.add_argument("--version", action="store_true", help="print the version")
    parser.add_argument(
        "--shell-completion",
        choices=("bash", "zsh", "fish", "query"),
        help='print a shell\'s script: eval "$(claudeprov --shell-completion bash)"; '
        "query: print what can end the line in COMP_LINE",
    )
    args = _parse(parser, words, with_overrides=False)
    if args.version:
        from claudeprov import __version__

        sys.stdout.write(f"claudeprov {__version__}\n")
    elif args.shell_completion:
        from claudeprov.commands.completion import complete

        sys.stdout.write(complete(args.shell_completion))
    else:
        parser.epilog = _overview()
        parser.print_help(sys.stdout)
        return 0 if args.help else 2
    return 0


def _overview() -> str:
    lines, examples = ["commands:"], ["", "examples:"]
    for command in COMMANDS:
        text, example = describe(command)
        lines.append(f"  {command:10} {text}")
        examples.append(f"  {example}")
    return "\n".join(lines + examples)


def describe(command: str) -> tuple[str, str]:
    """Return a command's HELP and EXAMPLE, read from its source: importing all commands would take too long."""
    source = Path(__file__).with_name(f"{command}.py").read_text(encoding="utf-8")
    texts = {
        ast.unparse(statement.targets[0]): statement.value.value
        for statement in ast.parse(source).body
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant)
    }
    return str(texts["HELP"]), str(texts["EXAMPLE"])


def command_parser(command: str) -> argparse.ArgumentParser:
    """Return the parser of a command's flags; overrides are taken out of its arguments before."""
    module = import_module(f"claudeprov.commands.{command}")
    parser = _Parser(
        prog=f"claudeprov {command}",
        description=f"{module.HELP[0].upper()}{module.HELP[1:]}.",
        epilog=f"example:\n  {module.EXAMPLE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    parser.add_argument("overrides", nargs="*", default=[], metavar="KEY=VALUE", help="override in Hydra's grammar")
    parser.add_argument("--config-dir", metavar="DIR", help="folder with option files and a config.yaml of your own")
    parser.add_argument("--cfg", choices=("job",), help="print the composed configuration, and run nothing")
    if command in SWEEPING:
        parser.add_argument("-m", "--multirun", action="store_true", help="sweep over overrides such as model=a,b")
    else:
        parser.set_defaults(multirun=False)
    return parser


def _parse(parser: argparse.ArgumentParser, words: Sequence[str], *, with_overrides: bool) -> argparse.Namespace:
    takes_value = {
        flag for action in parser._actions if action.nargs not in (0, "?", "*") for flag in action.option_strings
    }
    overrides: list[str] = []
    others: list[str] = []
    for before, word in pairwise(["", *words]):
        is_override = with_overrides and _OVERRIDE.match(word) and before not in takes_value
        (overrides if is_override else others).append(word)
    args, strays = parser.parse_known_intermixed_args(others)
    strays += getattr(args, "overrides", [])
    if strays:
        hint = _hint(strays[0], [flag for action in parser._actions for flag in action.option_strings])
        if with_overrides and not strays[0].startswith("-"):
            hint = "; an override is key=value"
        parser.error(f"{strays[0]!r} is unknown to {parser.prog}{hint}")
    args.overrides = overrides
    return args


def _hint(word: str, known: Sequence[str]) -> str:
    near = get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""
