"""Measures what telemetry adds to a call of 200 chunks, with its Prometheus exporter on, and compares it with its bar.

A provider with telemetry and one without take turns in this process at answers of the fake server. The overhead is the
median of the rounds' ratios: CPU of this process, which is the client alone, with telemetry to that without. The first
rounds warm up, and are left out; quartiles tell the spread. A round is 50 calls. The bar is on ``paced``, whose chunks
come in a network read each, as a service's do. The same in a burst, which only a proxy or a replay sends, is told
without a bar: telemetry costs by the call, and a burst makes the call itself cheap. A scrape is told by itself: it
comes every few seconds, however many calls there are.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import urllib.request
from statistics import median, quantiles

from compare import Number, Ours, cpu, many, pairs, server

CHUNKS = 200
CALLS = 50
WARM_UP = 5
"""Rounds that are left out."""


async def overheads(url: str, port: int, rounds: int) -> list[Number]:
    """Take every number."""
    off = Ours(url, "telemetry=off", "ledger=off")
    on = Ours(url, "telemetry=prometheus", f"telemetry.port={port}", "ledger=off")

    async def more(pace: str, at_once: int) -> float:
        """Per cent of CPU that telemetry adds."""
        taken = await pairs(
            rounds + WARM_UP,
            lambda: cpu(lambda: many(on.stream, CALLS, at_once, CHUNKS, pace)),
            lambda: cpu(lambda: many(off.stream, CALLS, at_once, CHUNKS, pace)),
        )
        taken = taken[WARM_UP:]
        alone = 1e6 * median(without for _, without in taken) / CALLS
        added = 1e6 * median(mine - without for mine, without in taken) / CALLS
        low, percent, high = quantiles((100 * (mine / without - 1) for mine, without in taken), n=4)
        print(
            f"{pace}: a call takes {alone:.0f} us of the client's CPU without telemetry, {added:.0f} us more with: "
            f"{percent:.1f} % (quartiles {low:.1f} and {high:.1f}, {len(taken)} rounds)"
        )
        return percent

    await more("burst", 1)
    percent = await more("paced", CALLS)
    scraping = 1e3 * await cpu(lambda: asyncio.to_thread(scrape, port))
    print(f"a scrape takes {scraping:.1f} ms of CPU, that of whoever asks included")
    await on.close()
    await off.close()
    what = f"telemetry, Prometheus exporter on, to the client's CPU of a paced call of {CHUNKS} chunks without it"
    return [Number(what, percent, 5, " %")]


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
