"""A row: what a ledger keeps of one call. No prompt, no answer, no secret."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Annotated, Any

import msgspec

from claudeprov.chain import Call
from claudeprov.cost import Cost, billed_entries
from claudeprov.errors import ProviderError
from claudeprov.ledger.prompt import as_text, prefixes_of, request_hash
from claudeprov.mask import masked_text
from claudeprov.response import Attempt, MessageResponse, Usage
from claudeprov.stream import Outcome

MONEY = 15
"""Decimals of a dollar that a ledger keeps; list prices with their multipliers need 11."""
LARGEST = 2**63 - 1
"""The largest whole number of a database's column."""
MOST = 10**12
"""The largest count that is one: nine million of them can be added in a column."""
Count = Annotated[int, msgspec.Meta(ge=0, le=MOST)]

_LONGEST = 1000
"""Characters that are kept of a text, such as a tag."""
_OWN_TAGS = ("run", "suite", "task")


class Row(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One call. What is not known is ``None``, never 0."""

    id: str
    """The call's, which makes entering it twice the same as once."""
    at: str
    """When it began: RFC 3339, UTC, to the microsecond, so that the order of texts is that of time."""
    model: str | None = None
    """The model asked for."""
    served: str | None = None
    """The model that answered, by its own word."""
    endpoint: str = ""
    """The service: its kind, with the host where that is not the SDK's default."""
    replayed: bool = False
    """Whether a cassette answered: then nothing was paid, and the cost is what it was when recorded."""
    run: str | None = None
    suite: str | None = None
    task: str | None = None
    end: str = "read"
    """``read``, ``failed``, ``cancelled`` or ``abandoned``."""
    error: str | None = None
    """The code of what made it fail."""
    input_tokens: Count | None = None
    """Tokens of the prompt that were neither written to the cache nor read from it. Like all counts, it is that of the
    answer and of the attempts before it that were paid for."""
    output_tokens: Count | None = None
    """Tokens of the answer, thinking included."""
    thinking_tokens: Count | None = None
    """How many of them were thinking."""
    cache_write_5m_tokens: Count | None = None
    cache_write_1h_tokens: Count | None = None
    cache_read_tokens: Count | None = None
    web_searches: Count | None = None
    web_fetches: Count | None = None
    cost_usd: Decimal | None = None
    """Exact; ``None`` where it is an interval, or a price is unknown."""
    cost_low_usd: Decimal | None = None
    """The least that it cost; ``None`` where a price is unknown."""
    cost_high_usd: Decimal | None = None
    """The most that it cost; ``None`` where a price is unknown, or nothing bounds it."""
    cost_reason: str | None = None
    """Why ``cost_usd`` is ``None``."""
    retried_low_usd: Decimal | None = None
    """What attempts cost that did not answer, and are part of the cost; ``None`` where none was paid for."""
    retried_high_usd: Decimal | None = None
    queue: float = 0.0
    """Seconds waited for a rate limit of the client's own."""
    backoff: float = 0.0
    """Seconds waited between attempts."""
    first_chunk: float | None = None
    """Seconds from the call's beginning to its first event."""
    total: float = 0.0
    """Seconds from the call's beginning to its end."""
    attempts: Count = 0
    stop_reason: str | None = None
    max_tokens: Count | None = None
    """What the request allowed."""
    service_tier: str | None = None
    speed: str | None = None
    inference_geo: str | None = None
    request_id: str | None = None
    """The service's id of the attempt that answered."""
    request_hash: str | None = None
    """See :func:`claudeprov.ledger.prompt.request_hash`."""
    prefixes: str = ""
    """Hash and length of the prompt's prefixes; see :func:`claudeprov.ledger.prompt.prefixes_of`."""
    tags: dict[str, str] | None = None
    """What else the user calls it by."""

    @property
    def started_at(self) -> datetime:
        """When it began."""
        return datetime.fromisoformat(self.at)

    @property
    def cache_write_tokens(self) -> int:
        """Tokens written to the cache, for whatever time."""
        return (self.cache_write_5m_tokens or 0) + (self.cache_write_1h_tokens or 0)

    @property
    def prompt_tokens(self) -> int:
        """All tokens of the prompt."""
        return (self.input_tokens or 0) + self.cache_write_tokens + (self.cache_read_tokens or 0)


def row_of(call: Call, asked: str | None, outcome: Outcome, response: MessageResponse, *, replayed: bool) -> Row:
    """Make the row of a call that has ended.

    Args:
        call: With its attempts, and the request as the layers left it.
        asked: The model that was asked for before they did.
        outcome: How it ended.
        response: What arrived.
        replayed: Whether a cassette answered.
    """
    usage, timing, body = response.usage, response.timing, call.request.body()
    tags = {_text(name): _text(value) for name, value in call.tags.items()}
    own: dict[str, Any] = {name: tags.pop(name, None) for name in _OWN_TAGS}
    used = [one for one in (*(attempt.usage for attempt in response.attempts), usage) if one is not None and one.raw]
    return Row(
        id=call.id,
        at=time_text(timing.started_at),
        model=_known(asked),
        served=_known(response.model),
        endpoint=call.route.partition("/")[0],
        replayed=replayed,
        **own,
        end=outcome.kind,
        error=_code(outcome.error),
        **_counts(used),
        **_money(_cost(response, is_told=bool(used)), response.attempts),
        queue=timing.queue,
        backoff=timing.backoff,
        first_chunk=timing.first_chunk,
        total=timing.total,
        attempts=len(call.attempts),
        stop_reason=_known(response.stop_reason),
        max_tokens=_whole(body.get("max_tokens")),
        service_tier=_known(usage.service_tier),
        speed=_known(usage.speed),
        inference_geo=_known(usage.inference_geo),
        request_id=_known(response.request_id),
        request_hash=request_hash(body),
        prefixes=as_text(prefixes_of(body)),
        tags=tags or None,
    )


def time_text(at: datetime) -> str:
    """Write an aware time as the column ``at`` has it."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _counts(used: Iterable[Usage]) -> dict[str, Any]:
    known: dict[str, list[int]] = defaultdict(list)
    for name, count in (pair for usage in used for counts in _count(usage) for pair in counts.items()):
        if count is not None:
            known[name].append(count)
    return {name: _whole(sum(counts)) for name, counts in known.items()}


def _count(usage: Usage) -> Iterator[dict[str, int | None]]:
    """Yield the counts of each entry that is billed; what only the usage object as a whole tells comes first."""
    details, tools = _part(usage.raw, "output_tokens_details"), _part(usage.raw, "server_tool_use")
    yield {
        "thinking_tokens": _whole(details.get("thinking_tokens")),
        "web_searches": _whole(tools.get("web_search_requests")),
        "web_fetches": _whole(tools.get("web_fetch_requests")),
    }
    try:
        entries = billed_entries(usage.raw)
    except ValueError:
        entries = [usage.raw]
    for entry in entries:
        by_lifetime = _part(entry, "cache_creation")
        written = _whole(entry.get("cache_creation_input_tokens"))
        hour = _whole(by_lifetime.get("ephemeral_1h_input_tokens"))
        minutes = _whole(by_lifetime.get("ephemeral_5m_input_tokens"))
        if written is not None:  # such writes are for five minutes, but for those that are told to be for an hour
            minutes = max(minutes or 0, written - (hour or 0))
        yield {
            "input_tokens": _whole(entry.get("input_tokens")),
            "output_tokens": _whole(entry.get("output_tokens")),
            "cache_write_5m_tokens": minutes,
            "cache_write_1h_tokens": hour,
            "cache_read_tokens": _whole(entry.get("cache_read_input_tokens")),
        }


def _part(entry: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = entry.get(name)
    return value if isinstance(value, Mapping) else {}


def _money(cost: Cost, attempts: Sequence[Attempt]) -> dict[str, Any]:
    retried = [attempt.cost for attempt in attempts if attempt.cost is not None]
    total = _dollars(cost.total_usd)
    is_too_much = total is None and cost.total_usd is not None
    return {
        "cost_usd": total,
        "cost_low_usd": _dollars(cost.low_usd, ROUND_FLOOR),
        "cost_high_usd": _dollars(cost.high_usd, ROUND_CEILING),
        "cost_reason": "it is more than a column can hold" if is_too_much else _known(cost.reason),
        "retried_low_usd": _dollars(_sum(cost.low_usd for cost in retried), ROUND_FLOOR),
        "retried_high_usd": _dollars(_sum(cost.high_usd for cost in retried), ROUND_CEILING),
    }


def _cost(response: MessageResponse, *, is_told: bool) -> Cost:
    """What a call cost, by the usage that was told if any was; an attempt that told none may have been billed, too."""
    cost = response.cost if is_told else Cost(_NOTHING, ())
    if any(_is_unclear(attempt, response) for attempt in response.attempts):
        reason = cost.reason or "an attempt told no usage, and the service may have billed it"
        return Cost(None, cost.items, reason, cost.notes, low_usd=cost.low_usd if is_told else None)
    return cost


def _is_unclear(attempt: Attempt, response: MessageResponse) -> bool:
    """Whether it may have been served, though its usage is not known: what the service refuses it does not bill."""
    if attempt.error_code is None:
        return not response.usage.raw
    is_told = attempt.usage is not None and bool(attempt.usage.raw)
    return not is_told and (attempt.error_code in _UNCLEAR or not attempt.error_code.islower())


_UNCLEAR = {
    *("timeout", "deadline_exceeded", "first_event_timeout", "between_events_timeout", "ping_timeout"),
    *("gateway_timeout", "connection_failed", "invalid_response", "stream_interrupted", "truncated"),
    *("out_of_grammar", "invalid_json", "event_too_large", "cancelled", "abandoned"),
}
"""Codes of attempts that came to an end without an answer of the service's; a bug's is the name of its class."""
_NOTHING = Decimal(0)


def _sum(amounts: Iterable[Decimal | None]) -> Decimal | None:
    known = [amount for amount in amounts if amount is not None]
    return sum(known, _NOTHING) if known else None


def _dollars(amount: Decimal | None, rounding: str | None = None) -> Decimal | None:
    """Round to what a column holds; an amount that it cannot hold is unknown."""
    if amount is None or amount.scaleb(MONEY) > LARGEST:
        return None
    return amount.quantize(Decimal(1).scaleb(-MONEY), rounding=rounding)


def _whole(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= MOST else None


def _known(value: Any) -> str | None:
    return None if value is None else _text(value)


def _text(value: Any) -> str:
    """Write *value* as any database takes it, and without what looks like a credential."""
    text = str(value)[:_LONGEST].replace("\0", "")
    return masked_text(text.encode(errors="replace").decode())


def _code(error: Exception | None) -> str | None:
    if error is None:
        return None
    return error.code if isinstance(error, ProviderError) else type(error).__name__
