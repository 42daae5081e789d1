"""Measures a ledger of a million rows: how long sums over all of them take, and what a row costs a call.

    python tools/bench/ledger.py

Seconds are of the processor, from the start of ``claudeprov usage`` to its end. Filling it takes about a minute.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path
from random import Random
from statistics import median
from tempfile import TemporaryDirectory

from compare import Number
from sqlalchemy.schema import DropIndex

from claudeprov.ledger.outbox import Outbox
from claudeprov.ledger.row import Row, time_text
from claudeprov.ledger.store import CALLS, store_of
from claudeprov.settings.ledger import LedgerSettings

ROWS = 1_000_000
PUT = 10_000
MODELS = ("claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5")
BEGAN = datetime(2026, 11, 1, tzinfo=UTC)


def rows(count: int) -> Iterator[Row]:
    """Calls of twenty days, two hundred runs, fifty tasks and thirty users."""
    random = Random(1)  # noqa: S311 - no secret
    for number in range(count):
        model = random.choice(MODELS)
        cost = Decimal(random.randrange(10**10)).scaleb(-11)
        yield Row(
            id=f"call_{random.getrandbits(128):032x}",
            at=time_text(BEGAN + timedelta(seconds=number * 20 * 86400 / count)),
            model=model,
            served=model,
            endpoint="anthropic",
            run=f"20261101-000000-code-{number * 200 // count}",
            suite="code",
            task=f"task-{number % 50}",
            end="read" if number % 20 else "failed",
            error=None if number % 20 else "overloaded",
            input_tokens=random.randrange(5000),
            output_tokens=random.randrange(900),
            cache_read_tokens=random.randrange(90_000),
            cost_usd=cost,
            cost_low_usd=cost,
            cost_high_usd=cost,
            first_chunk=0.7,
            total=3.2,
            attempts=1,
            stop_reason="end_turn",
            max_tokens=4096,
            service_tier="standard",
            request_id=f"req_{random.getrandbits(96):024x}",
            request_hash=f"{random.getrandbits(128):032x}",
            prefixes=" ".join(f"{random.getrandbits(64):016x}:{length}" for length in (900, 4000, 12000)),
            tags={"user": f"user-{number % 30}"},
        )


def fill(file: Path, count: int) -> None:
    """Make a ledger with so many rows."""
    store, _ = store_of(LedgerSettings(path=str(file)), "")
    store.make()
    with store.engine.begin() as connection:  # made again at the end, at once for all rows
        for index in CALLS.indexes:
            connection.execute(DropIndex(index, if_exists=True))
    made = rows(count)
    while batch := list(islice(made, 10_000)):
        store.add(batch)
    store.make()
    store.close()


def seconds_of(file: Path, *words: str) -> float:
    """What the command takes of the processor, from its start to its end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "claudeprov", "usage", f"ledger.path={file}", "ledger=sqlite", "--json", *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def put_microseconds(folder: Path) -> float:
    """What it takes to hand a row to the operating system."""
    store, base = store_of(LedgerSettings(path=str(folder / "put.db")), "")
    outbox = Outbox(store, base)
    taken = []
    for row in rows(PUT):
        started = time.perf_counter()
        outbox.put(row)
        taken.append(time.perf_counter() - started)
    outbox.close()
    return median(taken) * 1e6


def main() -> int:
    """Print a table of all numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often each sum is made; the median counts")
    parser.add_argument("--check", action="store_true", help="fail where a bar is missed")
    args = parser.parse_args()
    taken: list[Number] = []
    with TemporaryDirectory() as folder:
        file = Path(folder) / "ledger.db"
        fill(file, ROWS)
        for by in ("model", "day", "run", "tag"):
            measured = median(seconds_of(file, "--by", by) for _ in range(args.rounds))
            taken.append(Number(f"`claudeprov usage --by {by}` over {ROWS:,} rows", measured, 2, " s"))
        advice = seconds_of(file, "--advise", "--since", "2026-11-01")
        taken.append(Number("`claudeprov usage --advise` over them", advice, 60, " s"))
        taken.append(Number("handing a row to the operating system", put_microseconds(Path(folder)), 100, " µs"))
    for number in taken:
        print(number)
    return int(args.check and not all(number.holds for number in taken))


if __name__ == "__main__":
    sys.exit(main())
