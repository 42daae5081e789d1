"""Where spans and metrics go: OpenTelemetry's providers, from settings.

No global provider is set. What a process exports in one way and to one place it exports once, however many providers of
ours it has: they share that, and the last to close closes it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from math import inf
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any

from claudeprov.errors import ConfigurationError
from claudeprov.settings.telemetry import TelemetrySettings

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import MetricReader
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import TracerProvider

    from claudeprov.telemetry.book import Book

_log = logging.getLogger(__name__)

_CLOSES_WITHIN = 5.0
"""Seconds in which what is left is delivered, when the last provider closes, or is lost."""
_LAST_PORT = 65535
_MINUTE = 60.0
"""Seconds for which a complaint is not repeated."""


@dataclass
class Exporting:
    """What spans and metrics are handed to; where one is ``None``, nobody wants them."""

    tracers: TracerProvider | None = None
    book: Book | None = None
    url: str | None = None
    """Where Prometheus scrapes."""
    stops: list[Callable[[], object]] = field(default_factory=list)
    """What delivers the rest and stops exporting; may take long."""
    undo: list[Callable[[], object]] = field(default_factory=list)
    """What is undone at once when that is done."""
    leave: Callable[[], object] | None = None
    """What lets go in a forked child of what is the parent's."""
    users: int = 0
    """Providers that share it."""

    async def close(self) -> None:
        """Take leave; the last user delivers the rest, which takes five seconds at most, and fails silently but for a
        warning in the log."""
        with _OPENING:
            self.users -= 1
            if self.users > 0:
                return
            for key in [key for key, exporting in _OPEN.items() if exporting is self]:
                del _OPEN[key]
        try:
            await self._stop()
        finally:
            for undo in self.undo:
                undo()

    async def _stop(self) -> None:
        loop = asyncio.get_running_loop()
        stopped = [loop.create_future() for _ in self.stops]
        for stop, future in zip(self.stops, stopped, strict=True):
            # No thread of an executor: those are waited for when the process ends.
            Thread(target=_stop, args=(stop, loop, future), name="claudeprov-telemetry", daemon=True).start()
        if stopped:
            _, late = await asyncio.wait(stopped, timeout=_CLOSES_WITHIN)
            if late:
                _log.warning("telemetry could not be delivered within %.0f s, and is lost", _CLOSES_WITHIN)


_OPEN: dict[tuple[object, ...], Exporting] = {}
_OPENING = Lock()


def _in_child() -> None:
    """Begin anew after a fork: threads do not go along, and what the parent serves a child cannot."""
    global _OPENING
    _OPENING = Lock()
    for exporting in _OPEN.values():
        exporting.stops.clear()
        if exporting.leave is not None:
            exporting.leave()
    _OPEN.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


def open_exporting(settings: TelemetrySettings) -> Exporting:
    """Export as *settings* say, or share what does so already.

    With ``exporter=none`` that is to the providers that the application has set up by then; where it has none, no
    module of OpenTelemetry is imported.

    Raises:
        ConfigurationError: An extra is missing, or the port is taken.
    """
    if settings.exporter == "none":
        return _host()
    key = (settings.exporter, settings.endpoint, settings.host, settings.port)
    with _OPENING:
        exporting = _OPEN.get(key)
        if exporting is None:
            make = {"console": _console, "otlp": _otlp, "prometheus": _prometheus}[settings.exporter]
            try:
                exporting = _OPEN[key] = make(settings)
            except ModuleNotFoundError as error:
                extra = settings.exporter
                raise ConfigurationError(
                    f"telemetry.exporter={extra} needs an extra: pip install 'claudeprov[{extra}]'"
                ) from error
        if settings.exporter == "prometheus":
            exporting.tracers = _host_tracers()  # they may have been set up since it was opened
        exporting.users += 1
        return exporting


def _host() -> Exporting:
    """What the application has set up: it has imported the API, then, and its provider is no stand-in."""
    metrics = sys.modules.get("opentelemetry.metrics")
    meters = _real(metrics.get_meter_provider() if metrics else None)
    return Exporting(_host_tracers(), meters and _instruments(meters))


def _host_tracers() -> TracerProvider | None:
    trace = sys.modules.get("opentelemetry.trace")
    found: TracerProvider | None = _real(trace.get_tracer_provider() if trace else None)
    return found


def _instruments(meters: MeterProvider) -> Book:
    from claudeprov.telemetry.instruments import Instruments

    return Instruments.of(meters)


def _real(provider: Any) -> Any:
    """None for what OpenTelemetry's API has where nothing is set up; it has no other way to tell."""
    return None if type(provider).__module__.partition("._internal")[0] in _API else provider


_API = ("opentelemetry.trace", "opentelemetry.metrics", "builtins")


def _console(settings: TelemetrySettings) -> Exporting:
    from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, PeriodicExportingMetricReader
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter

    exporting = Exporting()
    _trace(exporting, ConsoleSpanExporter(out=sys.stderr))
    _measure(exporting, PeriodicExportingMetricReader(ConsoleMetricExporter(out=sys.stderr)))
    return exporting


def _otlp(settings: TelemetrySettings) -> Exporting:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    base = settings.endpoint and settings.endpoint.rstrip("/")
    exporting = Exporting()
    _trace(exporting, OTLPSpanExporter(base and f"{base}/v1/traces"))
    _measure(exporting, PeriodicExportingMetricReader(OTLPMetricExporter(base and f"{base}/v1/metrics")))
    seldom = Seldom()
    for kind in (OTLPSpanExporter, OTLPMetricExporter):
        logger = logging.getLogger(kind.__module__)
        logger.addFilter(seldom)
        exporting.undo.append(partial(logger.removeFilter, seldom))
    return exporting


def _prometheus(settings: TelemetrySettings) -> Exporting:
    from prometheus_client import CollectorRegistry

    from claudeprov.telemetry.scrape import Pages, Server

    service = {name.replace(".", "_"): str(value) for name, value in _resource().attributes.items()}
    registry, pages = CollectorRegistry(target_info=service), Pages()
    registry.register(pages)
    try:
        server = Server(registry, settings.host, settings.port)
    except OSError as error:
        raise ConfigurationError(
            f"telemetry.port={settings.port}: nothing can listen at {settings.host}:{settings.port} "
            f"({error.strerror}). If another process does, give each a port of its own, such as "
            f"telemetry.port={settings.port + (1 if settings.port < _LAST_PORT else -1)}; "
            f"telemetry.port=0 takes any that is free"
        ) from error
    _log.info("metrics for Prometheus are at %s", server.url)
    return Exporting(book=pages, url=server.url, stops=[server.stop], leave=server.server_close)


def _trace(exporting: Exporting, exporter: SpanExporter) -> None:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    tracers = exporting.tracers = TracerProvider(resource=_resource(), shutdown_on_exit=False)
    tracers.add_span_processor(BatchSpanProcessor(exporter))
    exporting.stops.append(tracers.shutdown)


def _measure(exporting: Exporting, reader: MetricReader) -> None:
    from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, MeterProvider

    meters = MeterProvider(
        (reader,), resource=_resource(), exemplar_filter=AlwaysOffExemplarFilter(), shutdown_on_exit=False
    )
    exporting.book = _instruments(meters)
    exporting.stops.append(partial(meters.shutdown, timeout_millis=1000 * _CLOSES_WITHIN))


def _resource() -> Resource:
    """What the environment says of the service (``OTEL_SERVICE_NAME``, ``OTEL_RESOURCE_ATTRIBUTES``), or our name."""
    from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource

    import claudeprov

    resource = Resource.create()
    if not str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
        return resource
    return resource.merge(Resource({SERVICE_NAME: "claudeprov", SERVICE_VERSION: claudeprov.__version__}))


class Seldom(logging.Filter):
    """Lets a logger say a thing once a minute: while a collector is away its exporters complain of every attempt.

    Two complaints are the same if they differ by no more than a figure such as the seconds until the next attempt.
    """

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[tuple[str, ...], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it has not been said for a minute."""
        details = record.args if isinstance(record.args, tuple) else (record.args,)
        what = record.name, str(record.msg), *(str(detail) for detail in details if not isinstance(detail, float))
        if record.created - self._said.get(what, -inf) < _MINUTE:
            return False
        self._said = {said: at for said, at in self._said.items() if record.created - at < _MINUTE}
        self._said[what] = record.created
        return True


def _stop(stop: Callable[[], object], loop: asyncio.AbstractEventLoop, stopped: asyncio.Future[None]) -> None:
    try:
        stop()
    except Exception:
        _log.warning("telemetry was not wholly delivered", exc_info=True)
    with suppress(RuntimeError):  # the loop may be gone: nobody waits any more
        loop.call_soon_threadsafe(_settle, stopped)


def _settle(stopped: asyncio.Future[None]) -> None:
    if not stopped.done():  # nor is anybody waiting who was cancelled
        stopped.set_result(None)
