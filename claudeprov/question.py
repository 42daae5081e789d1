"""A question: how an answer of a shape is asked for, found in what comes, and asked for again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Self, TypeVar

from claudeprov.catalog import Capabilities
from claudeprov.errors import InvalidRequestError
from claudeprov.request import MessageRequest
from claudeprov.response import MessageResponse, ToolCall
from claudeprov.shape import Shape

T = TypeVar("T")

_TOOL = "answer"
_ABOUT_THE_TOOL = "Takes your answer: give it by a single call of this tool, whole, and not as text."
_IN_WORDS = "Fill in this JSON Schema with your answer, and write nothing but the JSON object that fits it:\n"
_AGAIN = "Your answer is not what was asked for:\n{problems}\nGive the whole answer again, with that put right."
_MOST_TOLD = 20
"""Problems that the model is told of at a time."""


@dataclass(frozen=True)
class Question(Generic[T]):
    """What is asked, and of which shape the answer is to be."""

    request: MessageRequest
    shape: Shape[T]
    tool: str | None = None
    """The tool that takes the answer; ``None`` where it comes as text."""

    @classmethod
    def of(cls, request: MessageRequest, shape: Shape[T], can: Capabilities | None) -> Self:
        """Ask for the answer to *request* as the model takes it best.

        That is by structured outputs; else by a tool, a strict one unless the model is known to take none; and by words
        where it has no tools either.

        Args:
            request: Its other tools stay, and so does its ``tool_choice``.
            shape: What the answer is to be.
            can: What the model can do; ``None`` where nothing is known.

        Raises:
            InvalidRequestError: *shape* cannot be asked for, or *request* asks for one of its own.
        """
        given = request.__dict__ | (request.model_extra or {})
        if (given.get("output_config") or {}).get("format") is not None:
            raise InvalidRequestError("output and output_config.format both say what the answer is; leave out one")
        if can is not None and can.structured_outputs:
            return cls(_with(request, _by_format(given, shape)), shape)
        if can is not None and can.tool_use is False:
            return cls(_with(request, _by_words(given, shape)), shape)
        return cls(_with(request, _by_tool(given, shape, can)), shape, _TOOL)

    def calls(self, response: MessageResponse) -> list[ToolCall]:
        """The calls of *response* that give an answer."""
        return [call for call in response.tool_calls if call.name == self.tool]

    def written(self, response: MessageResponse) -> str:
        """The answer as the model wrote it: what it called the tool with, or else the last of its texts."""
        for call in self.calls(response):
            return call.json
        texts = [block.get("text") or "" for block in response.content if block.get("type") == "text"]
        return next(filter(str.strip, reversed(texts)), "")

    def again(self, response: MessageResponse, problems: Sequence[str]) -> Self:
        """Ask again, with what was answered and what is wrong with that."""
        if self.tool is not None and not self.calls(response):
            problems = [f"it is to be given by a call of the tool {self.tool}", *problems]
        told = _AGAIN.format(problems="\n".join(f"- {problem}" for problem in problems[:_MOST_TOLD]))
        results = [
            {"type": "tool_result", "tool_use_id": call.id, "is_error": True, "content": told}
            for call in response.tool_calls
        ]
        messages = [*self.request.messages, *_said(response)]
        messages.append({"role": "user", "content": results or [{"type": "text", "text": told}]})
        return replace(self, request=_with(self.request, {"messages": messages}))


def _with(request: MessageRequest, parameters: Mapping[str, Any]) -> MessageRequest:
    return request.model_copy(update=dict(parameters))


def _by_format(given: Mapping[str, Any], shape: Shape[Any]) -> dict[str, Any]:
    form = {"type": "json_schema", "schema": shape.strict}
    return {"output_config": {**(given.get("output_config") or {}), "format": form}}


def _by_tool(given: Mapping[str, Any], shape: Shape[Any], can: Capabilities | None) -> dict[str, Any]:
    tool: dict[str, Any] = {"name": _TOOL, "description": _ABOUT_THE_TOOL}
    if can is None or can.structured_outputs is None:
        tool |= {"input_schema": shape.strict, "strict": True}
    else:
        tool |= {"input_schema": shape.schema}
    tools, choice = given.get("tools") or [], given.get("tool_choice")
    if not tools and choice is None:
        # A model that has to call a tool does not think; where it was told how to, the API may refuse it.
        thinks = (given.get("thinking") or {}).get("type") not in (None, "disabled")
        is_forced = can is not None and can.forced_tool_choice and not thinks
        choice = {"type": "tool", "name": _TOOL} if is_forced else {"type": "auto"}
        choice["disable_parallel_tool_use"] = True
    return {"tools": [*tools, tool]} | ({"tool_choice": choice} if choice else {})


def _by_words(given: Mapping[str, Any], shape: Shape[Any]) -> dict[str, Any]:
    system = given.get("system") or []
    blocks = [{"type": "text", "text": system}] if isinstance(system, str) else system
    return {"system": [*blocks, {"type": "text", "text": _IN_WORDS + json.dumps(shape.schema)}]}


def _said(response: MessageResponse) -> list[dict[str, Any]]:
    """The message of *response* as it can be sent back: no blank text, nor one of nothing but thinking."""
    content = [block for block in response.content if block.get("type") != "text" or (block.get("text") or "").strip()]
    for place, block in enumerate(content):
        if block.get("type") == "tool_use" and not isinstance(block.get("input"), dict):
            content[place] = {**block, "input": {}}
    is_said = any(block.get("type") not in ("thinking", "redacted_thinking") for block in content)
    return [{"role": "assistant", "content": content}] if is_said else []
