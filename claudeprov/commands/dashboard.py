"""``claudeprov dashboard``: what to import into Grafana, and the rules for Prometheus."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from claudeprov.dashboard.thresholds import Thresholds
from claudeprov.errors import ConfigurationError
from claudeprov.files import replace_ours
from claudeprov.settings import Settings

HELP = "write a Grafana dashboard and Prometheus rules for the metrics"
EXAMPLE = "claudeprov dashboard export --out monitoring"

DASHBOARD, RULES = "claudeprov.dashboard.json", "claudeprov.rules.yaml"
_ORIGIN = "Written by `claudeprov dashboard export`"
"""What the dashboard's description and the rules' first line begin with: it tells them from others of the same name."""
_DEFAULTS = Thresholds()
_BOUNDS = {
    "error_ratio": ("RATIO", "failed calls among those read or failed"),
    "p95_seconds": ("SECONDS", "duration of calls at the 95th percentile"),
    "first_chunk_seconds": ("SECONDS", "time to the first chunk at the 95th percentile"),
    "cost_per_hour": ("USD", "cost of all models together in an hour"),
    "budget_ratio": ("RATIO", "what is spent of a budget's limit"),
    "headroom_ratio": ("RATIO", "what is left of a rate limit, less than which is bad"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("action", choices=["export"], help=f"write {DASHBOARD} and {RULES}")
    parser.add_argument(
        "--out", type=Path, default=Path(), metavar="DIR", help="folder for both (here), made if missing"
    )
    bounds = parser.add_argument_group("what alerts and red lines begin at")
    for name, (metavar, text) in _BOUNDS.items():
        flag, default = f"--{name.replace('_', '-')}", getattr(_DEFAULTS, name)
        bounds.add_argument(flag, type=float, metavar=metavar, default=default, help=f"{text} ({default:g})")
    parser.add_argument("--json", action="store_true", help="one JSON object with the files' paths")


def run(settings: Settings, args: argparse.Namespace) -> int:
    """Write both files, in place of those that an earlier export left."""
    contents = {args.out / name: text.encode() for name, text in _contents(args).items()}
    replace_ours(contents, _is_ours, "file of `claudeprov dashboard export`")
    paths = list(contents)
    if args.json:
        sys.stdout.write(json.dumps({"dashboard": str(paths[0]), "rules": str(paths[1])}) + "\n")
    else:
        sys.stdout.writelines(f"{path}\n" for path in paths)
    return 0


def _contents(args: argparse.Namespace) -> dict[str, str]:
    import yaml

    from claudeprov import __version__
    from claudeprov.dashboard.panels import rows
    from claudeprov.dashboard.rules import rules

    try:
        from claudeprov.dashboard.grafana import dashboard_json
    except ImportError as error:
        raise ConfigurationError(
            "claudeprov dashboard needs the package grafana-foundation-sdk: pip install 'claudeprov[dashboard]'"
        ) from error

    thresholds = Thresholds(**{name: getattr(args, name) for name in _BOUNDS})
    origin = f"{_ORIGIN} of claudeprov {__version__}"
    document = yaml.safe_dump(rules(thresholds), sort_keys=False, allow_unicode=True, width=110)
    return {
        DASHBOARD: dashboard_json(rows(thresholds), f"{origin}."),
        RULES: f"# {origin}; the next one overwrites it.\n{document}",
    }


def _is_ours(old: bytes) -> bool:
    if old.startswith(f"# {_ORIGIN}".encode()):
        return True
    try:
        dashboard = json.loads(old)
    except ValueError:
        return False
    return isinstance(dashboard, dict) and str(dashboard.get("description")).startswith(_ORIGIN)
