"""``claudeprov models``: the catalogue, with lifecycle, sizes and prices, and what an endpoint tells."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from decimal import Decimal
from typing import get_args

from claudeprov.catalog import Catalog, Line, Model, Status, catalog
from claudeprov.commands.terminal import printable
from claudeprov.pricing import PriceBook
from claudeprov.settings import Settings

HELP = "list the known models with lifecycle, context window and prices"
EXAMPLE = "claudeprov models --lifecycle active"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of the command."""
    parser.add_argument("--lifecycle", choices=get_args(Status), help="only models in that state")
    parser.add_argument("--line", choices=get_args(Line), help="only models of that line")
    parser.add_argument("--live", action="store_true", help="ask the endpoint, too; what it tells wins and is marked")
    parser.add_argument("--json", action="store_true", help="one JSON list with all that is known, prices included")


def run(settings: Settings, args: argparse.Namespace) -> int:
    """Print the models that the flags leave, line by line and the newest first."""
    known = asyncio.run(_ask_endpoint(settings)) if args.live else catalog()
    models = [
        model for model in known if args.lifecycle in (None, model.lifecycle.status) and args.line in (None, model.line)
    ]
    prices = PriceBook(settings.pricing, settings.model)
    if args.json:
        sys.stdout.write(json.dumps([_document(model, known, prices) for model in models], indent=2) + "\n")
    else:
        _print_table(models, known, prices)
    return 0


async def _ask_endpoint(settings: Settings) -> Catalog:
    from claudeprov.provider import AnthropicClaudeProvider

    async with AnthropicClaudeProvider(settings) as provider:
        await provider.list_models(live=True)
        return provider.catalog


def _document(model: Model, known: Catalog, prices: PriceBook) -> dict[str, object]:
    pricing = prices.of(model.id).model_dump(mode="json")
    told = {"names": known.names(model), "told_by_endpoint": known.told(model), "pricing": pricing}
    return model.model_dump(mode="json") | told


def _print_table(models: list[Model], known: Catalog, prices: PriceBook) -> None:
    from rich.console import Console
    from rich.table import Table

    is_told = any(map(known.told, models))
    caption = "Prices in USD per million tokens." + " *: told by the endpoint, not the catalogue." * is_told
    table = Table(box=None, caption=caption, caption_justify="left")
    table.add_column("model", no_wrap=True)
    table.add_column("lifecycle, end", no_wrap=True)
    for column in ("context", "max out", "input", "output"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("other names", overflow="fold")
    for model in models:
        own = prices.of(model.id)
        marks = {name: "*" * (name in known.told(model)) for name in Model.model_fields}
        table.add_row(
            printable(model.id, sys.stdout) + marks["id"],
            f"{model.lifecycle.status}{marks['lifecycle']} {model.lifecycle.retires or ''}",
            _size(model.context_window) + marks["context_window"],
            _size(model.max_output_tokens) + marks["max_output_tokens"],
            _price(own.input),
            _price(own.output),
            " ".join(known.names(model)),
        )
    Console(width=None if sys.stdout.isatty() else 160, highlight=False, markup=False, emoji=False).print(table)


def _size(tokens: int | None) -> str:
    if tokens is None:
        return "unknown"
    for unit, factor in (("M", 1_000_000), ("k", 1_000)):
        if tokens % factor == 0:
            return f"{tokens // factor}{unit}"
    return str(tokens)


def _price(price: Decimal | None) -> str:
    return "unknown" if price is None else f"{price:f}"
