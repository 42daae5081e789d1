"""What somebody is told: that a rule fires, or that it is over. No prompt, no answer, no secret."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from claudeprov.alerts.measure import UNITS, Reading, figure, span, title
from claudeprov.alerts.rule import Change
from claudeprov.errors import Severity
from claudeprov.settings.alerts import RuleSettings

_WEEK = 604800
_SIGNS: dict[Severity, str] = {"warning": ":warning:", "error": ":x:", "critical": ":rotating_light:"}


@dataclass(frozen=True, slots=True)
class Alert:
    """That a rule fires, or is resolved."""

    id: str
    """The same from when a rule begins to fire until it is resolved."""
    name: str
    """The rule's."""
    rule: RuleSettings
    state: Change
    reading: Reading
    baseline: float | None
    """What the ledger tells, where the rule compares with it."""
    key: str | None
    """The model, the route or the limit that it is about; ``None``: all calls."""
    since: datetime
    """When it began to be bad."""
    at: datetime
    run: str | None
    """The tag ``run`` of the latest call."""
    service: str
    host: str

    @property
    def threshold(self) -> float | None:
        """What the value has passed, the hardest if there is more than one; ``None`` where the measure has none."""
        rule = self.rule
        levels = [level for level in (rule.above, rule.below) if level is not None]
        if rule.times_baseline is not None and self.baseline is not None:
            levels.append(rule.times_baseline * self.baseline)
        looks_down = rule.below is not None or (rule.times_baseline or 1) < 1
        return (min if looks_down else max)(levels, default=None)

    @property
    def message(self) -> str:
        """All that matters, in one line for a person."""
        over = f" after {span((self.at - self.since).total_seconds())}" if self.state == "resolved" else ""
        return f"{self.name} {self.state}{over}: {self._told()}"

    def figures(self) -> dict[str, Any]:
        """What it is about, as notices and the JSON form name it."""
        rule = self.rule
        return {
            "id": self.id,
            "rule": self.name,
            "severity": rule.severity,
            "measure": rule.measure,
            "unit": UNITS[rule.measure],
            "value": self.reading.value,
            "threshold": self.threshold,
            "baseline": self.baseline,
            "baseline_seconds": None if rule.times_baseline is None else rule.baseline,
            "window_seconds": rule.window,
            "calls": self.reading.calls,
            "per": rule.per,
            "key": self.key,
            "since": self.since.isoformat(),
            "run": self.run,
            "message": self.message,
        }

    def body(self, form: Literal["json", "slack"]) -> bytes:
        """Write it as JSON: every figure, or a message as Slack's incoming webhooks take it."""
        where = {"state": self.state, "at": self.at.isoformat(), "service": self.service, "host": self.host}
        document = self._slack() if form == "slack" else self.figures() | where
        return json.dumps(document, allow_nan=False).encode()

    def _told(self) -> str:
        rule, value = self.rule, self.reading.value
        whose = "" if self.key is None else f" for {self.key}"
        if rule.measure == "breaker_open":
            return f"the breaker of {self.key} is {'closed' if self.state == 'resolved' else 'open'}"
        if rule.measure == "budget":
            is_over = value is None
            return f"the period of {self.key} is over" if is_over else f"{value:.4g} % of {self.key} is spent"
        if value is None:
            return f"no calls{whose} in the last {span(rule.window)}"
        told = [f"{title(rule)} {figure(rule.measure, value)}{whose}"]
        if self.baseline is not None:
            before, when = figure(rule.measure, self.baseline), span(rule.baseline)
            whole = f"last week's {before}" if rule.baseline == _WEEK else f"{before} in the {when} before"
            told.append(f"{value / self.baseline:.2g} times {whole}" if self.baseline else f"against {whole}")
        elif self.threshold is not None:
            told.append(f"the threshold is {figure(rule.measure, self.threshold)}")
        told.append(f"in {self.reading.calls} calls of the last {span(rule.window)}")
        return ", ".join(told)

    def _slack(self) -> dict[str, Any]:
        sign = ":white_check_mark:" if self.state == "resolved" else _SIGNS[self.rule.severity]
        where = [self.rule.severity, f"{self.service} on {self.host}", *([f"run {self.run}"] if self.run else [])]
        context = " · ".join([*where, f"since {self.since:%Y-%m-%d %H:%M:%S} UTC"])
        text = _escaped(self.message)
        return {
            "text": text,
            "blocks": [
                {"type": "section", "text": {"type": "mrkdwn", "text": f"{sign} {text}"}},
                {"type": "context", "elements": [{"type": "mrkdwn", "text": _escaped(context)}]},
            ],
        }


def _escaped(text: str) -> str:
    """Keep Slack from reading links and mentions in names: its three control characters are written out."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
