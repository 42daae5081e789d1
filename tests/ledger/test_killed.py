"""``kill -9`` under load: no call that has ended is lost, and the database opens clean."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
from contextlib import closing
from multiprocessing.reduction import DupFd
from random import Random

from claudeprov.ledger.outbox import open_outbox
from claudeprov.settings.ledger import LedgerSettings
from tests.ledger.load import make_calls
from tests.ledger.rows import ledger

KILLS = 50
MOST = 200
"""Ended calls after which a process is killed at the latest: by then some are moved, some wait."""


def run_until_killed(context, path, calls):
    """Have a process make calls, kill it once so many have ended, and return all of which it told."""
    reader, writer = os.pipe()
    process = context.Process(target=_run, args=(str(path), DupFd(writer)))
    process.start()
    os.close(writer)
    with open(reader, "rb") as told:
        lines = [told.readline() for _ in range(calls)]
        process.kill()
        lines += told.readlines()
    process.join()
    assert process.exitcode == -9
    return {line.decode().strip() for line in lines if line.endswith(b"\n")}


def _run(path, writer):
    make_calls(path, writer.detach())


def rows_of(path):
    store = ledger(path)
    with closing(store):
        return [row.id for row in store.rows()]


def test_fifty_kills_under_load_lose_no_call_that_has_ended(tmp_path):
    path, random = tmp_path / "ledger.db", Random(1)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.ledger.load"])
    ended = set()
    for _ in range(KILLS):
        ended |= run_until_killed(context, path, random.randrange(1, MOST))
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    box = open_outbox(LedgerSettings(path=str(path)), "")
    assert box.move()
    box.close()
    entered = rows_of(path)
    assert ended - set(entered) == set()
    assert len(entered) == len(set(entered))
    assert len(ended) > KILLS
    assert os.listdir(tmp_path) == ["ledger.db"]
