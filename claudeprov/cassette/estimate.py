"""What it may cost to record requests, before any of them is sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from claudeprov.bound import upper_bound
from claudeprov.cassette.match import Sent
from claudeprov.catalog import catalog
from claudeprov.cost import cost_of
from claudeprov.errors import InvalidRequestError
from claudeprov.pricing import PriceBook
from claudeprov.request import MessageRequest
from claudeprov.response import Usage
from claudeprov.tokens import Estimator


@dataclass(frozen=True, slots=True)
class Estimate:
    """The cost of one call in USD; attempts that fail and are made again are not in it."""

    usd: Decimal | None
    """``None`` where it is unknown."""
    kind: Literal["recorded", "bound", "free", "unknown"]
    """``recorded``: as much as the recorded answer used. ``bound``: no more, by :func:`upper_bound`."""
    reason: str | None = None
    """Why it is unknown."""


def estimate(sent: Sent, usage: Usage | None, *, at: datetime, prices: PriceBook) -> Estimate:
    """Estimate the cost of sending *sent*.

    Args:
        sent: A request; all but those for messages are free.
        usage: What its answer used when it was recorded, if it was.
        at: When it will be sent, aware.
        prices: The prices that apply.
    """
    if sent.path.endswith(("/count_tokens", "/models")) or "/count-tokens:" in sent.path:
        return Estimate(Decimal(0), "free")
    if sent.model is None or not isinstance(sent.body, dict):
        return Estimate(None, "unknown", "no model is named")
    if usage is not None and usage.raw:
        cost = cost_of(usage, sent.model, at=at, prices=prices)
        return Estimate(cost.total_usd, "recorded" if cost.reason is None else "unknown", cost.reason)
    try:
        request = MessageRequest.of({**sent.body, "model": sent.model})
    except InvalidRequestError as error:
        return Estimate(None, "unknown", error.message)
    model = catalog().get(sent.model)
    bound = upper_bound(request, model, Estimator().estimate(request, model), prices, at=at)
    return Estimate(bound.usd, "bound" if bound.usd is not None else "unknown", bound.reason)


def total(estimates: Iterable[Estimate]) -> str:
    """Say in one line what *estimates* come to, and how well it is known."""
    estimates = list(estimates)
    told = []
    for kind, how in (
        ("recorded", "as much as was used before"),
        ("bound", "an upper bound by length and max_tokens"),
    ):
        amounts = [one.usd for one in estimates if one.kind == kind and one.usd is not None]
        if amounts:
            told.append(f"{'at most ' * (kind == 'bound')}${sum(amounts):.6f} for {len(amounts)} call(s), {how}")
    if free := sum(one.kind == "free" for one in estimates):
        told.append(f"nothing for {free} call(s)")
    reasons = Counter(one.reason for one in estimates if one.kind == "unknown")
    told += [f"unknown for {count} call(s): {reason}" for reason, count in reasons.items()]
    return "; ".join(told)
