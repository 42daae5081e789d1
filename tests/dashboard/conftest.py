"""What was seen of a real run: Prometheus scraped it, and is asked as of the moment before it ended."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import claudeprov
from claudeprov.clock import SystemClock
from claudeprov.commands import main
from claudeprov.commands.dashboard import DASHBOARD, RULES
from claudeprov.compose import compose
from tests.dashboard.prometheus import Prometheus, free_port
from tests.dashboard.traffic import MODELS, OVERRIDES, Service, break_service, calls

_WITHIN = 30.0
"""Seconds after which something that was waited for never comes."""


class Ahead(SystemClock):
    """The system's clock, but that it can be put forward."""

    by = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.by


@dataclass
class Exported:
    """What the command wrote."""

    dashboard: Path
    rules: Path


@dataclass
class Seen:
    """What Prometheus has of the run."""

    prometheus: Prometheus
    end: float


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    folder = tmp_path_factory.mktemp("exported")
    assert main(["dashboard", "export", "--out", str(folder)]) == 0
    return Exported(folder / DASHBOARD, folder / RULES)


@pytest.fixture(scope="session")
def servers() -> None:
    """The programs that tests start."""
    for name in ("prometheus", "promtool"):
        if shutil.which(name) is None:
            if os.environ.get("SERVERS_REQUIRED"):
                pytest.fail(f"{name} is not installed")
            pytest.skip(f"{name} is not installed")


@pytest.fixture(scope="session")
def seen(servers: None, exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    port = free_port()
    prometheus = Prometheus(tmp_path_factory.mktemp("prometheus"), f"127.0.0.1:{port}", exported.rules)
    with pytest.MonkeyPatch.context() as environment:
        for name in [name for name in os.environ if name.startswith(("ANTHROPIC_", "CLAUDEPROV_"))]:
            environment.delenv(name)
        environment.setenv("ANTHROPIC_API_KEY", "none")
        try:
            end = asyncio.run(_run(prometheus, port))
            yield Seen(prometheus, end)
        finally:
            prometheus.close()


async def _run(prometheus: Prometheus, port: int) -> float:
    """Calls in two rounds, each scraped before the next, and at the end of each a breaker that opens; the moment at
    which all has been seen, with a stream still open."""

    async def shows(metric: str, total: float) -> None:
        """Wait until the series of *metric* come to *total*."""
        async with asyncio.timeout(_WITHIN):
            while sum(value for _, value in await asyncio.to_thread(prometheus.query, metric)) != total:  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    ended, clock = 0, Ahead()
    async with Service() as service:
        overrides = [*OVERRIDES, f"endpoint.base_url={service.url}", f"telemetry.port={port}"]
        async with claudeprov.AnthropicClaudeProvider(compose(overrides), clock=clock) as provider:
            for number in range(2):
                ended += await calls(provider, number) + await break_service(provider)
                await shows("claudeprov_calls_total", ended)
                await shows('claudeprov_breaker_state{state="open"}', 1)
                clock.by += 300
                await shows('claudeprov_breaker_state{state="half_open"}', 1)
            async with provider.send_message(
                {"model": MODELS[0], "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]}
            ) as stream:
                await anext(aiter(stream))
                await shows("claudeprov_streams_open", 1)
                return time.time()
