"""When somebody is told that calls go worse than they should, and how."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from claudeprov.errors import Severity
from claudeprov.settings.kind import Count, Duration, Group, Name, Seconds

Measure = Literal[
    "error_rate", "refusals", "latency", "first_chunk", "throughput", "cost_rate", "breaker_open", "budget"
]
Scope = Literal["whole", "model", "route"]

_SHARES = ("error_rate", "refusals")
STANDING = ("breaker_open", "budget")
"""Measures that other layers tell, in place of calls in a window."""
Level = Annotated[float, Field(strict=True, gt=0, le=10**12, allow_inf_nan=False)]


class RuleSettings(Group):
    """When calls go worse than they should. Where there is more than one threshold, all must be passed."""

    measure: Measure
    """``error_rate``: share of calls that failed, of those read or failed. ``refusals``: share of calls read whose
    ``stop_reason`` is ``refusal``. ``latency``: seconds of calls read, waits included. ``first_chunk``: seconds to the
    first event. ``throughput``: output tokens a second of calls read, own waits left out. ``cost_rate``: USD an hour.
    ``breaker_open``: of each route. ``budget``: percent spent of each limit, as ``budget.thresholds`` tell it."""
    above: Level | None = None
    """Bad from here up, in the measure's unit; ``null``: no such threshold."""
    below: Level | None = None
    """Bad from here down."""
    times_baseline: Annotated[float | None, Field(strict=True, gt=0, le=10**6)] = None
    """Bad from so many times the ledger's figure up, or, where it is less than 1, down."""
    baseline: Duration = 604800.0
    """Seconds of the ledger's history, up to the window, that ``times_baseline`` compares with: 7 days."""
    percentile: Annotated[float, Field(strict=True, gt=0, le=100)] = 95.0
    """Of ``latency`` and ``first_chunk``, by nearest rank."""
    window: Duration = 300.0
    """Seconds whose calls are looked at; of a run's budget, how long it stays told."""
    minimum_calls: Count = 20
    """Calls in the window, and in the baseline, below which nothing is said; once firing, one is enough."""
    pending_for: Seconds = 0.0
    """Seconds for which it must be bad before it fires."""
    hysteresis: Annotated[float, Field(strict=True, ge=0, lt=1)] = 0.1
    """Share of each threshold by which it must be better before it counts as good again."""
    clear_for: Seconds = 60.0
    """Seconds for which it must be good before it is resolved."""
    repeat: Duration | None = None
    """Seconds after which it is told again while it lasts; ``null``: once."""
    per: Scope = "whole"
    """Which calls are looked at together: all, those for one model, or those on one route."""
    severity: Severity = "warning"
    """How bad it is."""

    @field_validator("above", "below")
    @classmethod
    def _share(cls, level: float | None, info: ValidationInfo) -> float | None:
        if level is not None and level > 1 and info.data.get("measure") in _SHARES:
            raise ValueError("is a share of calls, at most 1: 0.05 is 5 %")
        if level is not None and info.data.get("measure") == "breaker_open":
            raise ValueError("is nothing that breaker_open has: it takes no threshold")
        return level

    @field_validator("below")
    @classmethod
    def _one_way(cls, below: float | None, info: ValidationInfo) -> float | None:
        if below is not None and info.data.get("above") is not None:
            raise ValueError("does not go with above: a rule looks one way")
        if below is not None and info.data.get("measure") == "budget":
            raise ValueError("is nothing that a budget can be; give above, in percent")
        return below

    @field_validator("times_baseline")
    @classmethod
    def _same_way(cls, times: float | None, info: ValidationInfo) -> float | None:
        if times is None:
            return None
        if info.data.get("measure") in STANDING:
            raise ValueError(f"is nothing that {info.data['measure']} has: the ledger tells nothing of it")
        is_wrong = (info.data.get("above") is not None and times < 1) or (
            info.data.get("below") is not None and times > 1
        )
        if times == 1 or is_wrong:
            raise ValueError(
                "must be more than 1 to look up, as above does, or less than 1 to look down, as below does"
            )
        return times

    @field_validator("per")
    @classmethod
    def _of_calls(cls, per: Scope, info: ValidationInfo) -> Scope:
        if per != "whole" and info.data.get("measure") in STANDING:
            raise ValueError("must be whole: a breaker is told of each route, and a budget of each limit")
        return per

    @model_validator(mode="after")
    def _some_threshold(self) -> Self:
        if self.measure != "breaker_open" and (self.above, self.below, self.times_baseline) == (None, None, None):
            raise ValueError("needs a threshold: above, below or times_baseline")
        return self


class ChannelSettings(Group):
    """A way to tell somebody."""

    kind: Literal["log", "webhook", "command"]
    """``log``: the standard library's logger ``claudeprov.alerts``. ``webhook``: an HTTP POST of JSON. ``command``: a
    program that gets the JSON on its standard input."""
    url_env: str | None = None
    """Environment variable that holds a webhook's URL, which is as good as a password."""
    form: Literal["json", "slack"] = "json"
    """What a webhook is sent: every figure of the alert, or a message as Slack's incoming webhooks take it."""
    command: tuple[Name, ...] = ()
    """A program and its arguments; no shell reads them, and its environment is ``PATH``, ``HOME`` and ``LANG``."""
    timeout: Annotated[Duration, Field(le=300)] = 10.0
    """Seconds that a delivery may take; one that fails is tried again."""

    @field_validator("url_env")
    @classmethod
    def _name(cls, name: str | None) -> str | None:
        if name is not None and not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
            raise ValueError(
                "must be the name of an environment variable that holds the URL, such as SLACK_WEBHOOK_URL"
            )
        return name

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Self:
        if (self.kind == "webhook") != (self.url_env is not None):
            raise ValueError(
                "url_env is needed by a webhook, and taken by no other kind: a variable that holds its URL"
            )
        if (self.kind == "command") != bool(self.command):
            raise ValueError("command is needed by a command, and taken by no other kind: [program, argument, ...]")
        return self


class AlertsSettings(Group):
    """When somebody is told that calls go worse than they should, and how."""

    rules: dict[Name, RuleSettings]
    """By name, which alerts bear."""
    channels: dict[Name, ChannelSettings]
    """By name; each gets every alert."""
    interval: Annotated[Duration, Field(ge=0.1)] = 15.0
    """Seconds between two looks at the rules."""

    @field_validator("rules", "channels", mode="before")
    @classmethod
    def _is_there(cls, given: Any, info: ValidationInfo) -> Any:
        if not isinstance(given, Mapping):
            return given
        wrong: list[InitErrorDetails] = []
        for name, one in given.items():
            if one is None:
                what = f"is null; ~alerts.{info.field_name}.{name} takes it away"
            elif info.field_name == "rules" and isinstance(one, Mapping) and "measure" not in one:
                near = get_close_matches(str(name), [other for other in given if other != name], n=1)
                what = "is a rule without a measure" + (f"; did you mean {near[0]}?" if near else "")
            else:
                continue
            error = PydanticCustomError("not_there", "{what}", {"what": what})
            wrong.append({"type": error, "loc": (name,), "input": one})
        if wrong:
            raise ValidationError.from_exception_data(cls.__name__, wrong)
        return given
