"""Metrics for Prometheus: a book that is read over HTTP.

OpenTelemetry's own exporter for Prometheus is not used: recording a call's four histograms with its SDK takes longer
than all else that telemetry does. What is served has the names that it would give.
"""

from __future__ import annotations

import logging
import socket
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from socketserver import TCPServer, ThreadingMixIn
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family

from claudeprov.telemetry.book import Book, Values
from claudeprov.telemetry.table import METRICS, Kind, Metric

_log = logging.getLogger(__name__)

_POLL = 0.1
"""Seconds after which a server that is to stop does."""


class Pages(Book):
    """Series as ``prometheus_client`` writes them: register it with a registry."""

    def __init__(self) -> None:
        super().__init__()
        self._distributions: dict[Metric, dict[Values, _Distribution]] = {metric: {} for metric in METRICS}

    def collect(self) -> Iterator[Family]:
        """Yield every metric that has a series."""
        self.enter()
        for metric in METRICS:
            family = _FAMILIES[metric.kind](
                metric.prometheus, metric.description, labels=[label.prometheus for label in metric.labels]
            )
            if metric.kind == "histogram":
                for values, distribution in self._distributions[metric].copy().items():
                    family.add_metric(_texts(values), *distribution.cumulated(metric.buckets))
            else:
                for values, amount in self.series(metric):
                    family.add_metric(_texts(values), amount)
            if family.samples:
                yield family

    def _observe(self, metric: Metric, values: Values, amount: float) -> None:
        distributions = self._distributions[metric]
        distribution = distributions.get(values)
        if distribution is None:
            distribution = distributions[values] = _Distribution(len(metric.buckets) + 1)
        distribution.counts[bisect_left(metric.buckets, amount)] += 1
        distribution.sum += amount


class _Distribution:
    """The values of one series of a histogram."""

    __slots__ = ("counts", "sum")

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * buckets
        self.sum = 0.0

    def cumulated(self, bounds: Sequence[float]) -> tuple[list[tuple[str, int]], float]:
        """How many are no larger than each bound, and the sum of all."""
        names = (*(str(bound) for bound in bounds), "+Inf")
        return list(zip(names, accumulate(self.counts), strict=True)), self.sum


_FAMILIES: Mapping[Kind, Any] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
}


def _texts(values: Values) -> list[str]:
    """To Prometheus a label that is empty is none."""
    return [value or "" for value in values]


class Server(ThreadingMixIn, WSGIServer):
    """Serves the metrics of *registry* in threads of its own, at any path.

    Args:
        registry: Whose collectors are asked at each scrape.
        host: Address to listen at.
        port: 0: any that is free.

    Raises:
        OSError: Nothing can listen there.
    """

    daemon_threads = True

    def __init__(self, registry: CollectorRegistry, host: str, port: int) -> None:
        self.address_family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        super().__init__((str(address[0]), port), _Handler)
        self.set_app(make_wsgi_app(registry))
        self._thread = Thread(target=self.serve_forever, args=(_POLL,), name="claudeprov-prometheus", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it is."""
        host = f"[{self.server_name}]" if ":" in self.server_name else self.server_name
        return f"http://{host}:{self.server_port}/metrics"

    def server_bind(self) -> None:
        """Take the address as it is: the standard library's asks for its name, for which a resolver may take long."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.socket.getsockname()[:2]
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever scrapes has gone."""
        _log.debug("a scrape failed", exc_info=True)

    def stop(self) -> None:
        """Give the port back."""
        self.shutdown()
        self.server_close()


class _Handler(WSGIRequestHandler):
    timeout = 10  # a connection on which nothing comes is no scrape

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing of scrapes."""
