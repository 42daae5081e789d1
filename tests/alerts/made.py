"""Rules, calls and alerts made by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from claudeprov.alerts.alert import Alert
from claudeprov.alerts.baseline import Baselines, without_ledger
from claudeprov.alerts.measure import Reading
from claudeprov.alerts.monitor import Monitor
from claudeprov.alerts.window import Sample
from claudeprov.settings.alerts import AlertsSettings, RuleSettings

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def rule(measure: str = "latency", **fields: Any) -> RuleSettings:
    """A rule that speaks from the first call on, and is resolved at once."""
    return RuleSettings.model_validate({"measure": measure, "minimum_calls": 1, "clear_for": 0} | fields)


def alerts(*, channels: Any = None, **rules: RuleSettings) -> AlertsSettings:
    """The group ``alerts`` with these rules."""
    return AlertsSettings(rules=rules, channels={"log": {"kind": "log"}} if channels is None else channels)


def sample(at: float = 0.0, **fields: Any) -> Sample:
    """A call that was read in a second."""
    given: dict[str, Any] = {"failed": False, "refused": False, "latency": 1.0, "first_chunk": 0.5}
    return Sample(**({"at": at, "tokens": 100, "served": 1.0, "usd": 0.0} | given | fields))


class Calls:
    """A monitor, and calls to feed it with."""

    def __init__(self, clock: Any, baselines: Baselines | None = None, **rules: RuleSettings) -> None:
        self.clock = clock
        self.monitor = Monitor(alerts(**rules), clock=clock, baselines=baselines or Baselines(without_ledger, clock))

    def end(
        self, count: int = 1, *, model: str = "m", route: str = "anthropic/m", run: Any = None, **fields: Any
    ) -> None:
        """Have *count* calls end now."""
        for _ in range(count):
            self.monitor.add(sample(self.clock.monotonic(), **fields), model=model, route=route, run=run)

    def look(self) -> list[Alert]:
        """What is to be told now."""
        return [alert for alerts in self.monitor.evaluate() for alert in alerts]

    def told(self) -> list[tuple[str, str]]:
        """Name and state of what is to be told now."""
        return [(alert.name, alert.state) for alert in self.look()]


def alert(**fields: Any) -> Alert:
    """That calls are slow."""
    given = {"id": "alert_1", "name": "slow", "rule": rule(above=10), "state": "firing", "reading": Reading(12.4, 42)}
    given |= {"baseline": None, "key": None, "since": NOON, "at": NOON, "run": None, "service": "s", "host": "h"}
    return Alert(**(given | fields))
