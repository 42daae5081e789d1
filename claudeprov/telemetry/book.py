"""A book of measurements: what is told of all calls of a process, by series, until it is exported."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from threading import Lock
from weakref import WeakSet

from claudeprov.telemetry import table
from claudeprov.telemetry.scrub import text_without_secrets
from claudeprov.telemetry.table import METRICS, OTHER, Label, Metric

Values = tuple[str | None, ...]
"""Of a metric's labels, in their order; ``None`` leaves one out."""
Read = Callable[[Metric], Iterable[tuple[Values, float]]]
"""What a gauge is now, as one provider knows it."""

_LONGEST = 100
"""Characters of a label's value."""
_MERGED: Mapping[Metric, Callable[[list[float]], float]] = {
    table.STREAMS: sum,
    table.RATELIMIT_WAITING: sum,
    table.RATELIMIT_REMAINING: min,
    table.RATELIMIT_LIMIT: min,
}
"""How what several providers read of one series becomes one figure; by default the most counts."""


class Book(ABC):
    """Adds up counters, reads gauges, and hands on the values of histograms.

    A stream that nobody reads may end in the garbage collector, at any time, and while somebody holds a lock. So a
    measurement is only noted at first, and entered when metrics are exported, or when there are many and it is safe.
    """

    def __init__(self) -> None:
        self._noted: deque[tuple[Metric, Values, float]] = deque()
        self._entering = Lock()
        _BOOKS.add(self)
        self._reads: tuple[Read, ...] = ()
        self._sums: dict[Metric, dict[Values, float]] = {metric: defaultdict(float) for metric in METRICS}
        self._known: dict[Metric, set[Values]] = {metric: set() for metric in METRICS}
        bounds = {label: Bound(label) for metric in METRICS for label in metric.labels}
        self._bounds = {metric: [bounds[label] for label in metric.labels] for metric in METRICS}

    def add(self, metric: Metric, values: Values, amount: float = 1) -> None:
        """Note a measurement of a counter or a histogram; its values may be any."""
        self._noted.append((metric, values, amount))

    def watch(self, read: Read) -> None:
        """Ask *read* for gauges from now on."""
        self._reads = (*self._reads, read)

    def forget(self, read: Read) -> None:
        """Ask it no more."""
        self._reads = tuple(other for other in self._reads if other != read)

    def enter(self, *, at_least: int = 1) -> None:
        """Enter what was noted, if that is so much."""
        if len(self._noted) < at_least:
            return
        with self._entering:
            while self._noted:
                metric, values, amount = self._noted.popleft()
                values = self._bounded(metric, values)
                if metric.kind == "counter":
                    self._sums[metric][values] += amount
                else:
                    self._observe(metric, values, amount)

    def series(self, metric: Metric) -> list[tuple[Values, float]]:
        """What a counter, or a gauge, is now."""
        self.enter()
        with self._entering:
            if metric.kind == "counter":
                return list(self._sums[metric].items())
            found: dict[Values, list[float]] = defaultdict(list)
            for read in self._reads:
                for values, amount in read(metric):
                    found[self._bounded(metric, values)].append(amount)
            merge = _MERGED.get(metric, max)
            return [(values, merge(amounts)) for values, amounts in found.items()]

    def in_child(self) -> None:
        """Be usable after a fork: whoever held the lock has not come along."""
        self._entering = Lock()

    @abstractmethod
    def _observe(self, metric: Metric, values: Values, amount: float) -> None:
        """Take one value of a histogram."""

    def _bounded(self, metric: Metric, values: Values) -> Values:
        if values in self._known[metric]:
            return values
        bounds = zip(self._bounds[metric], values, strict=True)
        values = tuple(None if value is None else bound.of(value) for bound, value in bounds)
        self._known[metric].add(values)
        return values


_BOOKS: WeakSet[Book] = WeakSet()


def _in_child() -> None:
    for book in _BOOKS:
        book.in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


class Bound:
    """Keeps the values of a label from growing without end."""

    def __init__(self, label: Label) -> None:
        self._known = set(label.values)
        self._room = label.more

    def of(self, value: object) -> str:
        """What stands for *value*: itself, shortened and without what looks like a secret, or ``other``."""
        text = str(value)
        if text in self._known:
            return text
        text = text_without_secrets(text.encode(errors="replace").decode())[:_LONGEST]
        if text in self._known:
            return text
        if not self._room:
            return OTHER
        self._room -= 1
        self._known.add(text)
        return text
