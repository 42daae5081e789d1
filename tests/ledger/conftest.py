"""A server of PostgreSQL's own, for as long as the tests run."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PASSWORD = "a-pa55word"


class Postgres:
    """A server on a free port, with a database ``usage`` of the user ``me``; programs refuse to run it as root."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._data = folder / "data"
        self._log = folder / "log"
        self._user = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
        if self._user:
            shutil.chown(folder, "postgres", "postgres")
        secret = folder / "secret"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._run("initdb", "-U", "me", "--auth=scram-sha-256", f"--pwfile={secret}", "--no-sync")
        self.start()
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "me", "usage", data=False)

    @property
    def url(self) -> str:
        return f"postgresql://me@127.0.0.1:{self.port}/usage"

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        self._run("pg_ctl", "-l", str(self._log), "-o", options, "-w", "start")

    def stop(self, mode: str = "fast") -> None:
        self._run("pg_ctl", "-m", mode, "-w", "stop")

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Have every process of the server stand still: connections stay open, and nothing answers."""
        leader = (self._data / "postmaster.pid").read_text().split()[0]
        others = subprocess.run(["pgrep", "-P", leader], check=True, capture_output=True, text=True).stdout.split()
        processes = [int(leader), *map(int, others)]
        try:
            for process in processes:
                os.kill(process, signal.SIGSTOP)
            yield
        finally:
            for process in processes:
                os.kill(process, signal.SIGCONT)

    def _run(self, program: str, *args: str, data: bool = True) -> None:
        where = ["-D", str(self._data)] if data else []
        environment = os.environ | {"PGPASSWORD": PASSWORD, "LC_ALL": "C"}
        subprocess.run(
            [self._programs / program, *where, *args],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            cwd="/",
            **self._user,
        )


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or [shutil.which("initdb")]
    if not found[-1]:
        if os.environ.get("SERVERS_REQUIRED"):
            pytest.fail("PostgreSQL is not installed")
        pytest.skip("PostgreSQL is not installed")
    folder = Path(tempfile.mkdtemp(prefix="claudeprov-postgres-"))
    server = Postgres(Path(found[-1]).parent, folder)
    yield server
    server.stop("immediate")
    shutil.rmtree(folder)


@pytest.fixture
def postgres(server: Postgres, monkeypatch: pytest.MonkeyPatch) -> Postgres:
    """The server, with an empty database and the password in the environment."""
    import psycopg

    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS calls")
    return server
