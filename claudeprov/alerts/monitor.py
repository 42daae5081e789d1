"""All rules at work: what calls and layers tell goes in, what is to be told to somebody comes out."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Hashable, Iterable, Iterator
from datetime import timedelta

from claudeprov.alerts.alert import Alert
from claudeprov.alerts.baseline import Baselines, Question
from claudeprov.alerts.measure import Reading, read
from claudeprov.alerts.rule import Change, Watch
from claudeprov.alerts.standing import Standing
from claudeprov.alerts.window import Sample, Window
from claudeprov.clock import Clock
from claudeprov.settings.alerts import STANDING, AlertsSettings, RuleSettings, Scope
from claudeprov.telemetry.scrub import heed_environment, scrubbed

_log = logging.getLogger(__name__)

KEYS = 32
"""Models, and routes, that are looked at by themselves; calls of more count in the whole only."""
_EXPLAINED = 1000
"""Reasons that are said; past them, no more are."""
_LONGEST = 200
"""Characters of a name that are told."""


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
        heed_environment()
        of_calls = [rule for rule in self._rules.values() if rule.measure not in STANDING]
        self._windows: dict[Scope, dict[str | None, Window]] = {rule.per: {} for rule in of_calls}
        self._longest = max((rule.window for rule in of_calls), default=0.0)
        self._watches: dict[tuple[str, str | None], Watch] = {}
        self._run: str | None = None
        self._explained: set[Hashable] = set()
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

    def evaluate(self) -> Iterator[list[Alert]]:
        """Look at every rule; give, key by key, what is to be told: others may go on in between, as it takes long."""
        for name, rule in self._rules.items():
            for key in self._keys(name, rule):
                yield self._look(name, rule, key)
        for windows in self._windows.values():
            for key, window in list(windows.items()):
                window.forget(self._clock.monotonic(), self._longest)
                if not len(window):
                    windows.pop(key, None)
                yield []
        self._baselines.refresh()

    def _look(self, name: str, rule: RuleSettings, key: str | None) -> list[Alert]:
        now = self._clock.monotonic()
        reading = self._read(rule, key, now)
        baseline = None if rule.times_baseline is None else self._baseline(name, rule, key)
        watch = self._watches.setdefault((name, key), Watch(rule))
        change = watch.see(watch.is_bad(*reading, baseline), now)
        if watch.state == "ok":
            del self._watches[name, key]
        return [] if change is None else [self._alert(name, watch, change, reading, baseline, key, now)]

    def _keys(self, name: str, rule: RuleSettings) -> Iterable[str | None]:
        """What *rule* has something to read of, or has something to say of still."""
        there = self.standing.keys(rule) if rule.measure in STANDING else self._windows[rule.per]
        return {**dict.fromkeys(there), **{key: None for watched, key in self._watches if watched == name}}

    def _read(self, rule: RuleSettings, key: str | None, now: float) -> Reading:
        if rule.measure in STANDING:
            return self.standing.read(rule, key)
        window = self._windows[rule.per].get(key) or Window()
        return read(rule, window.latest(now, rule.window), window.covered(now, rule.window))

    def _baseline(self, name: str, rule: RuleSettings, key: str | None) -> float | None:
        answer = self._baselines.get(Question.of(rule, key))
        if answer is None:
            return None
        if answer.why is not None:
            whose = "" if key is None else f" {_line(key)}"
            self._explain((name, key), f"the rule {name} cannot compare{whose}, and stays quiet: {answer.why}")
        return answer.value

    def _alert(
        self,
        name: str,
        watch: Watch,
        change: Change,
        reading: Reading,
        baseline: float | None,
        key: str | None,
        now: float,
    ) -> Alert:
        at = self._clock.now()
        return Alert(
            id=watch.id,
            name=name,
            rule=watch.rule,
            state=change,
            reading=reading,
            baseline=baseline,
            key=None if key is None else _line(key),
            since=at - timedelta(seconds=now - watch.since),
            at=at,
            run=None if self._run is None else _line(self._run),
            service=self._service,
            host=self._host,
        )

    def _explain(self, what: Hashable, why: str) -> None:
        """Say *why* once."""
        if what not in self._explained and len(self._explained) < _EXPLAINED:
            self._explained.add(what)
            _log.warning("%s", why)


def _line(name: str) -> str:
    """Make *name*, which is the caller's, a part of a line: without secrets, control characters, or great length."""
    begins = name[: 10 * _LONGEST]  # enough that a secret that is cut here is cut away
    return scrubbed("".join(char if char.isprintable() else " " for char in begins), _LONGEST)
