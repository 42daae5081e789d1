"""``claudeprov models``: the catalogue, with lifecycle, sizes and prices."""

from __future__ import annotations

import argparse
import json
import sys
from decimal import Decimal
from typing import get_args

from claudeprov.catalog import Line, Model, Status, catalog
from claudeprov.pricing import list_prices

HELP = "list the known models with lifecycle, context window and prices"
EXAMPLE = "claudeprov models --lifecycle active"
NEEDS_SETTINGS = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of the command."""
    parser.add_argument("--lifecycle", choices=get_args(Status), help="only models in that state")
    parser.add_argument("--line", choices=get_args(Line), help="only models of that line")
    parser.add_argument("--json", action="store_true", help="one JSON list with all that is known, prices included")


def run(settings: None, args: argparse.Namespace) -> int:
    """Print the models that the flags leave, line by line and the newest first."""
    models = [
        model
        for model in catalog()
        if args.lifecycle in (None, model.lifecycle.status) and args.line in (None, model.line)
    ]
    if args.json:
        sys.stdout.write(json.dumps([_document(model) for model in models], indent=2) + "\n")
    else:
        _print_table(models)
    return 0


def _document(model: Model) -> dict[str, object]:
    prices = list_prices(model.id).model_dump(mode="json")
    return model.model_dump(mode="json") | {"names": catalog().names(model), "pricing": prices}


def _print_table(models: list[Model]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, caption="Prices in USD per million tokens.", caption_justify="left")
    table.add_column("model", no_wrap=True)
    table.add_column("lifecycle, end", no_wrap=True)
    for column in ("context", "max out", "input", "output"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("other names", overflow="fold")
    for model in models:
        prices = list_prices(model.id)
        table.add_row(
            model.id,
            f"{model.lifecycle.status} {model.lifecycle.retires or ''}",
            _size(model.context_window),
            _size(model.max_output_tokens),
            _price(prices.input),
            _price(prices.output),
            " ".join(catalog().names(model)),
        )
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _size(tokens: int) -> str:
    for unit, factor in (("M", 1_000_000), ("k", 1_000)):
        if tokens % factor == 0:
            return f"{tokens // factor}{unit}"
    return str(tokens)


def _price(price: Decimal | None) -> str:
    return "unknown" if price is None else f"{price:f}"
