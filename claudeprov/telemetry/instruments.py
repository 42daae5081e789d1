"""Metrics for OpenTelemetry: a book whose series are instruments of a ``MeterProvider``."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from threading import Lock
from weakref import WeakKeyDictionary

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

import claudeprov
from claudeprov.telemetry.book import Book, Values
from claudeprov.telemetry.table import METRICS, Metric


class Instruments(Book):
    """The instruments of one ``MeterProvider``; all providers of a process that measure with it share them.

    Counters and gauges are observed when metrics are collected: recording a value costs about ten microseconds, which
    is why only histograms do.
    """

    def __init__(self, meters: MeterProvider) -> None:
        super().__init__()
        meter = meters.get_meter("claudeprov", claudeprov.__version__)
        make = {"counter": meter.create_observable_counter, "gauge": meter.create_observable_gauge}
        self._histograms = {}
        for metric in METRICS:
            if metric.kind == "histogram":
                self._histograms[metric] = meter.create_histogram(
                    metric.name, metric.unit, metric.description, explicit_bucket_boundaries_advisory=metric.buckets
                )
            else:
                make[metric.kind](metric.name, [partial(self._observed, metric)], metric.unit, metric.description)

    @staticmethod
    def of(meters: MeterProvider) -> Instruments:
        """Those of *meters*: an instrument can be made once."""
        with _MAKING:
            made = _MADE.get(meters)
            if made is None:
                made = _MADE[meters] = Instruments(meters)
            return made

    def _observe(self, metric: Metric, values: Values, amount: float) -> None:
        self._histograms[metric].record(amount, _attributes(metric, values))

    def _observed(self, metric: Metric, _: CallbackOptions) -> Iterable[Observation]:
        return [Observation(amount, _attributes(metric, values)) for values, amount in self.series(metric)]


def _attributes(metric: Metric, values: Values) -> dict[str, str]:
    pairs = zip(metric.labels, values, strict=True)
    return {label.name: value for label, value in pairs if value is not None}


_MADE: WeakKeyDictionary[MeterProvider, Instruments] = WeakKeyDictionary()
_MAKING = Lock()
