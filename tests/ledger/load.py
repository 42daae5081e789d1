"""A process that makes calls into a ledger until it is killed, and tells of each that has ended."""

from __future__ import annotations

import asyncio
import os

from claudeprov.clock import SYSTEM_CLOCK
from claudeprov.ledger.outbox import open_outbox
from claudeprov.middleware.ledger import Ledger
from claudeprov.notice import Notices
from claudeprov.settings.ledger import LedgerSettings
from claudeprov.testing import ScriptedProvider, text_events

AT_ONCE = 8


def make_calls(path: str, told: int) -> None:
    """Make calls, eight at once, into the ledger at *path*; write the id of each that ended to the file *told*."""
    asyncio.run(_make_calls(path, told))


async def _make_calls(path: str, told: int) -> None:
    layer = Ledger(open_outbox(LedgerSettings(path=path), ""), notices=Notices(SYSTEM_CLOCK))
    provider = ScriptedProvider(text_events("Hel", "lo", model="claude-haiku-4-5"), layers=[layer])

    async def work() -> None:
        request = {"messages": [{"role": "user", "content": "Hi"}], "model": "claude-haiku-4-5"}
        while True:
            stream = provider.send_message(request, tags={"run": "load"})
            await stream
            os.write(told, f"{stream._call.id}\n".encode())
            await asyncio.sleep(0)

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
