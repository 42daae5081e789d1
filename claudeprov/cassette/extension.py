"""Extension: a transport that replays what is recorded, and records the rest."""

from __future__ import annotations

from pathlib import Path

import httpx2

from claudeprov.cassette.file import files_below, load
from claudeprov.cassette.recording import RecordingTransport
from claudeprov.cassette.replay import ReplayTransport
from claudeprov.cassette.rules import NO_RULES, Rules
from claudeprov.clock import Clock
from claudeprov.errors import CassetteMissError


class ExtendingTransport(RecordingTransport):
    """Sends only what the cassettes at *path* do not hold through *inner*, and adds it to them when it is closed.

    Args:
        path: File or folder, as for a recording; there may be none yet.
        inner: What carries the requests that were not recorded.
        clock: Where time comes from.
        suite: What is being recorded.
        rules: Which requests are the same, and what is not written.
    """

    _adds = True

    def __init__(
        self,
        path: Path,
        inner: httpx2.AsyncBaseTransport,
        *,
        clock: Clock,
        suite: str | None = None,
        rules: Rules = NO_RULES,
    ) -> None:
        super().__init__(path, inner, clock=clock, suite=suite, rules=rules)
        self.keeps = lambda earlier: True
        files = files_below(path) if path.is_file() or any(path.rglob("*.yaml")) else []
        self._replay = ReplayTransport([load(file) for file in files], clock=clock, suite=suite, rules=rules)

    @property
    def recorded(self) -> int:
        """Requests so far, replayed ones included."""
        return super().recorded + self._replay.played

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        try:
            return await self._replay.handle_async_request(request)
        except CassetteMissError:
            return await super().handle_async_request(request)
