"""What a call costs, exactly, from the API's usage object and the price lists of ``conf/pricing``.

    prompt = input + cache writes + cache reads
    rates  = fast prices if usage.speed is fast, else the tier whose threshold the prompt exceeds, else list prices;
             as of the day of the request
    cost   = tokens x rates x (batch multiplier) x (US multiplier) x (configured multiplier) + searches x fee

Source: Anthropic's price page and release notes up to November 2026. Nothing is rounded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Context, Decimal, localcontext
from typing import Any, NamedTuple

from claudeprov.catalog import catalog
from claudeprov.errors import ConfigurationError
from claudeprov.pricing import PriceBook, Prices, Rates

__all__ = ["Cost", "LineItem", "Prices", "cost_of"]

EXACT = Context(prec=60)
"""In which amounts of money are added and multiplied: none of theirs has as many digits."""
_NOTHING = Decimal(0)
_UNKNOWN = Rates()
_BILLED_REFUSALS = ("bio", "frontier_llm", "reasoning_extraction")
_REFUSALS_BILLED_SINCE = date(2026, 9, 24)
_COUNTED = (
    "input_tokens",
    "output_tokens",
    "cache_creation_input_tokens",
    "cache_creation",
    "cache_read_input_tokens",
    "server_tool_use",
)
_SAID = {"text": ("text",), "thinking": ("thinking", "signature")}
"""Where blocks that can be empty hold what the model put out; a signature is that of thinking which is not shown."""
_EXECUTOR = ("message", "fallback_message")
"""Iterations that the top-level counts of a usage object hold too; others (compaction, advisor_message) they do not."""


class LineItem(NamedTuple):
    """One component of a cost: ``amount = quantity * unit_price``, both ``None`` where the price is unknown."""

    name: str
    """``input``, ``output``, ``cache_write_5m``, ``cache_write_1h``, ``cache_read`` or ``web_search``."""
    model: str
    quantity: int
    """Tokens or searches."""
    unit_price: Decimal | None
    """USD for one, multipliers included."""
    rule: str
    """What chose the price, or why it is unknown."""
    amount: Decimal | None


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of a call."""

    total_usd: Decimal | None
    """``None``, never 0, where a price is unknown, or an answer broke off."""
    items: tuple[LineItem, ...]
    reason: str | None = None
    """Why the total is unknown."""
    notes: tuple[str, ...] = ()
    """What makes the bill differ from the list prices, and cannot be computed from usage."""
    low_usd: Decimal | None = None
    """The least that it was: of an answer that broke off, what has arrived; else ``total_usd``."""
    high_usd: Decimal | None = None
    """The most that it can have been; else ``total_usd``. ``None`` where it has no bound or a price is unknown."""

    def __post_init__(self) -> None:
        if self.total_usd is not None:
            object.__setattr__(self, "low_usd", self.total_usd)
            object.__setattr__(self, "high_usd", self.total_usd)

    def __add__(self, other: Cost) -> Cost:
        """What both cost together; what is unknown of either is unknown of both."""
        return Cost(
            _sum(self.total_usd, other.total_usd),
            (*self.items, *other.items),
            self.reason or other.reason,
            tuple(dict.fromkeys((*self.notes, *other.notes))),
            _sum(self.low_usd, other.low_usd),
            _sum(self.high_usd, other.high_usd),
        )


def cost_of(
    usage: Any,
    model: str,
    *,
    at: datetime | None = None,
    batch: bool = False,
    message: Any = None,
    prices: Prices | PriceBook | None = None,
) -> Cost:
    """Price one response.

    Not in the sum, for usage does not tell them: code execution, fallback credits, commitments (priority tier), and the
    10 % that regional endpoints of Bedrock and Google Cloud cost more. ``notes`` say so where usage hints at it; give
    the last as ``Prices.multiplier``.

    Args:
        usage: The API's usage object: a mapping, or an object with its fields as attributes. Fields that
            are missing or null count 0; where there are none at all, or of a wrong shape, the cost is unknown.
        model: Id or alias of the model that answered.
        at: When the request was made, aware; now if left out.
        batch: Whether it was an item of a batch; usage may say so too.
        message: The API's message object, which decides whether a refusal is billed; without it, it is.
        prices: The model's prices in place of the catalogue's, or those of all models.

    Raises:
        ConfigurationError: *at* is naive.
    """
    if at is not None and at.tzinfo is None:
        raise ConfigurationError(f"at={at.isoformat()} has no time zone; give an aware datetime")
    usage = getattr(usage, "raw", usage)
    if not usage:
        return Cost(None, (), "there is no usage to price")
    items: list[LineItem] = []
    try:
        main = _id(model)
        terms = _Terms(
            day=(at or datetime.now(UTC)).astimezone(UTC).date(),
            batch=batch or _get(usage, "service_tier") == "batch",
            fast=_get(usage, "speed") == "fast",
            us=_get(usage, "inference_geo") == "us",
        )
        free = _unbilled_refusals(message, main, terms.day)
        book = prices if isinstance(prices, PriceBook) else PriceBook()
        own = prices if isinstance(prices, Prices) else book.of(main)
        entries = billed_entries(usage)
        notes = tuple(_notes(usage, message))
        with localcontext(EXACT):
            for entry in entries:
                kind = _get(entry, "type")
                served = _id(_get(entry, "model") or main)
                items += _token_items(
                    entry,
                    served,
                    own if served == main else book.of(served),
                    terms._replace(fast=False) if kind == "advisor_message" else terms,
                    label=f"{kind}: " if kind else "",
                    free=free.get(served) if kind is None or kind in _EXECUTOR else None,
                )
            items += _search_items(usage, main, own.on(terms.day))
            total = sum((item.amount for item in items if item.amount is not None), _NOTHING)
    except _MalformedError as error:
        return Cost(None, (), str(error))
    reason = next((f"{item.model}, {item.name}: {item.rule}" for item in items if item.amount is None), None)
    if not items and own.input is None:
        reason = own.reason or "no price is known"
    elif all(_get(entry, name) is None for entry in (usage, *entries) for name in _COUNTED):
        reason = "usage holds no count"
    return Cost(total if reason is None else None, tuple(items), reason, notes)


def _sum(one: Decimal | None, other: Decimal | None) -> Decimal | None:
    with localcontext(EXACT):
        return None if one is None or other is None else one + other


class _MalformedError(ValueError):
    """Something is not of the API's shape."""


class _Terms(NamedTuple):
    day: date
    batch: bool
    fast: bool
    us: bool


def _get(source: Any, name: str) -> Any:
    if type(source) is dict:  # asked for thirty fields a response, and nearly always this
        return source.get(name)
    if isinstance(source, str | int | float | list | tuple):
        raise _MalformedError(f"{source!r} stands where an object with a field {name} belongs")
    return source.get(name) if isinstance(source, Mapping) else getattr(source, name, None)


def _list(source: Any, name: str) -> list[Any]:
    value = _get(source, name)
    if value is not None and not isinstance(value, list | tuple):
        raise _MalformedError(f"{name} = {value!r}, which is no list")
    return list(value or ())


def _count(source: Any, name: str) -> int:
    value = _get(source, name)
    if value is None:
        return 0
    if type(value) is not int or value < 0:
        raise _MalformedError(f"usage has {name} = {value!r}, which is no count")
    return value


def _id(model: Any) -> str:
    if not isinstance(model, str):
        raise _MalformedError(f"model = {model!r}, which is no name of a model")
    known = catalog().get(model)
    return known.id if known else model


def billed_entries(usage: Any) -> list[Any]:
    """List what is billed: each iteration, and the usage object itself unless iterations repeat its counts.

    Raises:
        ValueError: *usage* is not of the API's shape.
    """
    iterations = _list(usage, "iterations")
    repeated = any(_get(entry, "type") in _EXECUTOR for entry in iterations)
    return iterations if repeated else [usage, *iterations]


def _token_items(
    entry: Any, model: str, prices: Prices, terms: _Terms, *, label: str, free: str | None
) -> Iterator[LineItem]:
    writes = _get(entry, "cache_creation")
    writes_1h = _count(writes, "ephemeral_1h_input_tokens")
    writes_5m = max(  # what has no breakdown is taken as 5m
        _count(writes, "ephemeral_5m_input_tokens"), _count(entry, "cache_creation_input_tokens") - writes_1h
    )
    prompt = {
        "input": _count(entry, "input_tokens"),
        "cache_write_5m": writes_5m,
        "cache_write_1h": writes_1h,
        "cache_read": _count(entry, "cache_read_input_tokens"),
    }
    rates, factor, rule = _rates(prices, sum(prompt.values()), terms)
    for name, quantity in (*prompt.items(), ("output", _count(entry, "output_tokens"))):
        if not quantity:
            continue
        price: Decimal | None = getattr(rates, name)
        if free is not None:
            yield LineItem(name, model, quantity, _NOTHING, label + free, _NOTHING)
        elif price is None:
            why = rule if rates is _UNKNOWN else prices.reason or "no price is known"
            yield LineItem(name, model, quantity, None, label + why, None)
        else:
            unit = (price * factor).scaleb(-6)
            yield LineItem(name, model, quantity, unit, label + rule, quantity * unit)


def _rates(prices: Prices, prompt: int, terms: _Terms) -> tuple[Rates, Decimal, str]:
    """Choose the rates of a request with *prompt* tokens and what multiplies them, and say why."""
    then = prices.on(terms.day)
    rates: Rates = then
    factor = Decimal(1)
    rule = "list price" if then is prices else f"price of {terms.day}"
    if terms.fast:
        if then.fast is None:
            return _UNKNOWN, factor, "no price of fast mode is known"
        rates, rule = then.fast, f"{rule}, fast"
    else:
        exceeded = [tier for tier in then.tiers if prompt > tier.above]
        if exceeded:
            rates, rule = exceeded[-1], f"{rule} over {exceeded[-1].above} prompt tokens"
    if terms.batch:
        if then.batch_multiplier is None or terms.fast:
            return _UNKNOWN, factor, "no price in a batch is known"
        factor, rule = factor * then.batch_multiplier, f"{rule}, batch x {then.batch_multiplier}"
    if terms.us and then.us_multiplier is not None:
        factor, rule = factor * then.us_multiplier, f"{rule}, US x {then.us_multiplier}"
    if then.multiplier != 1:
        factor, rule = factor * then.multiplier, f"{rule}, configured x {then.multiplier}"
    return rates, factor, rule


def _search_items(usage: Any, model: str, prices: Prices) -> Iterator[LineItem]:
    searches = _count(_get(usage, "server_tool_use"), "web_search_requests")
    if not searches:
        return
    if prices.web_search_per_1000 is None:
        yield LineItem("web_search", model, searches, None, prices.reason or "no price is known", None)
    else:
        fee = prices.web_search_per_1000.scaleb(-3)
        yield LineItem("web_search", model, searches, fee, "fee for a search", searches * fee)


def _unbilled_refusals(message: Any, model: str, day: date) -> dict[str, str]:
    """Find the models that refused before any output and are not billed for it, with the rule.

    With server-side fallback, a ``fallback`` block in the content ends what each model that declined had put out.
    """
    free: dict[str, str] = {}

    def refused(by: str, category: str | None) -> None:
        if category not in _BILLED_REFUSALS or day < _REFUSALS_BILLED_SINCE:
            free[by] = f"refused before any output ({category or 'no category'}), not billed"

    output = False
    for block in _list(message, "content"):
        kind = _get(block, "type")
        if kind == "fallback":
            if not output:
                declined = _get(block, "from") or _get(block, "from_")
                refused(_id(_get(declined, "model") or ""), _get(_get(block, "trigger"), "category"))
            output = False
        elif str(kind) not in _SAID or any(_get(block, name) for name in _SAID[str(kind)]):
            output = True
    if _get(message, "stop_reason") == "refusal" and not output:
        refused(model, _get(_get(message, "stop_details"), "category"))
    return free


def _notes(usage: Any, message: Any) -> Iterator[str]:
    if _get(usage, "service_tier") == "priority":
        yield "priority tier is paid by a commitment: list prices overstate it"
    if _get(_get(_get(usage, "fallback_credit"), "status"), "type") == "redeemed":
        yield "a fallback credit was redeemed: list prices overstate it"
    kinds = [str(_get(block, "type")) for block in _list(message, "content")]
    executed = any(kind.endswith("code_execution_tool_result") for kind in kinds)
    if executed or _get(_get(usage, "server_tool_use"), "code_execution_requests"):
        yield "code execution is billed by the hour of its container: not in the sum"
