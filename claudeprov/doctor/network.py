"""The way to a service: its name, a connection, and the handshake of TLS, each with how long it takes."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from functools import partial
from typing import Any
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

from claudeprov.clock import Clock
from claudeprov.doctor.check import Check
from claudeprov.errors import ConfigurationError, ConnectionFailedError
from claudeprov.thread import in_thread

_PORTS = {"http": 80, "https": 443}
_SLOW = 1.0
"""Seconds from which the way to a connection is slow."""


async def network(url: str, clock: Clock) -> Check:
    """Whether a connection to *url* can be made, by the proxy that the environment names if it does.

    Behind a proxy it is the proxy to which a connection is made; the handshake with the service goes through it, and
    is a matter of the first request.

    Raises:
        ConfigurationError: A port is none.
    """
    service = urlsplit(url)
    proxy = _proxy_of(service)
    host, port = _place(service, "endpoint.base_url") if proxy is None else _place(proxy, "HTTPS_PROXY or its like")
    place = f"{host}:{port}" if proxy is None else f"the proxy {host}:{port}"
    details: dict[str, Any] = {"host": host, "port": port, "proxy": proxy is not None}
    found = partial(Check, "network", details=details)
    step, started = "dns", clock.monotonic()

    def lap() -> None:
        nonlocal started
        now = clock.monotonic()
        details[f"{step}_seconds"], started = now - started, now

    try:
        await in_thread(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM), "doctor dns")
        lap()
        step = "connect"
        _, writer = await asyncio.open_connection(host, port, happy_eyeballs_delay=0.25)
        try:
            lap()
            if service.scheme == "https" and proxy is None:
                step = "tls"
                await writer.start_tls(_context(), server_hostname=host)
                lap()
                details["tls"] = writer.get_extra_info("ssl_object").version()
        finally:
            writer.transport.abort()
    except (OSError, UnicodeError) as error:  # those of names and of TLS are kinds of the one; the other: no name
        what, advice = _explained(error, step, host, by_proxy=proxy is not None)
        details["failed"] = step
        return found("fault", f"{place}: {what}", advice, ConnectionFailedError(f"{place}: {what}"))
    laps = {"DNS": "dns", "TCP": "connect", "TLS": "tls"}
    times = {name: details[key] for name, lap_ in laps.items() if (key := f"{lap_}_seconds") in details}
    told = f"{place} in " + ", ".join(f"{name} {seconds * 1000:.0f} ms" for name, seconds in times.items())
    if service.scheme == "http" and not _is_loopback(service.hostname or ""):
        advice = "use https:// in endpoint.base_url, or see to it that nobody listens on the way"
        return found("warning", f"{told}; credentials and prompts go over plain HTTP", advice)
    if sum(times.values()) > _SLOW:
        return found("warning", f"{told}: slow", "look at the name servers, at a VPN or proxy, and at the region")
    return found("ok", told)


def _proxy_of(service: SplitResult) -> SplitResult | None:
    proxies = getproxies()
    url = proxies.get(service.scheme) or proxies.get("all")
    if not url or proxy_bypass(service.hostname or ""):
        return None
    return urlsplit(url if "://" in url else f"http://{url}")


def _place(url: SplitResult, key: str) -> tuple[str, int]:
    try:
        port = url.port or _PORTS.get(url.scheme)
    except ValueError:
        raise ConfigurationError(f"{key}: the port of {url.hostname} is none; it must be from 1 to 65535") from None
    if port is None:
        raise ConfigurationError(f"{key}: {url.scheme}://{url.hostname} needs a port, such as 1080")
    return url.hostname or "", port


def _context() -> ssl.SSLContext:
    import httpx2  # trusts whom the SDK trusts

    return httpx2.create_ssl_context()


def _explained(error: OSError | UnicodeError, step: str, host: str, *, by_proxy: bool) -> tuple[str, str]:
    """What went wrong, and what to do."""
    where = "HTTPS_PROXY" if by_proxy else "endpoint.base_url"
    match error:
        case UnicodeError():
            return f"no such host: {error}", f"look at {where}"
        case socket.gaierror(errno=socket.EAI_NONAME):
            return f"no such host: {error.strerror}", f"look at {where}; offline, recorded answers: cassette=replay"
        case socket.gaierror():
            return f"its name cannot be looked up: {error.strerror}", "is this machine online? Look at its name servers"
        case ssl.SSLCertVerificationError():
            advice = "where a company's proxy opens TLS, name its certificate in SSL_CERT_FILE; else look at the clock"
            return f"its certificate is not trusted: {error.verify_message}", advice
        case ConnectionRefusedError():
            return "nothing listens there", f"look at {where}, and whether the server runs"
    if step == "tls":
        what = f"the handshake of TLS fails: {error.strerror or error or type(error).__name__}"
        return what, f"does {host} speak TLS at that port? Then something between breaks it: a proxy, a firewall"
    return f"no connection: {error.strerror or error or type(error).__name__}", "look for a firewall, a VPN or a proxy"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
