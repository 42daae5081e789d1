"""Makes docs/pictures/dashboard.png: a real run of some minutes, scraped by a real Prometheus, drawn from its answers.

What is drawn are the panels of the exported file and the answers to their queries; it is not Grafana that draws them.
From the checkout: PYTHONPATH=. .venv/bin/python tools/picture/dashboard.py [--seconds 180]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import os
import random
import tempfile
import time
from pathlib import Path

from drawing import draw

import claudeprov
from claudeprov.commands import main as command
from claudeprov.commands.dashboard import DASHBOARD, RULES
from claudeprov.errors import ProviderError
from tests.dashboard.prometheus import Prometheus, free_port
from tests.dashboard.traffic import MODELS, OVERRIDES, Service, add, asks

_KINDS = {"hello": 870, "twice": 40, "limited": 4, "invalid": 3, "broken": 3, "tools": 80}
"""Of a thousand calls, how many are of each kind."""
_ROWS = 5
"""How many are drawn, from above; with all of them it is a picture that nobody can read."""
_CHOICES = (
    "breaker.failures=5",
    "breaker.open_for=10",
    "retry.base=0.2",
    "budget.day.usd=1.50",
    "budget.day.tokens=3000000",
)


class Distance:
    """Stands between client and service, and lets answers through piece by piece, after a while."""

    def __init__(self, service: str, chance: random.Random) -> None:
        self._host, self._port = service.removeprefix("http://").split(":")
        self._chance = chance
        self._busy: set[asyncio.Task[None]] = set()

    async def start(self) -> str:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        self._server.close()
        for task in self._busy:
            task.cancel()
        await asyncio.gather(*self._busy, return_exceptions=True)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, here = await asyncio.open_connection(self._host, int(self._port))
        for work in (self._pass(reader, here, slowly=False), self._pass(there, writer, slowly=True)):
            task = asyncio.create_task(work)
            self._busy.add(task)
            task.add_done_callback(self._busy.discard)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, slowly: bool) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                size = max(1, len(data) // 12) if slowly else len(data)
                if slowly:
                    await asyncio.sleep(self._chance.lognormvariate(math.log(0.45), 0.5))
                for start in range(0, len(data), size):
                    writer.write(data[start : start + size])
                    await writer.drain()
                    if slowly:
                        await asyncio.sleep(self._chance.expovariate(1 / 0.06))
        writer.close()


async def run(prometheus: Prometheus, port: int, seconds: float) -> float:
    """Call for that long, while one model's service is away for a moment; returns when it ended."""
    chance = random.Random(6)  # noqa: S311 - a picture's
    async with Service() as service:
        distance = Distance(service.url, chance)
        url = await distance.start()
        overrides = [*OVERRIDES, *_CHOICES, f"endpoint.base_url={url}", f"telemetry.port={port}"]
        async with claudeprov.open_provider(overrides) as provider, asyncio.TaskGroup() as users:
            start = time.monotonic()
            while (passed := (time.monotonic() - start) / seconds) < 1:
                kind = chance.choices(list(_KINDS), list(_KINDS.values()))[0]
                model = chance.choices(MODELS, [3, 1])[0]
                if 0.55 < passed < 0.62 and model == MODELS[1]:
                    kind = "overloaded"
                users.create_task(_use(provider, f"{kind} {time.monotonic_ns()}", model))
                service.left = 900 - int(520 * math.sin(math.pi * passed) ** 2)
                await asyncio.sleep(chance.expovariate(2.5 + 1.5 * math.sin(5 * math.pi * passed)))
            end = time.time()
        await distance.stop()
    return end


async def _use(provider: claudeprov.AnthropicClaudeProvider, text: str, model: str) -> None:
    with contextlib.suppress(ProviderError):
        if text.startswith("tools"):
            await provider.run_tools(asks(text, model), [add])
        else:
            await provider.send_message(asks(text, model))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--out", type=Path, default=Path("docs/pictures/dashboard.png"))
    args = parser.parse_args()
    os.environ["ANTHROPIC_API_KEY"] = "none"
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        command(["dashboard", "export", "--out", name])
        prometheus = Prometheus(folder, f"127.0.0.1:{port}", folder / RULES, interval="1s")
        try:
            end = asyncio.run(run(prometheus, port, args.seconds))
            dashboard = json.loads((folder / DASHBOARD).read_text())
            args.out.write_bytes(draw(dashboard, prometheus, end - args.seconds, end, rows=_ROWS))
        finally:
            prometheus.close()


if __name__ == "__main__":
    main()
