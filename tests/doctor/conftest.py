"""What the doctor's tests share: real servers, and checks of settings composed from overrides."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.ledger.conftest import postgres, server
from tests.state.conftest import make_server, own_server, redis_server
from tests.state.shared import MakeServer, RedisServer

__all__ = ["make_server", "own_server", "postgres", "redis_server", "server"]


@pytest.fixture(autouse=True)
def clean(no_credentials: None, no_settings: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty folder, and an environment that says nothing."""
    monkeypatch.chdir(tmp_path)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def unprivileged(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of a user's whom permissions bind, as they do not bind root; the test is that user."""
    is_root = os.geteuid() == 0
    with TemporaryDirectory() as folder:
        monkeypatch.chdir(folder)
        if is_root:
            os.chown(folder, 65534, 65534)
            os.seteuid(65534)
        try:
            yield Path(folder)
        finally:
            if is_root:
                os.seteuid(0)
            for path in Path(folder).iterdir():
                path.chmod(0o700)


@pytest.fixture
def as_ordinary_user(make_server: MakeServer, monkeypatch: pytest.MonkeyPatch) -> RedisServer:
    """A Redis server that knows this process as one of those who may do what applications do, which is not INFO."""
    password = "hunter2-of-redis"
    monkeypatch.setenv("REDIS_USERNAME", "app")
    monkeypatch.setenv("REDIS_PASSWORD", password)
    return make_server("--user", "app", "on", f">{password}", "~*", "+@all", "-@admin", "-@dangerous")


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of localhost that nobody trusts, with its key in one file."""
    file = tmp_path_factory.mktemp("tls") / "own.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(file), "-out", str(file.with_suffix(".crt"))]
    subprocess.run(command, check=True, capture_output=True)
    file.write_text(file.read_text() + file.with_suffix(".crt").read_text())
    return file


@pytest.fixture
async def tls_url(certificate: Path) -> AsyncIterator[str]:
    """A server on loopback that speaks TLS with that certificate."""
    import asyncio
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    listening = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    yield f"https://localhost:{listening.sockets[0].getsockname()[1]}"
    listening.close()
