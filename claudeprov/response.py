"""What came back: the message, what it used, what it cost, how long it took and in how many attempts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from claudeprov.caching import Caching
    from claudeprov.cost import Cost


class Usage:
    """What a call used, as the API counts it; a count that it left out, or that is no whole number, is ``None``, and
    what is no object where one belongs is empty."""

    __slots__ = ("raw",)

    def __init__(self, raw: Mapping[str, Any] | None = None) -> None:
        self.raw: Mapping[str, Any] = _mapping(raw)
        """The API's usage object, unknown fields included."""

    @property
    def input_tokens(self) -> int | None:
        """Tokens of the prompt after the last cache breakpoint."""
        return _count(self.raw, "input_tokens")

    @property
    def output_tokens(self) -> int | None:
        """Tokens of the answer, thinking included."""
        return _count(self.raw, "output_tokens")

    @property
    def cache_creation_input_tokens(self) -> int | None:
        """Tokens of the prompt written to the cache."""
        return _count(self.raw, "cache_creation_input_tokens")

    @property
    def cache_read_input_tokens(self) -> int | None:
        """Tokens of the prompt read from the cache."""
        return _count(self.raw, "cache_read_input_tokens")

    @property
    def cache_creation(self) -> Mapping[str, Any]:
        """Cache writes by lifetime: ``ephemeral_5m_input_tokens`` and ``ephemeral_1h_input_tokens``."""
        return _mapping(self.raw.get("cache_creation"))

    @property
    def server_tool_use(self) -> Mapping[str, Any]:
        """Requests of server tools: ``web_search_requests``, ``web_fetch_requests``."""
        return _mapping(self.raw.get("server_tool_use"))

    @property
    def thinking_tokens(self) -> int | None:
        """How many of the output tokens were thinking."""
        return _count(_mapping(self.raw.get("output_tokens_details")), "thinking_tokens")

    @property
    def service_tier(self) -> str | None:
        """``standard``, ``priority`` or ``batch``."""
        return self.raw.get("service_tier")

    @property
    def speed(self) -> str | None:
        """``standard`` or ``fast``: what was served, and is billed."""
        return self.raw.get("speed")

    @property
    def inference_geo(self) -> str | None:
        """Where the model ran: ``global``, ``us`` ..."""
        return self.raw.get("inference_geo")

    def __add__(self, other: Usage) -> Usage:
        """The usage of both: counts are added, lists joined; of what is neither, the later stands."""
        return Usage(_added(self.raw, other.raw))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Usage) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(tuple(sorted(self.raw)))

    def __repr__(self) -> str:
        return f"Usage({dict(self.raw)!r})"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool that the model asks for."""

    id: str
    name: str
    input: dict[str, Any] | None
    """The arguments; ``None`` where they were cut off or are no JSON object."""
    json: str
    """The arguments as the model wrote them."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One HTTP request of a call."""

    number: int
    """From 1 on."""
    waited: float
    """Seconds of backoff before it."""
    seconds: float
    """Until its answer, or its stream's first event, came or failed to."""
    request_id: str | None = None
    """The service's id of it."""
    error_code: str | None = None
    """Why it failed, or broke and was gone on with; ``refusal`` where a fallback took over; else ``None``."""
    model: str | None = None
    """The model that was asked."""
    usage: Usage | None = None
    """What it used, where it is paid for though it did not answer; the answer's is the response's."""
    cost: Cost | None = None
    """What that cost."""


@dataclass(frozen=True, slots=True)
class Join:
    """A place where a broken stream was gone on with."""

    at: int
    """Characters of the response's text before it."""
    attempt: int
    """Number of the attempt whose text begins there."""
    error_code: str
    """How the attempt before it broke."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a call took, in seconds of its clock."""

    started_at: datetime
    """When the call began, aware and in UTC."""
    queue: float
    """Waiting for a rate limit of the client's own."""
    backoff: float
    """Waiting between attempts."""
    first_chunk: float | None
    """From the call's beginning to its first event other than a ping; ``None`` if none came yet."""
    total: float
    """From the call's beginning to its end, or until now."""


@dataclass(frozen=True)
class MessageResponse:
    """What has arrived of a message: the whole, or the part so far."""

    message: Mapping[str, Any]
    """The message as JSON."""
    timing: Timing
    attempts: tuple[Attempt, ...] = ()
    """Every HTTP request made for it, in order."""
    request_id: str | None = None
    """The service's id of the attempt that answered."""
    price: Callable[[MessageResponse], Cost] | None = field(default=None, repr=False, compare=False)
    """How to price it."""
    tool_json: Mapping[int, str] = field(default_factory=dict, repr=False)
    """The input of each tool call as the model wrote it, by block index; only streams have it."""
    joins: tuple[Join, ...] = ()
    """Where it broke, and another attempt went on."""

    def __getstate__(self) -> dict[str, Any]:
        """Take the cost along, not what prices it: that belongs to a provider."""
        return {**self.__dict__, "cost": self.cost, "price": None}

    def to_message(self) -> dict[str, Any]:
        """The JSON object that a plain exchange would have given.

        Equal to what the official SDK accumulates from the same stream, its ``to_dict()``, for all that the SDK knows;
        fields that it does not know, and would drop, are kept.
        """
        return dict(self.message)

    @property
    def id(self) -> str | None:
        """The message's id."""
        return self.message.get("id")

    @property
    def model(self) -> str | None:
        """The model that served it."""
        return self.message.get("model")

    @property
    def content(self) -> list[dict[str, Any]]:
        """The content blocks, as the API gives them."""
        return self.message.get("content") or []

    @property
    def stop_reason(self) -> str | None:
        """Why the model stopped; ``None`` where it has not."""
        return self.message.get("stop_reason")

    @property
    def stop_sequence(self) -> str | None:
        """The stop sequence that was met."""
        return self.message.get("stop_sequence")

    @property
    def stop_details(self) -> dict[str, Any] | None:
        """Why it was refused, where ``stop_reason`` is ``refusal``."""
        return self.message.get("stop_details")

    @property
    def usage(self) -> Usage:
        """What the attempt that answered used: cumulative counts. Others that are paid for tell their own."""
        return Usage(self.message.get("usage"))

    @cached_property
    def cost(self) -> Cost:
        """What the call cost, by line item, with its paid attempts; ``total_usd`` is ``None`` where it is not known."""
        return sum((attempt.cost for attempt in self.attempts if attempt.cost is not None), start=self._own_cost())

    def _own_cost(self) -> Cost:
        if self.price is not None:
            return self.price(self)
        from claudeprov.cost import cost_of

        return cost_of(self.usage, self.model or "", at=self.timing.started_at, message=self.message)

    @cached_property
    def caching(self) -> Caching:
        """What the prompt cache did: hits and writes in tokens, and what it saved or cost."""
        from claudeprov.caching import effect

        return effect(self)

    @property
    def text(self) -> str:
        """The text of all text blocks, joined."""
        return "".join(block.get("text") or "" for block in self.content if block.get("type") == "text")

    @property
    def tool_calls(self) -> list[ToolCall]:
        """The client tools that the model asks for, in order; server tools are not among them."""
        return [
            _tool_call(block, self.tool_json.get(index))
            for index, block in enumerate(self.content)
            if block.get("type") == "tool_use"
        ]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _count(source: Mapping[str, Any], name: str) -> int | None:
    value = source.get(name)
    return value if type(value) is int else None


def _added(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    added = dict(one)
    for name, value in other.items():
        own = one.get(name)
        if isinstance(own, Mapping) and isinstance(value, Mapping):
            added[name] = _added(own, value)
        elif type(own) is int and type(value) is int:
            added[name] = own + value
        elif isinstance(own, list) and isinstance(value, list):
            added[name] = [*own, *value]
        elif value is not None:
            added[name] = value
    return added


def _tool_call(block: dict[str, Any], written: str | None) -> ToolCall:
    import json

    if not written:  # a plain exchange, or a stream that gave the input with the block's start
        arguments = block.get("input")
        written = json.dumps(arguments)
    else:
        try:
            arguments = json.loads(written)
        except (ValueError, RecursionError):
            arguments = None
    return ToolCall(
        block.get("id") or "", block.get("name") or "", arguments if isinstance(arguments, dict) else None, written
    )
