"""What the service says when it is asked for what costs nothing, and what its answer tells of clocks and models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from email.utils import parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from claudeprov.catalog import catalog
from claudeprov.clock import Clock
from claudeprov.doctor.check import Check
from claudeprov.errors import (
    AuthenticationError,
    BillingError,
    CallTimeoutError,
    ConnectionFailedError,
    InvalidResponseError,
    LimitError,
    ModelNotFoundError,
    PermissionDeniedError,
    ProviderError,
    ServerError,
)
from claudeprov.listing import merged
from claudeprov.login import login_hint
from claudeprov.settings import Settings

if TYPE_CHECKING:
    from claudeprov.anthropic import Endpoint

_LISTING = ("anthropic", "compatible")
"""Endpoints with a list of models; the others are asked to count tokens."""
_ADVICE: tuple[tuple[type[ProviderError], str], ...] = (
    (PermissionDeniedError, "have whoever manages the organization allow it, or look for a proxy that refuses"),
    (BillingError, "see to the organization's billing"),
    (LimitError, "wait, or see to the limits of the organization"),
    (ModelNotFoundError, "look at endpoint.base_url: it must be given without the path of the API"),
    (ServerError, "the service is out of order: see its status page, and try again later"),
    (InvalidResponseError, "look at endpoint.base_url: something else answers there, such as a proxy"),
    (ConnectionFailedError, "look for a firewall, a VPN or a proxy on the way, and at endpoint.base_url"),
    (CallTimeoutError, "try again; if it lasts, look for what holds connections up: a firewall, a VPN, a proxy"),
)
_SKEW = 30.0
"""Seconds by which a clock may be wrong."""
_SIGNING_SKEW = 300.0
"""Seconds past which Amazon refuses a signature: https://docs.aws.amazon.com/IAM/latest/UserGuide/signature-v4.html"""


class Visit:
    """One free request to the endpoint of *settings*, and what can be read from the answer.

    Args:
        settings: A composed configuration.
        clock: Where time comes from.
        service: What gives the endpoint.
        explained: Makes what holds during the request.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        service: Callable[[], Endpoint],
        explained: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._service = service
        self._explained = explained
        self._asked: Endpoint | None = None
        self._listed: list[Mapping[str, Any]] = []

    async def endpoint(self) -> Check:
        """Whether the service answers, and takes the credentials."""
        kind, model = self._settings.endpoint.kind, self._settings.model
        started = self._clock.monotonic()
        by = "its list of models" if kind in _LISTING else "a count of tokens"
        found = partial(Check, "endpoint", details={"kind": kind, "by": by})
        try:
            with self._explained():
                self._asked = self._service()
                if kind in _LISTING:
                    self._listed = [*await self._asked.models()]
                else:
                    hi = {"role": "user", "content": "Hi"}
                    await self._asked.count_tokens({"model": model.id_on(kind), "messages": [hi]})
        except ProviderError as error:
            if kind == "compatible" and isinstance(error, ModelNotFoundError):
                advice = "nothing, if the server has no such list; else look at endpoint.base_url"
                return found("warning", "answers, but has no list of models at /v1/models", advice)
            return found("fault", error.message, _advice(error, kind), error)
        seconds = self._clock.monotonic() - started
        return found("ok", f"gives {by} in {seconds * 1000:.0f} ms, and takes the credentials")

    async def skew(self) -> Check:
        """Whether this machine's clock agrees with the service's."""
        found = partial(Check, "clock")
        if self._asked is None or self._asked.date is None:
            return found("skipped", "no answer of the service tells its time")
        text, at = self._asked.date
        try:
            told = parsedate_to_datetime(text)
            seconds = (at - told).total_seconds()
        except (ValueError, TypeError):  # no date, or one without a zone
            return found("skipped", f"the service's date cannot be read: {text!r}")
        found = partial(found, details={"ahead_seconds": seconds})
        what = f"{abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} the service's"
        advice = "set this machine's clock, and have it kept right: timedatectl set-ntp true"
        signs = self._settings.endpoint.kind == "bedrock"
        if signs and abs(seconds) > _SIGNING_SKEW:
            return found("fault", f"{what}: signatures are refused", advice)
        if abs(seconds) > _SKEW:
            return found("warning", f"{what}: so are times in logs, and the days and months of budgets", advice)
        return found("ok", "agrees with the service's")

    async def model(self) -> Check:
        """Whether the configured model is to be had: by the service's list, or else by the catalogue."""
        kind, configured = self._settings.endpoint.kind, self._settings.model
        known = merged(catalog().including(configured), self._listed).get(configured.id) or configured
        life, names = known.lifecycle, {item.get("id") for item in self._listed}
        details = {"id": configured.id, "lifecycle": life.status, "replacement": life.replacement}
        found = partial(Check, "model", details=details)
        advice = f"choose model={life.replacement or 'NAME'}; claudeprov models --lifecycle active lists them"
        is_over = life.retires is not None and life.retires <= self._clock.now().date()
        if life.status == "retired" or is_over:
            return found("fault", f"{configured.id} is retired", advice)
        if self._listed and names.isdisjoint((configured.id, *configured.aliases)):
            what = f"{configured.id} is not among the {len(names)} models of the endpoint"
            return found("warning" if kind == "compatible" else "fault", what, "claudeprov models --live lists them")
        if life.status == "deprecated":
            ends = f", and ends on {life.retires}" if life.retires else ""
            return found("warning", f"{configured.id} is deprecated{ends}", advice)
        return found("ok", f"{configured.id} is {life.status}")


def _advice(error: ProviderError, kind: str) -> str:
    if isinstance(error, AuthenticationError):
        return f"{login_hint(kind)}; a key may be revoked, cut short, or of another service"
    return next((advice for cls, advice in _ADVICE if isinstance(error, cls)), "look at endpoint and its settings")
