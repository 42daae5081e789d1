"""Measures what recording and replaying cost, as ratios taken in one run, and compares them with their bars."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
from compare import Number, cpu, ratio, server, wall
from server import MODEL, deltas, events

from claudeprov import AnthropicClaudeProvider
from claudeprov.cassette.file import load
from claudeprov.cassette.recording import RecordingTransport
from claudeprov.compose import compose

CALLS, DELTAS = 1000, 50
SIZE = 10_000_000
"""Bytes of the cassette whose loading is timed."""


class Fake(httpx2.AsyncBaseTransport):
    """The fake server's stream in memory, an event a chunk."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=_Events())


class _Events(httpx2.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        for event in events(DELTAS):
            yield event


class Client:
    """A provider over a transport of its own, with what reads a stream chunk by chunk."""

    def __init__(self, transport: httpx2.AsyncBaseTransport | None, *overrides: str) -> None:
        self.provider = AnthropicClaudeProvider(
            compose(["endpoint=compatible", "model=claude-haiku-4-5", *overrides]), transport=transport
        )

    async def stream(self, prompt: str, count: int) -> None:
        """Read the answer to *prompt*, of so many deltas; forget what was recorded of it."""
        await self.provider.initialize()
        await self.read(prompt, count)
        if isinstance(self.provider.cassette, RecordingTransport):
            self.provider.cassette.discard()

    async def session(self, calls: int) -> None:
        """Make so many calls, a hundred at once, each with a prompt of its own, in a session of their own."""
        numbers = iter(range(calls))

        async def reader() -> None:
            for number in numbers:
                await self.read(f"call {number}", DELTAS)

        await asyncio.gather(*(reader() for _ in range(100)))

    async def read(self, prompt: str, count: int) -> None:
        """Read the answer to *prompt*, of so many deltas."""
        body = {"model": MODEL, "max_tokens": 1024, "messages": [{"role": "user", "content": prompt}]}
        text = [chunk.text async for chunk in self.provider.send_message(body)]
        if "".join(text) != "".join(deltas(count)):
            raise AssertionError(f"a client read something else than {count} deltas")


async def replaying(file: Path, rounds: int) -> float:
    """What :data:`CALLS` replayed calls take, to those that the fake server in memory answers."""
    fake = Client(Fake(), "cassette=live")
    await fake.provider.initialize()

    async def replayed() -> None:
        await replays.pop().session(CALLS)

    replays = [Client(None, "cassette=replay", f"cassette.path={file}") for _ in range(rounds + 1)]
    for client in replays:
        await client.provider.initialize()
    return await ratio(rounds, wall, replayed, lambda: fake.session(CALLS))


async def recording(url: str, folder: Path, rounds: int, prompt: str, count: int) -> float:
    """The client's CPU for a stream that is recorded, to that of the same stream over the same transport."""
    where = f"endpoint.base_url={url}"
    plain = Client(httpx2.AsyncHTTPTransport(), where, "cassette=live")
    recorded = Client(httpx2.AsyncHTTPTransport(), where, "cassette=record", f"cassette.path={folder}")
    taken = await ratio(rounds, cpu, lambda: recorded.stream(prompt, count), lambda: plain.stream(prompt, count))
    await plain.provider.dispose()
    await recorded.provider.dispose()
    return taken


async def record(file: Path, calls: int) -> float:
    """Record a session of so many calls into *file*; return the seconds that writing it took."""
    client = Client(Fake(), "cassette=record", f"cassette.path={file}")
    await client.provider.initialize()
    await client.session(calls)
    started = time.perf_counter()
    await client.provider.dispose()
    return time.perf_counter() - started


def size_of(file: Path) -> int:
    """Bytes of *file*."""
    return file.stat().st_size


async def numbers(url: str, folder: Path, rounds: int) -> list[Number]:
    """Take every number."""
    taken: list[Number] = []

    def take(what: str, measured: float, bar: float, unit: str = "") -> None:
        taken.append(Number(what, measured, bar, unit))
        print(taken[-1], flush=True)

    small, large = folder / "small.yaml", folder / "large.yaml"
    await record(small, CALLS)
    take(
        f"time of {CALLS:,} replayed calls of {DELTAS} deltas, to the same from memory without a cassette",
        await replaying(small, rounds),
        1.5,
    )
    writing = await record(large, CALLS * SIZE // size_of(small) + 1)
    started = time.perf_counter()
    load(large)
    take(f"loading a cassette of {size_of(large) / 1e6:.1f} MB", time.perf_counter() - started, 1, " s")
    take("writing it, in a thread, the search for secrets included", writing, 10, " s")
    for what, prompt, count, times in (
        ("CPU of a recorded stream of 10,000 deltas in a burst", "burst 10000", 10_000, 1),
        ("the same with a network read for each of 1,000 deltas", "paced 1000", 1000, 2),
    ):
        take(
            f"{what}, to the same stream not recorded",
            await recording(url, folder, times * rounds, prompt, count),
            1.05,
        )
    return taken


def main() -> int:
    """Print the table and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="turns of each (default: %(default)s)")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a bar is missed")
    args = parser.parse_args()
    os.environ["ANTHROPIC_API_KEY"] = "none"
    print("| what | measured | bar | |\n| --- | --- | --- | --- |")
    with TemporaryDirectory() as folder, server() as url:
        taken = asyncio.run(numbers(url, Path(folder), args.rounds))
    return int(args.check and not all(number.holds for number in taken))


if __name__ == "__main__":
    sys.exit(main())
