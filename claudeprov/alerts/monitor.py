"""All rules at work: what calls and layers tell goes in, what is to be told to somebody comes out."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterable
from datetime import timedelta

from claudeprov.alerts.alert import Alert
from claudeprov.alerts.baseline import Baselines, Question
from claudeprov.alerts.measure import Reading, read
from claudeprov.alerts.rule import Watch
from claudeprov.alerts.standing import Standing
from claudeprov.alerts.window import Sample, Window
from claudeprov.clock import Clock
from claudeprov.mask import masked_text
from claudeprov.settings.alerts import AlertsSettings, RuleSettings, Scope

_log = logging.getLogger(__name__)

KEYS = 32
"""Models, and routes, that are looked at by themselves; calls of more count in the whole only."""
_STANDING = ("breaker_open", "budget")


class Monitor:
    """Takes in calls and notices, and works out what changes. Needs neither event loop nor network.

    Args:
        settings: The rules.
        clock: Where time comes from.
        baselines: What the ledger tells.
    """

    def __init__(self, settings: AlertsSettings, *, clock: Clock, baselines: Baselines) -> None:
        self._rules = settings.rules
        self._clock = clock
        self._baselines = baselines
        self._service = os.environ.get("OTEL_SERVICE_NAME", "claudeprov")
        self._host = socket.gethostname()
        of_calls = [rule for rule in self._rules.values() if rule.measure not in _STANDING]
        self._windows: dict[Scope, dict[str | None, Window]] = {rule.per: {} for rule in of_calls}
        self._longest = max((rule.window for rule in of_calls), default=0.0)
        self._watches: dict[tuple[str, str | None], Watch] = {}
        self._run: str | None = None
        self._explained: set[str] = set()
        self.standing = Standing(clock)
        """How breakers and budgets stand; it hears the notices."""

    def add(self, sample: Sample, *, model: str | None, route: str, run: str | None) -> None:
        """Take in a call that has ended."""
        self._run = run
        for per, windows in self._windows.items():
            key = None if per == "whole" else model if per == "model" else route
            window = windows.get(key)
            if window is None:
                if len(windows) >= KEYS:
                    self._explain(per, f"alerts look at {KEYS} {per}s only; calls of others count in the whole")
                    continue
                window = windows[key] = Window()
            window.add(sample)

    def evaluate(self) -> list[Alert]:
        """Look at every rule; return what is to be told now, in the rules' order."""
        now = self._clock.monotonic()
        alerts = []
        for name, rule in self._rules.items():
            for key in self._keys(name, rule):
                reading = self._read(rule, key, now)
                baseline = None if rule.times_baseline is None else self._baseline(name, rule, key)
                watch = self._watches.setdefault((name, key), Watch(rule))
                if watch.see(watch.is_bad(*reading, baseline), now):
                    alerts.append(self._alert(name, watch, reading, baseline, key, now))
                if watch.state == "ok":
                    del self._watches[name, key]
        for windows in self._windows.values():
            for window in windows.values():
                window.forget(now, self._longest)
            for key in [key for key, window in windows.items() if not len(window)]:
                del windows[key]
        self._baselines.refresh()
        return alerts

    def _keys(self, name: str, rule: RuleSettings) -> Iterable[str | None]:
        """What *rule* has something to read of, or has something to say of still."""
        there = self.standing.keys(rule) if rule.measure in _STANDING else self._windows[rule.per]
        return {**dict.fromkeys(there), **{key: None for watched, key in self._watches if watched == name}}

    def _read(self, rule: RuleSettings, key: str | None, now: float) -> Reading:
        if rule.measure in _STANDING:
            return self.standing.read(rule, key)
        window = self._windows[rule.per].get(key) or Window()
        return read(rule, window.latest(now, rule.window), window.covered(now, rule.window))

    def _baseline(self, name: str, rule: RuleSettings, key: str | None) -> float | None:
        answer = self._baselines.get(Question.of(rule, key))
        if answer is None:
            return None
        if answer.why is not None:
            self._explain(name, f"the rule {name} cannot compare, and stays quiet: {answer.why}")
        return answer.value

    def _alert(
        self, name: str, watch: Watch, reading: Reading, baseline: float | None, key: str | None, now: float
    ) -> Alert:
        at = self._clock.now()
        return Alert(
            id=watch.id,
            name=name,
            rule=watch.rule,
            state="firing" if watch.state == "firing" else "resolved",
            reading=reading,
            baseline=baseline,
            key=None if key is None else masked_text(key),
            since=at - timedelta(seconds=now - watch.since),
            at=at,
            run=None if self._run is None else masked_text(self._run),
            service=self._service,
            host=self._host,
        )

    def _explain(self, what: str, why: str) -> None:
        """Say *why* once."""
        if what not in self._explained:
            self._explained.add(what)
            _log.warning("%s", why)
