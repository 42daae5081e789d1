"""PromQL, built from the table of metrics: a name that it does not have cannot be asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from claudeprov.telemetry.table import Label, Metric

Key = Label | str
"""What series are summed by: a label of the metric, or ``job`` and ``instance``, which Prometheus adds."""


class Matcher(NamedTuple):
    """What a label must be."""

    label: Label
    condition: str


def is_any(label: Label, *values: str) -> Matcher:
    """The label has one of *values*."""
    if unknown := set(values).difference(label.values):
        raise ValueError(f"{label.name} is never {', '.join(sorted(unknown))}")
    return Matcher(label, f'="{values[0]}"' if len(values) == 1 else f'=~"{"|".join(values)}"')


def is_set(label: Label) -> Matcher:
    """The label is there."""
    return Matcher(label, '!=""')


def is_unset(label: Label) -> Matcher:
    """The label is left out."""
    return Matcher(label, '=""')


def key_name(key: Key) -> str:
    """Its name in Prometheus."""
    return key if isinstance(key, str) else key.prometheus


class Queries:
    """Makes queries over one window.

    Args:
        window: Such as ``5m``.
        everywhere: Conditions on ``job`` and ``instance``, in every query.
        chosen: Conditions on labels, in every query of a metric that has the label.
    """

    def __init__(self, window: str, everywhere: Sequence[str] = (), chosen: Sequence[Matcher] = ()) -> None:
        self._window = window
        self._everywhere = tuple(everywhere)
        self._chosen = tuple(chosen)

    def series(self, metric: Metric, *matchers: Matcher, suffix: str = "") -> str:
        """The metric's series as they are."""
        for label, _ in matchers:
            _check(metric, label)
        chosen = [matcher for matcher in self._chosen if matcher.label in metric.labels]
        conditions = [*self._everywhere, *(label.prometheus + condition for label, condition in (*chosen, *matchers))]
        return metric.prometheus + suffix + (f"{{{', '.join(conditions)}}}" if conditions else "")

    def grouped(self, how: str, metric: Metric, by: Sequence[Key], *matchers: Matcher) -> str:
        """A gauge's series brought together by ``sum``, ``min`` or ``max``."""
        return f"{how}{_by(metric, by)} ({self.series(metric, *matchers)})"

    def ratio(self, how: str, part: Metric, whole: Metric, by: Sequence[Key], *matchers: Matcher) -> str:
        """How much of one gauge another is, series by series; those brought together by ``min`` or ``max``."""
        return f"{how}{_by(part, by)} ({self.series(part, *matchers)} / {self.series(whole, *matchers)})"

    def rate(self, metric: Metric, by: Sequence[Key] = (), *matchers: Matcher, suffix: str = "") -> str:
        """What is added in a second."""
        return f"sum{_by(metric, by)} (rate({self.series(metric, *matchers, suffix=suffix)}[{self._window}]))"

    def increase(self, metric: Metric, by: Sequence[Key] = (), *matchers: Matcher, suffix: str = "") -> str:
        """What was added over the window."""
        return f"sum{_by(metric, by)} (increase({self.series(metric, *matchers, suffix=suffix)}[{self._window}]))"

    def quantile(self, share: float, metric: Metric, by: Sequence[Key] = (), *matchers: Matcher) -> str:
        """The value of a histogram that *share* of what it measured is below."""
        buckets = f"rate({self.series(metric, *matchers, suffix='_bucket')}[{self._window}])"
        return f"histogram_quantile({share:g}, sum{_by(metric, [*by, 'le'])} ({buckets}))"

    def share(self, part: Matcher, whole: Matcher, metric: Metric, by: Sequence[Key] = ()) -> str:
        """How much of a counter's *whole* is *part*; 0 where there is none of it, nothing where there is no whole."""
        among = self.rate(metric, by, whole)
        return f"({self.rate(metric, by, part)} or 0 * {among}) / ({among} > 0)"


def _check(metric: Metric, label: Label) -> None:
    if label not in metric.labels:
        raise ValueError(f"{metric.name} has no label {label.name}")


def _by(metric: Metric, keys: Sequence[Key]) -> str:
    for key in keys:
        if isinstance(key, Label):
            _check(metric, key)
    return f" by ({', '.join(map(key_name, keys))})" if keys else ""
