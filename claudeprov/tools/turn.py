"""An answer that asks for tools, as it goes back to the API."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from claudeprov.response import MessageResponse, ToolCall
from claudeprov.tools.result import ToolResult


@dataclass(frozen=True, slots=True)
class Turn:
    """The content of an answer, and the calls in it.

    Blocks go back unchanged, with two exceptions that the API would refuse: a call whose id is taken gets one of its
    own, and input that is no JSON object, or not all of one, is wrapped as the API's documentation asks for.
    """

    content: list[dict[str, Any]]
    calls: tuple[ToolCall, ...]
    repeated: frozenset[str]
    """Ids of calls that came with the id of another call of the same answer."""

    def messages(self, results: Mapping[str, ToolResult]) -> Iterator[dict[str, Any]]:
        """The answer, and one user message with all *results*, which are there by id."""
        yield {"role": "assistant", "content": self.content}
        toolsets = {block["id"]: block.get("toolset_name") for block in _calls_in(self.content)}
        blocks = []
        for call in self.calls:
            family = toolsets[call.id]
            blocks.append(results[call.id].block() | ({"toolset_name": family} if family else {}))
        yield {"role": "user", "content": blocks}


def turn_of(response: MessageResponse, taken: set[str]) -> Turn:
    """Take an answer for a turn of the conversation, whose ids so far are *taken*; its own are added to them."""
    before = frozenset(taken)
    content: list[dict[str, Any]] = []
    calls: list[ToolCall] = []
    repeated: set[str] = set()
    asked = iter(response.tool_calls)
    for block in response.content:
        if block.get("type") == "tool_use":
            call = next(asked)
            own = _free(call.id, taken)
            if call.id in taken - before:
                repeated.add(own)
            taken.add(own)
            calls.append(replace(call, id=own))
            block = {**block, "id": own}
            if call.input is None:
                block["input"] = {"INVALID_JSON": call.json}
        content.append(block)
    return Turn(content, tuple(calls), frozenset(repeated))


def ids_in(messages: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The ids of the calls in a conversation."""
    for message in messages:
        content = message.get("content")
        if isinstance(content, list):
            yield from (str(block.get("id")) for block in _calls_in(content))


def _calls_in(content: Iterable[Any]) -> Iterator[dict[str, Any]]:
    return (block for block in content if isinstance(block, dict) and block.get("type") == "tool_use")


def _free(id: str, taken: set[str]) -> str:
    """The id, or where it is empty or taken one like it that is not."""
    ids = itertools.chain([id] if id else [], (f"{id or 'call'}_{number}" for number in itertools.count(2)))
    return next(each for each in ids if each not in taken)
