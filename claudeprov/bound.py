"""Between which bounds the cost of a call lies: before it is sent, and where its answer broke off."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from typing import Any, NamedTuple

from claudeprov.catalog import Model
from claudeprov.cost import EXACT, Cost, cost_of
from claudeprov.pricing import PriceBook, Prices, Rates
from claudeprov.request import MessageRequest
from claudeprov.response import MessageResponse
from claudeprov.tokens import Estimator, TokenCount

BROKEN_OFF = "the answer broke off, and its output was not counted: the cost lies between the bounds"
"""Why the cost of such an answer is no number."""

_UNBOUNDED_FIELDS = ("mcp_servers", "container", "fallbacks", "compaction")
"""Parameters that let the service prompt a model, this one or another, more than once."""


class Bound(NamedTuple):
    """The most that a call can use; search fees and the hours of containers are not in it."""

    usd: Decimal | None
    """``None`` where it cannot be bounded or a price is unknown."""
    tokens: int | None
    """Of input and output together; ``None`` where it cannot be bounded."""
    reason: str | None
    """Why one of them is ``None``."""


def upper_bound(
    request: MessageRequest, model: Model | None, count: TokenCount, prices: PriceBook, *, at: datetime | None = None
) -> Bound:
    """Bound what *request* can cost: all its input and ``max_tokens`` of output, at the dearest prices that can apply.

    Dearest of: list prices, the tiers that the prompt may reach, fast mode where it is asked for, cache writes of the
    lifetimes that are asked for, and the US multiplier unless ``inference_geo`` says otherwise (a workspace may have a
    default of its own). A call that the service itself may prompt again for (server tools, fallbacks, compaction) has
    no bound.

    Args:
        request: What is asked.
        model: The model that it goes to; ``None`` if the catalogue lacks it.
        count: Its input tokens; ``high`` of it is taken.
        prices: The prices that apply.
        at: When it is sent, aware; now if left out.
    """
    body = request.body()
    beyond = prompts_again(body)
    if beyond is not None:
        return Bound(None, None, f"{beyond} can use more than the request tells")
    output = request.max_tokens
    if output is None:
        return Bound(None, None, "max_tokens is not given")
    tokens = count.high + output
    own = prices.of(request.model or "").on((at or datetime.now(UTC)).astimezone(UTC).date())
    rates = _rates(own, count.high, fast=body.get("speed") == "fast")
    kinds = ["input", *(f"cache_write_{life}" for life in _lifetimes(body))]
    price_in, price_out = (_dearest(rates, names) for names in (kinds, ["output"]))
    if price_in is None or price_out is None:
        return Bound(None, tokens, own.reason or "no price is known")
    with localcontext(EXACT):
        usd = (count.high * price_in + output * price_out).scaleb(-6) * own.multiplier
        if own.us_multiplier is not None and body.get("inference_geo") != "global":
            usd *= own.us_multiplier
    return Bound(usd, tokens, None)


def cost_so_far(
    response: MessageResponse, request: MessageRequest, model: Model | None, prices: PriceBook, estimator: Estimator
) -> Cost:
    """Price an answer that has not come to its end, so that its output was not counted.

    ``low_usd`` is for the input, which is counted first, and the output that has arrived, at the low end of its
    estimate; ``high_usd`` for ``max_tokens`` of output. The line items are those of the former.

    Args:
        response: What has arrived.
        request: What was asked.
        model: The model that serves; ``None`` if the catalogue lacks it.
        prices: The prices that apply.
        estimator: What counts the output that has arrived.
    """
    usage, at, name = response.usage.raw, response.timing.started_at, response.model or request.model or ""
    written = estimator.text(_written(response), model)
    least = max(response.usage.output_tokens or 0, written.low)
    low = cost_of({**usage, "output_tokens": least}, name, at=at, prices=prices)
    if low.total_usd is None:
        return low
    most = request.max_tokens or (model.max_output_tokens if model else None)
    high = None
    if most is not None and prompts_again(request.body()) is None:
        speed = {"speed": "fast"} if request.body().get("speed") == "fast" else {}  # unless usage says otherwise
        high = cost_of({**speed, **usage, "output_tokens": max(least, most)}, name, at=at, prices=prices).total_usd
    return replace(low, total_usd=None, reason=BROKEN_OFF, low_usd=low.total_usd, high_usd=high)


def _written(response: MessageResponse) -> str:
    """All that the model has put out, of the last attempt where several made the answer."""
    written = [response.text[response.joins[-1].at if response.joins else 0 :], *response.tool_json.values()]
    return "\n".join((*written, *(block.get("thinking") or "" for block in response.content)))


def prompts_again(body: Mapping[str, Any]) -> str | None:
    """Name what in a request's *body* lets the service prompt a model again by itself, if anything."""
    if name := next((name for name in _UNBOUNDED_FIELDS if body.get(name)), None):
        return name
    management = body.get("context_management")
    edits = management.get("edits") if isinstance(management, Mapping) else None
    if any(isinstance(edit, Mapping) and str(edit.get("type")).startswith("compact") for edit in edits or ()):
        return "context_management"
    tools = body.get("tools")
    kinds = [tool.get("type") for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
    server = next((kind for kind in kinds if kind not in (None, "custom") and not _runs_at_the_client(str(kind))), None)
    return f"the tool {server}" if server else None


def _runs_at_the_client(kind: str) -> bool:
    return kind.startswith(("bash_", "text_editor_", "computer_", "browser_", "memory_"))


def _rates(prices: Prices, prompt: int, *, fast: bool) -> list[Rates]:
    """The prices that can apply: which tier the prompt reaches, and whether it is served fast, is known only after."""
    rates: list[Rates] = [prices, *(tier for tier in prices.tiers if prompt > tier.above)]
    return [*rates, prices.fast or Rates()] if fast else rates


def _dearest(rates: list[Rates], names: list[str]) -> Decimal | None:
    """The dearest of the named prices; ``None`` if one is unknown."""
    prices: list[Decimal | None] = [getattr(rate, name) for rate in rates for name in names]
    known = [price for price in prices if price is not None]
    return max(known) if len(known) == len(prices) else None


def _lifetimes(body: Mapping[str, Any]) -> set[str]:
    """The lifetimes of the cache breakpoints in a request."""
    controls = [body.get("cache_control"), *_controls(body.get("tools")), *_controls(body.get("system"))]
    for message in body.get("messages") or ():
        controls += _controls(message.get("content"))
    return {"1h" if control.get("ttl") == "1h" else "5m" for control in controls if isinstance(control, dict)}


def _controls(blocks: Any) -> Iterator[Any]:
    if not isinstance(blocks, list):
        return
    for block in blocks:
        if isinstance(block, dict):
            yield block.get("cache_control")
            yield from _controls(block.get("content"))
