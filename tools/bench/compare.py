"""Measures claudeprov against the bare official SDK, as ratios taken in one run, and compares them with their bars.

A fake server answers from a process of its own. Both clients take turns in this process, and a ratio is the median of
the rounds' ratios, so that a machine whose speed wanders does both alike. CPU is that of this process alone.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import anthropic
from server import MODEL, text

import claudeprov

HERE = Path(__file__).parent
Read = Callable[[str, int], Awaitable[float]]
"""Reads the answer to a prompt such as ``burst``, of so many deltas; returns when the first text came."""


@dataclass(frozen=True)
class Number:
    """One line of the table."""

    what: str
    measured: float
    bar: float
    unit: str = ""
    at_least: bool = False

    @property
    def holds(self) -> bool:
        return self.measured >= self.bar if self.at_least else self.measured <= self.bar

    def __str__(self) -> str:
        bound = "at least" if self.at_least else "at most"
        verdict = "ok" if self.holds else "MISSED"
        return f"| {self.what} | {self.measured:.3g}{self.unit} | {bound} {self.bar:g}{self.unit} | {verdict} |"


class Bare:
    """The official SDK alone."""

    def __init__(self, url: str) -> None:
        self._client = anthropic.AsyncAnthropic(base_url=url, api_key="none", max_retries=0)

    async def stream(self, pace: str, count: int) -> float:
        """Read a stream."""
        parts: list[str] = []
        first = output_tokens = 0.0
        async for event in await self._client.messages.create(**_request(pace, count), stream=True):
            if event.type == "content_block_delta" and event.delta.type == "text_delta":
                first = first or time.perf_counter()
                parts.append(event.delta.text)
            elif event.type == "message_delta":
                output_tokens = event.usage.output_tokens
        _verify(parts, output_tokens, count)
        return first

    async def plain(self, pace: str, count: int) -> float:
        """Make a plain exchange."""
        message = await self._client.messages.create(**_request(pace, count), stream=False)
        _verify([block.text for block in message.content if block.type == "text"], message.usage.output_tokens, count)
        return time.perf_counter()

    async def close(self) -> None:
        """Close its connections."""
        await self._client.close()


class Ours:
    """claudeprov, as an application opens it."""

    def __init__(self, url: str, *overrides: str) -> None:
        self._provider = claudeprov.open_provider(
            ["endpoint=compatible", f"endpoint.base_url={url}", "model=claude-haiku-4-5", "cassette=live", *overrides]
        )

    async def stream(self, pace: str, count: int) -> float:
        """Read a stream chunk by chunk."""
        await self._provider.initialize()
        parts: list[str] = []
        first = 0.0
        stream = self._provider.send_message(_request(pace, count))
        async for chunk in stream:
            if piece := chunk.text:
                first = first or time.perf_counter()
                parts.append(piece)
        _verify(parts, stream.response.usage.output_tokens, count)
        return first

    async def plain(self, pace: str, count: int) -> float:
        """Make a plain exchange."""
        await self._provider.initialize()
        response = await self._provider.send_message({**_request(pace, count), "stream": False})
        _verify([response.text], response.usage.output_tokens, count)
        return time.perf_counter()

    async def skim(self, count: int) -> None:
        """Read a stream and keep nothing of it."""
        async for _ in self._provider.send_message(_request("burst", count)):
            pass

    async def close(self) -> None:
        """Close its connections."""
        await self._provider.dispose()


def _request(pace: str, count: int) -> dict[str, Any]:
    return {"model": MODEL, "max_tokens": 1024, "messages": [{"role": "user", "content": f"{pace} {count}"}]}


def _verify(parts: list[str], output_tokens: float | None, count: int) -> None:
    if "".join(parts) != text(count) or output_tokens != count:
        raise AssertionError(f"a client read something else than {count} deltas")


async def cpu(work: Callable[[], Awaitable[Any]]) -> float:
    """Seconds of this process's CPU that *work* takes."""
    gc.collect()
    started = time.process_time()
    await work()
    return time.process_time() - started


async def wall(work: Callable[[], Awaitable[Any]]) -> float:
    """Seconds that *work* takes."""
    gc.collect()
    started = time.perf_counter()
    await work()
    return time.perf_counter() - started


async def to_first(read: Read) -> float:
    """Median milliseconds until the first text of 100 short streams."""
    waits = []
    for _ in range(100):
        started = time.perf_counter()
        waits.append(await read("burst", 10) - started)
    return 1000 * median(waits)


async def pairs(
    rounds: int, ours: Callable[[], Awaitable[float]], theirs: Callable[[], Awaitable[float]]
) -> list[tuple[float, float]]:
    """Take both in turns, after one of each to warm up."""
    taken = []
    for number in range(rounds + 1):
        if number % 2:
            mine, other = await ours(), await theirs()
        else:
            other, mine = await theirs(), await ours()
        taken.append((mine, other))
    return taken[1:]


async def ratio(
    rounds: int,
    measure: Callable[[Callable[[], Awaitable[Any]]], Awaitable[float]],
    ours: Callable[[], Awaitable[Any]],
    theirs: Callable[[], Awaitable[Any]],
) -> float:
    """Median of the rounds' ratios of the first to the second."""
    return median(mine / other for mine, other in await pairs(rounds, lambda: measure(ours), lambda: measure(theirs)))


async def many(read: Read, requests: int, at_once: int, count: int, pace: str = "burst") -> None:
    """Read *requests* answers, *at_once* at a time."""
    left = iter(range(requests))

    async def reader() -> None:
        for _ in left:
            await read(pace, count)

    await asyncio.gather(*(reader() for _ in range(at_once)))


async def memory(client: Ours) -> float:
    """What a stream of 100,000 deltas holds more than one of 10,000, as a multiple of the text more; the reader keeps
    no chunk, the stream's response all text."""
    peaks = []
    for count in (10_000, 100_000):
        gc.collect()
        tracemalloc.start()
        await client.skim(count)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    return (peaks[1] - peaks[0]) / (sys.getsizeof(text(100_000)) - sys.getsizeof(text(10_000)))


def command_cpu(*words: str, status: int) -> float:
    """Median seconds of CPU of a command of claudeprov's, of five."""
    times = []
    for _ in range(5):
        process = subprocess.Popen(
            [sys.executable, "-m", "claudeprov", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        _, ended, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(ended)
        if process.returncode != status:
            raise AssertionError(f"claudeprov {' '.join(words)} ended with {process.returncode}")
        times.append(usage.ru_utime + usage.ru_stime)
    return median(times)


async def numbers(url: str, rounds: int) -> list[Number]:
    """Take every number."""
    bare, ours = Bare(url), Ours(url)
    twenty = Ours(url, "allow_targets=[layers]", f"chain=[{','.join(['{_target_:layers.Counter}'] * 20)}]")
    none = Ours(url, "chain=[]")
    taken: list[Number] = []

    def take(what: str, measured: float, bar: float, unit: str = "", *, at_least: bool = False) -> None:
        taken.append(Number(what, measured, bar, unit, at_least))
        print(taken[-1], flush=True)

    take(
        "CPU of a stream of 10,000 deltas in a burst, to the bare SDK's",
        await ratio(rounds, cpu, lambda: ours.stream("burst", 10_000), lambda: bare.stream("burst", 10_000)),
        0.10,
    )
    take(
        "the same with a network read for each of 1,000 deltas",
        await ratio(rounds, cpu, lambda: ours.stream("paced", 1000), lambda: bare.stream("paced", 1000)),
        0.5,
    )
    take(
        "CPU of 10,000 deltas through 20 layers, to that through none",
        await ratio(2 * rounds, cpu, lambda: twenty.stream("burst", 10_000), lambda: none.stream("burst", 10_000)),
        1.1,
    )
    take(
        "CPU of 100 short plain requests, to the bare SDK's",
        await ratio(rounds, cpu, lambda: many(ours.plain, 100, 1, 20), lambda: many(bare.plain, 100, 1, 20)),
        1.0,
    )
    take(
        "throughput of 1,000 streams of 50 deltas, 100 at once, to the bare SDK's",
        await ratio(rounds, wall, lambda: many(bare.stream, 1000, 100, 50), lambda: many(ours.stream, 1000, 100, 50)),
        3,
        at_least=True,
    )
    first = await pairs(rounds, lambda: to_first(ours.stream), lambda: to_first(bare.stream))
    take("time to the first text, more than the bare SDK's, at the median", median(a - b for a, b in first), 1, " ms")
    take("memory of 90,000 more deltas, to their text alone", await memory(ours), 1.5)
    take("CPU of `claudeprov --help`", command_cpu("--help", status=0), 0.3, " s")
    take("CPU of a bad override", command_cpu("config", "retry.max_atempts=9", status=2), 0.8, " s")
    await bare.close()
    for own in (ours, twenty, none):
        await own.close()
    return taken


@contextmanager
def server() -> Iterator[str]:
    """Run the fake server on a core of its own, where there are two; yield its URL."""
    with subprocess.Popen([sys.executable, HERE / "server.py"], stdout=subprocess.PIPE, text=True) as process:
        try:
            if hasattr(os, "sched_setaffinity") and len(cores := sorted(os.sched_getaffinity(0))) > 1:
                os.sched_setaffinity(process.pid, cores[-1:])
                os.sched_setaffinity(0, cores[:-1])
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


def main() -> int:
    """Print the table and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="turns of each client (default: %(default)s)")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a bar is missed")
    args = parser.parse_args()
    os.environ["ANTHROPIC_API_KEY"] = "none"
    print("| what | measured | bar | |\n| --- | --- | --- | --- |")
    with server() as url:
        taken = asyncio.run(numbers(url, args.rounds))
    return int(args.check and not all(number.holds for number in taken))


if __name__ == "__main__":
    sys.exit(main())
