"""Prompt caching: where breakpoints go, and what they saved or cost.

A breakpoint (``cache_control``) has the prompt cached up to its block, in the order tools, system, messages. A request
may have four; a prefix below the model's minimum is not cached; a request finds what an earlier one wrote if that ends
within twenty positions before one of its own breakpoints. Source: Anthropic's page on prompt caching, October 2026.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from claudeprov.catalog import Model
from claudeprov.request import MessageRequest
from claudeprov.tokens import TokenCount

if TYPE_CHECKING:
    from claudeprov.response import MessageResponse

MOST_BREAKPOINTS = 4
LOOKBACK = 20
"""Positions, the breakpoint's own among them; a run of tool calls, or of their results, is one."""
_CACHEABLE = (
    "text",
    "image",
    "document",
    "search_result",
    "tool_use",
    "tool_result",
    "server_tool_use",
    "container_upload",
)
_PROMPT = ("input", "cache_write_5m", "cache_write_1h", "cache_read")

Lifetime = Literal["5m", "1h"]
Estimate = Callable[[MessageRequest, Model | None], TokenCount]


@dataclass(frozen=True, slots=True)
class Caching:
    """What the prompt cache did for a call, in tokens and USD."""

    hits: int
    """Tokens read from the cache."""
    writes_5m: int
    """Tokens written to be kept for five minutes."""
    writes_1h: int
    """Tokens written to be kept for an hour."""
    saved_usd: Decimal | None
    """What the prompt would have cost more without the cache; negative where writing cost more than reading saved,
    ``None`` where a price is unknown."""


class _Place(NamedTuple):
    """A block where a breakpoint can stand."""

    part: Literal["tools", "system", "messages"]
    message: int
    """Index of its message; 0 in tools and system."""
    block: int


def with_breakpoints(request: MessageRequest, model: Model | None, ttl: Lifetime, estimate: Estimate) -> MessageRequest:
    """Return *request* with breakpoints where there is room and use for them.

    In this order: at the end of the conversation; where the request before it ended, if that is out of reach from
    there; at the end of the system prompt; and of the tools. The user's own are left alone, and count; a breakpoint of
    an hour cannot stand behind one of five minutes, and is then one of five minutes, too.

    Args:
        request: What is to be sent.
        model: What is known of its model; ``None`` if nothing.
        ttl: How long what is written is to be kept.
        estimate: Who counts the tokens of a prefix; where even the most it can be is below the minimum, none is placed.
    """
    if model is not None and model.capabilities.prompt_caching is False:
        return request
    own = _own_breakpoints(request)
    free = MOST_BREAKPOINTS - len(own) - (getattr(request, "cache_control", None) is not None)
    least = (model.min_cacheable_tokens if model else None) or 0
    chosen: dict[_Place, Lifetime] = {}
    for place in _places(request):
        if len(chosen) >= free:
            break
        fitting = _fitting(ttl, place, own, request)
        if fitting and place not in own and estimate(_prefix(request, place), model).high >= least:
            chosen[place] = fitting
    return _marked(request, chosen) if chosen else request


def effect(response: MessageResponse) -> Caching:
    """Return what the prompt cache did for the call that *response* answers."""
    usage = response.usage
    hits, writes_5m, writes_1h = _counts(usage.raw)
    if not (hits or writes_5m or writes_1h):
        return Caching(0, 0, 0, Decimal(0))
    uncached = replace(response, message={**response.message, "usage": _uncached(usage.raw)})
    before, after = _prompt_cost(uncached), _prompt_cost(response)
    saved = None if before is None or after is None else before - after
    return Caching(hits, writes_5m, writes_1h, saved)


def _prompt_cost(response: MessageResponse) -> Decimal | None:
    amounts = [item.amount for item in response.cost.items if item.name in _PROMPT]
    known = [amount for amount in amounts if amount is not None]
    return sum(known, Decimal(0)) if len(known) == len(amounts) else None


def _uncached(usage: Mapping[str, Any]) -> dict[str, Any]:
    """Return a usage object as it would be had all of the prompt been plain input."""
    plain = {
        **usage,
        "input_tokens": _count(usage, "input_tokens") + sum(_counts(usage)),
        "cache_creation_input_tokens": 0,
        "cache_creation": None,
        "cache_read_input_tokens": 0,
    }
    if isinstance(iterations := usage.get("iterations"), list):
        plain["iterations"] = [_uncached(entry) if isinstance(entry, Mapping) else entry for entry in iterations]
    return plain


def _counts(usage: Mapping[str, Any]) -> tuple[int, int, int]:
    """Return the tokens read, and those written for five minutes and for an hour; writes of no told lifetime are of
    five minutes."""
    creation = usage.get("cache_creation") or {}
    writes_1h = _count(creation, "ephemeral_1h_input_tokens")
    rest = _count(usage, "cache_creation_input_tokens") - writes_1h
    writes_5m = max(_count(creation, "ephemeral_5m_input_tokens"), rest)
    return _count(usage, "cache_read_input_tokens"), writes_5m, writes_1h


def _count(source: Any, name: str) -> int:
    value = source.get(name) if isinstance(source, Mapping) else None
    return value if isinstance(value, int) else 0


def _places(request: MessageRequest) -> Iterator[_Place]:
    """Yield where breakpoints are of use, the most useful first."""
    ends = [_Place("messages", index, block) for index, block in _ends(request.messages)]
    if ends:
        yield ends[-1]
        before = _end_of_request_before(request.messages, ends)
        if before and _positions(request.messages, before, ends[-1]) >= LOOKBACK:
            yield before
    system = _blocks(getattr(request, "system", None))
    if (last := _last(system, _is_cacheable)) is not None:
        yield _Place("system", 0, last)
    tools = _blocks(getattr(request, "tools", None))
    if (last := _last(tools, lambda tool: not tool.get("defer_loading"))) is not None:
        yield _Place("tools", 0, last)


def _ends(messages: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, int]]:
    """Yield each message that has a cacheable block, with its last one."""
    for index, message in enumerate(messages):
        if (last := _last(_blocks(message.get("content")), _is_cacheable)) is not None:
            yield index, last


def _end_of_request_before(messages: Sequence[Mapping[str, Any]], ends: Sequence[_Place]) -> _Place | None:
    """Return where the request before this one ended: before the latest answer."""
    answers = [index for index, message in enumerate(messages) if message.get("role") == "assistant"]
    earlier = [end for end in ends[:-1] if answers and end.message < answers[-1]]
    return earlier[-1] if earlier else None


def _positions(messages: Sequence[Mapping[str, Any]], start: _Place, end: _Place) -> int:
    """Count the positions from *start*, which is not counted, to *end*."""
    count, previous = 0, None
    for index in range(start.message, end.message + 1):
        for number, block in enumerate(_blocks(messages[index].get("content"))):
            if (start.message, start.block) < (index, number) <= (end.message, end.block):
                kind = block.get("type")
                count += kind != previous or kind not in ("tool_use", "tool_result")
                previous = kind
    return count


def _own_breakpoints(request: MessageRequest) -> dict[_Place, str]:
    """Find the breakpoints that a request has, with their lifetimes; one within a block stands for that block."""
    found: dict[_Place, str] = {}
    parts: list[tuple[Literal["tools", "system", "messages"], int, Any]] = [
        ("tools", 0, getattr(request, "tools", None)),
        ("system", 0, getattr(request, "system", None)),
        *(("messages", index, message.get("content")) for index, message in enumerate(request.messages)),
    ]
    for part, index, content in parts:
        for number, block in enumerate(_blocks(content)):
            inner = [block, *_blocks(block.get("content"))]
            if controls := [one["cache_control"] for one in inner if one.get("cache_control")]:
                found[_Place(part, index, number)] = controls[0].get("ttl") or "5m"
    return found


def _fitting(ttl: Lifetime, place: _Place, own: Mapping[_Place, str], request: MessageRequest) -> Lifetime | None:
    """Return the lifetime that a breakpoint can have among the user's own, as those of an hour come first."""
    order = _order(place)
    top: Mapping[str, Any] = getattr(request, "cache_control", None) or {}
    after = [life for other, life in own.items() if _order(other) > order]
    if top:
        after.append(top.get("ttl") or "5m")
    if any(life == "5m" and _order(other) < order for other, life in own.items()):
        ttl = "5m"
    return None if ttl == "5m" and "1h" in after else ttl


def _order(place: _Place) -> tuple[int, int, int]:
    return ("tools", "system", "messages").index(place.part), place.message, place.block


def _prefix(request: MessageRequest, place: _Place) -> MessageRequest:
    """Return the part of *request* up to a place, that one included."""
    parts: dict[str, Any] = {"tools": getattr(request, "tools", None)}
    if place.part != "tools":
        parts["system"] = getattr(request, "system", None)
    messages: list[dict[str, Any]] = []
    if place.part == "messages":
        last = request.messages[place.message]
        cut = last | {"content": _blocks(last.get("content"))[: place.block + 1]}
        messages = [*request.messages[: place.message], cut]
    given = {name: value for name, value in parts.items() if value}
    return MessageRequest.model_validate({"messages": messages, "model": request.model} | given)


def _marked(request: MessageRequest, chosen: Mapping[_Place, Lifetime]) -> MessageRequest:
    changes: dict[str, Any] = {}
    messages = list(request.messages)
    for place, ttl in chosen.items():
        if place.part == "messages":
            message = messages[place.message]
            messages[place.message] = message | {"content": _with_mark(message["content"], place.block, ttl)}
            changes["messages"] = messages
        else:
            changes[place.part] = _with_mark(getattr(request, place.part), place.block, ttl)
    return request.model_copy(update=changes)


def _with_mark(content: Any, number: int, ttl: Lifetime) -> list[dict[str, Any]]:
    # Five minutes is the default, and unsaid to servers that know no other.
    control = {"type": "ephemeral"} | ({"ttl": ttl} if ttl != "5m" else {})
    blocks = list(_blocks(content))
    blocks[number] = {**blocks[number], "cache_control": control}
    return blocks


def _blocks(content: Any) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    is_known = isinstance(content, list) and all(isinstance(block, dict) for block in content)
    return content if is_known else []


def _last(blocks: Sequence[Mapping[str, Any]], fits: Callable[[Mapping[str, Any]], bool]) -> int | None:
    return next((number for number in reversed(range(len(blocks))) if fits(blocks[number])), None)


def _is_cacheable(block: Mapping[str, Any]) -> bool:
    kind = str(block.get("type"))
    return (kind in _CACHEABLE or kind.endswith("_tool_result")) and (kind != "text" or bool(block.get("text")))
