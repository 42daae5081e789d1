"""What a loop over tools has done: each call of a tool, and the whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any, Literal

from claudeprov.chunk import MessageChunk
from claudeprov.cost import Cost
from claudeprov.errors import ProviderError
from claudeprov.response import MessageResponse, ToolCall, Usage

Content = str | list[dict[str, Any]]
"""Text, or content blocks of the API."""

ToolOutcome = Literal["ok", "failed", "timed_out", "denied", "invalid", "unknown", "duplicate", "cancelled"]
"""``invalid``: its arguments are no JSON object, or do not fit the schema; ``unknown``: there is no such tool;
``duplicate``: its id was used before in the same answer; ``cancelled``: the loop ended before it did."""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """A call of a tool, and what came of it."""

    round: int
    """The answer that asked for it, from 1 on."""
    id: str
    name: str
    arguments: Mapping[str, Any] | None
    """As the model gave them; ``None`` where they are no JSON object."""
    outcome: ToolOutcome
    content: Content
    """What goes to the model."""
    seconds: float
    """For which it ran; 0 where it did not."""
    error: BaseException | None = None
    """What it raised; the model is told no more of it than its kind."""

    @property
    def is_error(self) -> bool:
        """Whether the model is told that it failed."""
        return self.outcome != "ok"

    @property
    def size(self) -> int:
        """Characters of its content."""
        return len(self.content) if isinstance(self.content, str) else len(str(self.content))

    def block(self) -> dict[str, Any]:
        """The block that answers the call."""
        block: dict[str, Any] = {"type": "tool_result", "tool_use_id": self.id, "content": self.content}
        return block | {"is_error": True} if self.is_error else block

    def chunk(self) -> MessageChunk:
        """The chunk that tells of it."""
        data = {
            "type": "tool_result",
            "round": self.round,
            "id": self.id,
            "name": self.name,
            "outcome": self.outcome,
            "is_error": self.is_error,
            "content": self.content,
            "seconds": self.seconds,
        }
        return MessageChunk("tool_result", rest=data)


def call_chunk(round: int, call: ToolCall) -> MessageChunk:
    """The chunk that tells of a call before it is made."""
    data = {"type": "tool_call", "round": round, "id": call.id, "name": call.name, "input": call.input}
    return MessageChunk("tool_call", rest=data)


@dataclass(frozen=True)
class ToolRun:
    """What a loop has done so far, or in the whole."""

    stopped: str | None
    """Why it stopped: the model's reason (``end_turn``, ``stop_sequence``, ``max_tokens``, ``refusal`` ...), or
    ``max_rounds``, ``budget``, ``deadline``, ``cancelled`` or ``failed``; ``None`` while it goes on."""
    responses: tuple[MessageResponse, ...]
    """The model's answers, one a round; the last may be a part of one."""
    calls: tuple[ToolResult, ...]
    """The calls of tools, in the order in which the model asked for them."""
    messages: tuple[dict[str, Any], ...]
    """The conversation, every call in it answered; a user message appended, unless it ends with one, goes on."""
    error: ProviderError | None = None
    """Where it was stopped by one: of the budget, the service ..."""

    @property
    def rounds(self) -> int:
        """How many answers it took."""
        return len(self.responses)

    @property
    def response(self) -> MessageResponse | None:
        """The last answer."""
        return self.responses[-1] if self.responses else None

    @property
    def text(self) -> str:
        """The text of the last answer."""
        return self.response.text if self.response else ""

    @property
    def usage(self) -> Usage:
        """What all rounds used."""
        usages: Iterable[Usage] = (response.usage for response in self.responses)
        return reduce(add, usages) if self.responses else Usage()

    @property
    def cost(self) -> Cost:
        """What all rounds cost; an interval where one broke off. Tools of one's own are not in it."""
        costs: Iterable[Cost] = (response.cost for response in self.responses)
        return reduce(add, costs) if self.responses else Cost(None, (), "no round has begun")
