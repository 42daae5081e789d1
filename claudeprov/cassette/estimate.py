"""What it may cost to record requests, before any of them is sent."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from claudeprov.cassette.match import Sent
from claudeprov.catalog import catalog
from claudeprov.cost import cost_of
from claudeprov.pricing import Prices
from claudeprov.response import Usage


@dataclass(frozen=True, slots=True)
class Estimate:
    """The cost of one call in USD; attempts that fail and are made again are not in it."""

    usd: Decimal | None
    """``None`` where it is unknown."""
    kind: Literal["recorded", "bound", "free", "unknown"]
    """``recorded``: as much as the recorded answer used. ``bound``: no more, by length and ``max_tokens``."""
    reason: str | None = None
    """Why it is unknown."""


def estimate(sent: Sent, usage: Usage | None, *, at: datetime, prices: Prices | None = None) -> Estimate:
    """Estimate the cost of sending *sent*.

    The bound takes each byte of the request for a token, all written to the cache for an hour if any is cached.

    Args:
        sent: A request; all but those for messages are free.
        usage: What its answer used when it was recorded, if it was.
        at: When it will be sent, aware.
        prices: Those of its model, in place of the catalogue's.
    """
    if sent.path.endswith(("/count_tokens", "/models")) or "/count-tokens:" in sent.path:
        return Estimate(Decimal(0), "free")
    if sent.model is None or not isinstance(sent.body, dict):
        return Estimate(None, "unknown", "no model is named")
    kind: Literal["recorded", "bound"] = "recorded"
    if usage is None or not usage.raw:
        if beyond := _beyond_its_length(sent.body):
            return Estimate(None, "unknown", f"{beyond} can cost more than a request's length tells")
        usage, kind = Usage(_most(sent.body, sent.model)), "bound"
    cost = cost_of(usage, sent.model, at=at, prices=prices)
    return Estimate(cost.total_usd, kind if cost.reason is None else "unknown", cost.reason)


def total(estimates: Iterable[Estimate]) -> str:
    """Say in one line what *estimates* come to, and how well it is known."""
    estimates = list(estimates)
    told = []
    for kind, how in ("recorded", "as much as was used before"), ("bound", "an upper bound by length and max_tokens"):
        amounts = [one.usd for one in estimates if one.kind == kind and one.usd is not None]
        if amounts:
            told.append(f"{'at most ' * (kind == 'bound')}${sum(amounts):.6f} for {len(amounts)} call(s), {how}")
    if free := sum(one.kind == "free" for one in estimates):
        told.append(f"nothing for {free} call(s)")
    reasons = Counter(one.reason for one in estimates if one.kind == "unknown")
    told += [f"unknown for {count} call(s): {reason}" for reason, count in reasons.items()]
    return "; ".join(told)


def _most(body: dict[str, Any], model: str) -> dict[str, Any]:
    """The most that the answer to *body* can use."""
    text = json.dumps(body, ensure_ascii=False)
    known = catalog().get(model)
    hidden = known.tool_system_prompt_tokens if known and body.get("tools") else None
    prompt = len(text.encode("utf-8", "replace")) + max((hidden.auto or 0, hidden.forced or 0) if hidden else (0,))
    cached = '"cache_control"' in text
    return {
        "input_tokens": 0 if cached else prompt,
        "cache_creation": {"ephemeral_1h_input_tokens": prompt if cached else 0},
        "output_tokens": body.get("max_tokens") or (known.max_output_tokens if known else 0),
    }


def _beyond_its_length(body: dict[str, Any]) -> str | None:
    """What in a request brings tokens, or fees, that do not stand in it."""
    tools = body.get("tools")
    kinds = [tool.get("type") for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
    if server := next((kind for kind in kinds if kind not in (None, "custom")), None):
        return f"the tool {server}"
    if name := next((name for name in ("mcp_servers", "container", "fallbacks") if body.get(name)), None):
        return name
    sources = (source.get("type") for source in _sources(body.get("messages")))
    kind = next((kind for kind in sources if kind in ("url", "file")), None)
    return f"a source of type {kind}" if kind else None


def _sources(value: Any) -> Iterator[dict[str, Any]]:
    """Every ``source`` of a content block, however deep."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if isinstance(value, dict) and isinstance(value.get("source"), dict):
        yield value["source"]
    for item in items:
        yield from _sources(item)
