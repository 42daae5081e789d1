"""``claudeprov record``: run a suite against its endpoint, and keep the traffic as cassettes."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from claudeprov.bench.grade import GradingError
from claudeprov.bench.run import run_suite
from claudeprov.bench.suite import Suite, cassettes_of, chosen_suite
from claudeprov.provider import AnthropicClaudeProvider

if TYPE_CHECKING:
    from vcr.cassette import Cassette

    from claudeprov.bench.result import Row
    from claudeprov.settings import Settings

HELP = "record the calls of a suite, to be replayed without network and credentials"
EXAMPLE = "claudeprov record suite=code endpoint=compatible endpoint.base_url=http://127.0.0.1:8085 model=qwen"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare no flag: all that shapes a recording is configuration."""


def run(settings: Settings, args: argparse.Namespace) -> int:
    """Record the suite, failed calls included; 1 if any failed. Where all failed, nothing is written."""
    suite = chosen_suite(settings.suite)
    path = Path(settings.cassette.path) if settings.cassette.path else cassettes_of(suite.name, replay=False)
    target = settings.cassette.model_copy(update={"mode": "record", "path": str(path)})
    settings = settings.model_copy(update={"cassette": target})
    where = settings.endpoint.base_url or f"endpoint={settings.endpoint.kind}"
    _tell(f"{len(suite.tasks)} call(s) of suite {suite.name} to {settings.model.id} at {where}, recorded below {path};")
    _tell("what they will cost is not estimated")
    before = _load(path)
    written, failed = asyncio.run(_record(settings, suite))
    for file in written:
        sys.stdout.write(f"{file}: {_settle(file, before.get(file), whole=settings.suite.tasks is None)}\n")
    return 1 if failed else 0


async def _record(settings: Settings, suite: Suite) -> tuple[list[Path], int]:
    """Run *suite*; return the cassettes that were written and how many calls failed. An interruption writes nothing."""
    from claudeprov.cassette.recording import RecordingTransport

    done: list[Row] = []

    def tell(row: Row) -> None:
        done.append(row)
        what = row.failure.message if row.failure else row.verdict or "answered"
        _tell(f"{len(done)}/{len(suite.tasks)} {row.id}: {what}")

    async with AnthropicClaudeProvider(settings, suite=suite.name) as provider:
        transport = provider.cassette
        assert isinstance(transport, RecordingTransport)
        try:
            await run_suite(provider, suite, concurrency=settings.concurrency, on_row=tell)
        except BaseException:
            transport.discard()
            raise
        failed = sum(row.failure is not None and row.failure.code != GradingError.code for row in done)
        if failed:
            _tell(f"{failed} of {len(done)} call(s) failed")
        if failed == len(done):
            transport.discard()
            _tell("nothing was written")
    return transport.written, failed


def _load(path: Path) -> dict[Path, Cassette]:
    from claudeprov.cassette.file import files_below, load

    return {file: load(file) for file in files_below(path)} if path.exists() else {}


def _settle(file: Path, old: Cassette | None, *, whole: bool) -> str:
    """Say how the recording in *file* differs from the *old* one, whose other requests are put back if not *whole*."""
    from claudeprov.cassette.file import load, save
    from claudeprov.cassette.match import sent_of

    new = load(file)
    asked = {sent_of(request).key for request in new.requests}
    others = [pair for pair in (old.data if old else ()) if sent_of(pair[0]).key not in asked]
    known = {sent_of(request).key for request in old.requests} if old else set()
    if others and not whole:
        new.data[:0] = others
        save(new)
    return (
        f"{len(new)} recording(s): {len(asked - known)} of new requests, {len(asked & known)} recorded again, "
        f"{len(others)} {'dropped' if whole else 'kept as they were'}"
    )


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")
