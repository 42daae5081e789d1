"""The way to a service, to real servers on loopback."""

import asyncio
import socket

import pytest

from claudeprov.clock import SYSTEM_CLOCK
from claudeprov.doctor import network as network_module
from claudeprov.doctor.examine import Look, examine
from claudeprov.doctor.network import network
from claudeprov.errors import ConfigurationError, ConnectionFailedError
from claudeprov.testing import ManualClock
from tests.server import Answer, Server


@pytest.fixture
def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


async def test_a_connection_is_told_with_how_long_each_step_took():
    async with Server(Answer()) as server:
        check = await network(server.url, SYSTEM_CLOCK)
    assert check.status == "ok"
    assert check.details["dns_seconds"] >= 0
    assert check.details["connect_seconds"] > 0
    assert "tls_seconds" not in check.details
    assert server.asked == []


async def test_a_handshake_of_tls_is_told_with_its_version(tls_url, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    check = await network(tls_url, SYSTEM_CLOCK)
    assert (check.status, check.details["tls"]) == ("ok", "TLSv1.3")
    assert check.details["tls_seconds"] > 0
    assert "TLS" in check.found


async def test_a_certificate_that_nobody_trusts(tls_url):
    check = await network(tls_url, SYSTEM_CLOCK)
    assert (check.status, check.details["failed"]) == ("fault", "tls")
    assert "its certificate is not trusted: self" in check.found
    assert "SSL_CERT_FILE" in check.advice


async def test_a_server_that_speaks_no_tls():
    async def refuse(reader, writer):
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        await reader.read(1)
        writer.close()

    listening = await asyncio.start_server(refuse, "127.0.0.1", 0)
    check = await network(f"https://localhost:{listening.sockets[0].getsockname()[1]}", SYSTEM_CLOCK)
    assert (check.status, check.details["failed"]) == ("fault", "tls")
    assert "the handshake of TLS fails" in check.found
    listening.close()


async def test_nobody_listens(closed_port):
    check = await network(f"http://127.0.0.1:{closed_port}", SYSTEM_CLOCK)
    assert (check.status, check.details["failed"]) == ("fault", "connect")
    assert "nothing listens there" in check.found
    assert isinstance(check.error, ConnectionFailedError)


async def test_a_name_that_nobody_knows():
    check = await network("https://nowhere.invalid", SYSTEM_CLOCK)
    assert (check.status, check.details["failed"]) == ("fault", "dns")
    assert check.found.startswith("nowhere.invalid:443: ")


async def test_a_server_that_takes_the_connection_and_says_nothing_is_given_up():
    clock = ManualClock()
    arrived = asyncio.Event()

    async def hang(reader, writer):
        arrived.set()
        await reader.read()
        await asyncio.sleep(0)
        writer.close()

    listening = await asyncio.start_server(hang, "127.0.0.1", 0)
    url = f"https://localhost:{listening.sockets[0].getsockname()[1]}"
    looking = asyncio.create_task(examine([Look("network", lambda: network(url, clock))], clock, limit=5))
    await arrived.wait()
    await clock.advance(5)
    (check,) = await looking
    assert (check.status, check.error.code) == ("fault", "timeout")
    listening.close()


async def test_behind_a_proxy_it_is_the_proxy_that_is_reached(monkeypatch):
    async with Server(Answer()) as server:
        monkeypatch.setenv("HTTPS_PROXY", server.url.replace("://", "://me:pa55word@"))
        look = Look("network", lambda: network("https://api.example.com", SYSTEM_CLOCK))
        (check,) = await examine([look], SYSTEM_CLOCK, limit=10)
    assert (check.status, check.details["proxy"]) == ("ok", True)
    assert check.found.startswith("the proxy 127.0.0.1:")
    assert "pa55word" not in f"{check}"


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999", "https://127.0.0.1:none"])
async def test_a_port_that_is_none(url):
    with pytest.raises(ConfigurationError, match=r"endpoint\.base_url: the port"):
        await network(url, SYSTEM_CLOCK)


@pytest.mark.parametrize("proxy", ["http://me:pa55word@127.0.0.1:none", "socks5://127.0.0.1", "socks5://h:99999"])
async def test_a_proxy_without_a_port_that_can_be_used(proxy, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(ConfigurationError, match=r"HTTPS_PROXY.* port") as raised:
        await network("https://api.example.com", SYSTEM_CLOCK)
    assert "pa55word" not in str(raised.value)


async def test_a_name_that_cannot_be_one():
    check = await network("https://a..b", SYSTEM_CLOCK)
    assert (check.status, check.details["failed"]) == ("fault", "dns")


async def test_a_slow_way_is_a_warning(monkeypatch):
    monkeypatch.setattr(network_module, "_SLOW", 0.0)
    async with Server(Answer()) as server:
        check = await network(server.url, SYSTEM_CLOCK)
    assert (check.status, check.found.endswith(": slow")) == ("warning", True)


async def test_a_proxy_that_does_not_count_for_the_host_is_none(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://nowhere.invalid:1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    async with Server(Answer()) as server:
        assert (await network(server.url, SYSTEM_CLOCK)).details["proxy"] is False


async def test_plain_http_to_another_machine_is_a_warning(monkeypatch):
    async with Server(Answer()) as server:
        monkeypatch.setenv("HTTP_PROXY", server.url)
        check = await network("http://gateway.example.com", SYSTEM_CLOCK)
    assert check.status == "warning"
    assert "https://" in check.advice
