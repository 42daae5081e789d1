"""What the tests of state share: a Redis server, and state as several processes see it."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from claudeprov.clock import SYSTEM_CLOCK, Clock
from claudeprov.notice import Notice, Notices
from claudeprov.settings import Settings
from claudeprov.settings.breaker import BreakerSettings
from claudeprov.settings.state import StateSettings
from claudeprov.state import State
from claudeprov.testing import ManualClock


class RedisServer:
    """A redis-server on a free loopback port that keeps nothing on disk."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._folder = folder
        self._options = options
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", *self._options]
        self._process = subprocess.Popen(["redis-server", *options], cwd=self._folder, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if b"Ready to accept connections" in line:
                return
        raise RuntimeError(f"redis-server ended with {self._process.wait()}")

    def send(self, signal: int) -> None:
        assert self._process is not None
        self._process.send_signal(signal)

    def kill(self) -> None:
        """Kill it as kill -9 does."""
        process, self._process = self._process, None
        if process is not None:
            assert process.stdout is not None
            process.kill()
            process.wait()
            process.stdout.close()


MakeServer = Callable[..., RedisServer]


def settings_of(state: StateSettings, breaker: BreakerSettings | None = None) -> Settings:
    return Settings.model_construct(state=state, breaker=breaker or BreakerSettings())


class Listened(Notices):
    """Notices that are kept."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(clock)
        self.kept: list[Notice] = []
        self.listen(self.kept.append)

    def named(self, name: str) -> list[Notice]:
        return [notice for notice in self.kept if notice.name == name]

    async def until(self, name: str) -> Notice:
        """Wait for the next notice of that name."""
        heard: asyncio.Future[Notice] = asyncio.get_running_loop().create_future()
        self.listen(lambda notice: heard.set_result(notice) if notice.name == name and not heard.done() else None)
        return await asyncio.wait_for(heard, 20)


@dataclass
class Shared:
    """One kind of state, with as many processes' views of it as a test asks for."""

    kind: str
    make: Callable[[Shared, BreakerSettings], State]
    clock: ManualClock = field(default_factory=ManualClock)
    server_time: Callable[[float], Any] | None = None
    opened: list[State] = field(default_factory=list)
    notices: Listened = field(init=False)

    def __post_init__(self) -> None:
        self.notices = Listened(self.clock)

    async def view(self, **breaker: Any) -> State:
        """The state as one process sees it. In memory there is only one process."""
        if self.kind == "memory" and self.opened:
            return self.opened[0]
        state = self.make(self, BreakerSettings(**breaker))
        await state.open()
        self.opened.append(state)
        return state

    async def pass_time(self, seconds: float) -> None:
        await self.clock.advance(seconds)
        if self.server_time is not None:
            await self.server_time(self.clock.monotonic())
