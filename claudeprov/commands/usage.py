"""``claudeprov usage``: what calls came to, by the ledger, and what could be had for less."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, fields
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from claudeprov.clock import SYSTEM_CLOCK
from claudeprov.commands.ledger import opened_ledger
from claudeprov.errors import ConfigurationError
from claudeprov.settings import Settings

if TYPE_CHECKING:
    from claudeprov.ledger.row import Row
    from claudeprov.ledger.store import Store
    from claudeprov.ledger.sums import Sum

HELP = "sum up what calls used and cost, by model, day, run or tag, and say what could be saved"
EXAMPLE = "claudeprov usage --by day,model --since 7d"

_NONE = "—"
_LOOKED_AT = 250_000
"""Calls that advice is drawn from at most, the latest: they take some 400 MB."""
_SUMMED = (
    *("replayed", "calls", "failed", "input_tokens", "output_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens"),
    *("cache_read_tokens", "web_searches", "cost_interval", "cost_unknown"),
    *("cost_usd", "cost_low_usd", "cost_high_usd"),
)
"""What is shown of a sum, as JSON and as CSV."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of the command."""
    parser.add_argument(
        "--by",
        action="append",
        metavar="KEY[,KEY]",
        help="what to group by: model (the default), asked, day, run, suite, task, endpoint, error, tag (each tag of a "
        "call), tag:NAME (the values of one tag)",
    )
    parser.add_argument("--since", metavar="WHEN", help="only calls from then on: 2026-11-01, 7d, 12h, 30m, 2w")
    parser.add_argument(
        "--advise", action="store_true", help="say what could be saved, and by what sums (without --since: of 30 days)"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON document; amounts are texts, exact")
    form.add_argument("--csv", action="store_true", help="a line for each group, with a header")


def run(settings: Settings, args: argparse.Namespace) -> int:
    """Print the sums, or the advice."""
    from claudeprov.ledger.sums import sums_of

    by = _keys(args.by or ["model"])
    since = _since("30d" if args.advise and args.since is None else args.since)
    with opened_ledger(settings) as store:
        if args.advise:
            return _advise(settings, store, since, args)
        sums = sums_of(store, by, since=since)
    if not sums:
        sys.stderr.write(f"the ledger has no calls{f' since {since}' if since else ''}\n")
    if args.json:
        _write_json(_document(sums, by, since))
    elif args.csv:
        _write_csv([*by, *_SUMMED], [_fields(sum_, by) for sum_ in sums])
    elif sums:
        _print_table(sums, by)
    return 0


def _advise(settings: Settings, store: Store, since: str | None, args: argparse.Namespace) -> int:
    """Print what could be had for less."""
    from claudeprov.bench.result import saved
    from claudeprov.ledger.advice import READ, Advice, Evidence, advise
    from claudeprov.ledger.recorded import recorded_in
    from claudeprov.pricing import PriceBook

    live: deque[Row] = deque(maxlen=_LOOKED_AT)
    replayed = earlier = 0
    for row in store.rows(since, (*READ, "replayed")):
        if row.replayed:
            replayed += 1
        else:
            earlier += len(live) == _LOOKED_AT
            live.append(row)
    advice = advise(
        Evidence(
            live,
            prices=PriceBook(settings.pricing, settings.model),
            results=list(saved(Path(settings.runs_dir))),
            recorded=recorded_in(Path(settings.cassette.path or "cassettes")),
            now=SYSTEM_CLOCK.now(),
        )
    )
    found = [_plain(asdict(one)) for one in advice]
    if args.json:
        _write_json({"since": since, "calls": len(live), "advice": found})
    elif args.csv:
        _write_csv([field.name for field in fields(Advice)], found)
    else:
        for one in advice:
            sys.stdout.write(f"{one}\n")
    told = f"{len(live)} calls since {since} were looked at; {replayed} replayed ones cost nothing"
    if earlier:
        told = f"{told}; {earlier} earlier ones were left out"
    sys.stderr.write(f"{told}\n" if advice else f"nothing to advise: {told}\n")
    return 0


def _keys(given: Sequence[str]) -> list[str]:
    from claudeprov.ledger.sums import KEYS

    keys = list(dict.fromkeys(key.strip() for text in given for key in text.split(",")))
    for key in keys:
        if key not in KEYS and not (key.startswith("tag:") and key != "tag:"):
            near = get_close_matches(key, KEYS, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ConfigurationError(f"--by {key}: calls have no such key{hint} (allowed: {', '.join(KEYS)}, tag:NAME)")
    return keys


def _since(text: str | None) -> str | None:
    from claudeprov.ledger.sums import since_text

    if text is None:
        return None
    try:
        return since_text(text, SYSTEM_CLOCK.now())
    except (ValueError, OverflowError) as error:
        allowed = "a date such as 2026-11-01, a time in ISO 8601, or how long ago: 7d, 12h, 30m, 2w"
        raise ConfigurationError(f"--since {text}: is no time (allowed: {allowed})") from error


def _fields(sum_: Sum, by: Sequence[str]) -> dict[str, Any]:
    group = dict(zip(by, sum_.group, strict=False))
    return _plain(group | {name: getattr(sum_, name) for name in _SUMMED})


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    """Write amounts as exact texts."""
    return {name: f"{value.normalize():f}" if isinstance(value, Decimal) else value for name, value in fields.items()}


def _document(sums: Sequence[Sum], by: Sequence[str], since: str | None) -> dict[str, Any]:
    return {
        "since": since,
        "by": list(by),
        "groups": [_fields(sum_, by) for sum_ in sums],
        "totals": [_fields(sum_, ()) for sum_ in _totals(sums, by)],
    }


def _totals(sums: Sequence[Sum], by: Sequence[str]) -> list[Sum]:
    from claudeprov.ledger.sums import together

    return [] if "tag" in by else together(sums)  # a call with two tags is in two groups


def _write_json(document: Any) -> None:
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


def _write_csv(names: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    writer = csv.DictWriter(sys.stdout, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _print_table(sums: Sequence[Sum], by: Sequence[str]) -> None:
    from rich.console import Console
    from rich.table import Table

    from claudeprov.commands.terminal import printable
    from claudeprov.ledger.sums import cost_text

    table = Table(box=None, pad_edge=False)
    for key in by:
        table.add_column(key, overflow="fold")
    for name in ("calls", "failed", "input", "cache write", "cache read", "output", "cost"):
        table.add_column(name, justify="right")
    totals = _totals(sums, by) if len(sums) > 1 else []
    for sum_ in [*sums, *totals]:
        names = [printable(name or _NONE, sys.stdout) for name in sum_.group or ["total", *[""] * (len(by) - 1)]]
        if sum_.replayed:
            names[0] += " (replayed)"
        written = sum_.cache_write_5m_tokens + sum_.cache_write_1h_tokens
        numbers = (sum_.calls, sum_.failed, sum_.input_tokens, written, sum_.cache_read_tokens, sum_.output_tokens)
        table.add_row(*names, *(f"{number:,}" for number in numbers), cost_text(sum_))
    Console(width=None if sys.stdout.isatty() else 160, highlight=False, markup=False, emoji=False).print(table)
