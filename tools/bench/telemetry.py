"""Measures what telemetry adds to a call of 200 chunks, with its Prometheus exporter on, and compares it with its bar.

A provider with telemetry and one without take turns in this process at answers of the fake server, and the overhead is
the median of the rounds' ratios. A round is 50 calls. A scrape is told by itself: it comes every few seconds, however
many calls there are.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import urllib.request
from statistics import median

from compare import Number, Ours, cpu, many, pairs, server

CHUNKS = 200
CALLS = 50


async def overheads(url: str, port: int, rounds: int) -> list[Number]:
    """Take every number."""
    off = Ours(url, "telemetry=off", "ledger=off")
    on = Ours(url, "telemetry=prometheus", f"telemetry.port={port}", "ledger=off")

    async def plain() -> None:
        await many(off.stream, CALLS, 1, CHUNKS)

    async def measured() -> None:
        await many(on.stream, CALLS, 1, CHUNKS)

    taken = await pairs(rounds, lambda: cpu(measured), lambda: cpu(plain))
    scraping = 1e3 * await cpu(lambda: asyncio.to_thread(scrape, port))
    await on.close()
    await off.close()
    alone = 1e6 * median(without for _, without in taken) / CALLS
    added = 1e6 * median(mine - without for mine, without in taken) / CALLS
    print(f"a call of {CHUNKS} chunks takes {alone:.0f} us of CPU without telemetry, and {added:.0f} us more with it")
    print(f"a scrape takes {scraping:.1f} ms of CPU, that of whoever asks included")
    more = 100 * (median(mine / without for mine, without in taken) - 1)
    return [Number(f"CPU that telemetry adds to a call of {CHUNKS} chunks, Prometheus exporter on", more, 5, " %")]


def scrape(port: int) -> None:
    """Read the metrics, as Prometheus does."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        if b"claudeprov_calls_total" not in answer.read():
            raise AssertionError("the calls were not measured")


def main() -> int:
    """Print the table and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40, help="turns of each provider (default: %(default)s)")
    parser.add_argument("--port", type=int, default=9465, help="where metrics are served (default: %(default)s)")
    parser.add_argument("--check", action="store_true", help="exit with 1 if the bar is missed")
    args = parser.parse_args()
    os.environ["ANTHROPIC_API_KEY"] = "none"
    with server() as url:
        taken = asyncio.run(overheads(url, args.port, args.rounds))
    print("| what | measured | bar | |\n| --- | --- | --- | --- |", *taken, sep="\n")
    return int(args.check and not all(number.holds for number in taken))


if __name__ == "__main__":
    sys.exit(main())
