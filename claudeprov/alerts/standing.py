"""How breakers and budgets stand, by what their layers have told."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from claudeprov.alerts.measure import Reading
from claudeprov.clock import Clock
from claudeprov.notice import Notice
from claudeprov.settings.alerts import RuleSettings

_MOST = 32
"""Routes, and limits, that are kept; of more, those that were told of least lately are forgotten."""
_OPEN = ("open", "half_open")
"""States of a breaker that is not closed: one that lets calls through on trial has not closed yet."""


class Standing:
    """What is the case until something else is told, or, of a budget, until its period ends.

    Args:
        clock: Where time comes from.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open: dict[str, None] = {}
        self._spent: dict[str, _Spent] = {}

    def hear(self, notice: Notice) -> None:
        """Take in a notice; those of others than breakers and budgets say nothing."""
        if notice.name == "breaker.changed":
            self._open.pop(notice.fields["route"], None)
            if notice.fields["to"] in _OPEN:
                _put(self._open, notice.fields["route"], None)
        elif notice.name == "budget.threshold":
            _put(self._spent, _limit(notice.fields), self._told(notice.fields))

    def keys(self, rule: RuleSettings) -> Collection[str]:
        """The routes, or limits, of which *rule* has something to read."""
        return self._open if rule.measure == "breaker_open" else self._spent

    def read(self, rule: RuleSettings, key: str | None) -> Reading:
        """What *rule* looks at; a run's budget counts for its window, as nobody tells of a run's end."""
        if rule.measure == "breaker_open":
            return Reading(1.0 if key in self._open else None, None)
        spent, now = self._spent.get(key or ""), self._clock.monotonic()
        if spent is None or now >= (spent.told + rule.window if spent.ends is None else spent.ends):
            return Reading(None, None)
        return Reading(spent.percent, None)

    def _told(self, fields: Mapping[str, Any]) -> _Spent:
        now, ends = self._clock.monotonic(), fields["resets_at"]
        if ends is not None:
            ends = now + (datetime.fromisoformat(ends) - self._clock.now()).total_seconds()
        return _Spent(float(100 * fields["spent"] / fields["limit"]), now, ends)


class _Spent(NamedTuple):
    percent: float
    told: float
    ends: float | None


def _limit(fields: Mapping[str, Any]) -> str:
    return " ".join(filter(None, (fields["setting"], fields["tag"])))


def _put(kept: dict[str, Any], key: str, value: Any) -> None:
    kept.pop(key, None)
    kept[key] = value
    if len(kept) > _MOST:
        del kept[next(iter(kept))]
