"""How many tokens a request or a text is, without asking anybody.

    estimate = tokens of its texts + images and documents + what the API wraps around each part

Texts are counted by :mod:`claudeprov.tokenizer`, media sized by :mod:`claudeprov.media`. The wrapping is a few tokens a
message, a tool, a call of a tool; the numbers below were fitted to one half of some thousand recorded calls by
``tools/fit_tokens``, which reports the error on the other half. docs/cost.md has its figures.
"""

from __future__ import annotations

import json
import math
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from claudeprov.catalog import Model
from claudeprov.media import Size, document_size, image_size
from claudeprov.request import MessageRequest
from claudeprov.response import Usage
from claudeprov.tokenizer import Generation, tokenizer

Source = Literal["endpoint", "estimate", "learned"]
"""Who counted: the endpoint, the rules of this module, or they with what a model's answers have taught."""

WRAPPING: Mapping[Generation, Mapping[str, int]] = {
    "claude-3": {
        "request": 7, "message": 3, "thinking": 29, "adaptive": 17, "tool": 6, "named": 6, "use": 49, "argument": 12,
        "schema": 95, "document": 40, "citations": 512, "image": 3,
    },
    "claude-4.7": {
        "request": 4, "message": 3, "thinking": 0, "adaptive": 1, "tool": 9, "named": 0, "use": 24, "argument": 20,
        "schema": 109, "document": 39, "citations": 757, "image": 5,
    },
}  # fmt: skip
"""Tokens around each part: the request itself, a change of role; ``thinking: enabled`` and ``adaptive``; a tool, the
name of a forced tool, a call of a tool with its result, an argument of it; the schema of a structured output, a
document, citations being on, an image."""
_OF_ONE_MODEL = {"claude-opus-4-7": 5}
"""What a request to a model has around it beside its generation's."""
_TOOL_PROMPT = 350
"""What the API's own prompt about tools takes where the catalogue does not know."""
_SCHEMA = 1.45
"""Tokens that a token of a schema of structured outputs becomes."""

_WINDOW = 1_000_000
_UNKNOWN_DOCUMENT = Size(2_100, 100, _WINDOW)
_SERVER_TOOL, _MCP_SERVER, _SERVER_RESULT = Size(1_000, 0, 6_000), Size(600, 0, 20_000), Size(2_000, 0, 20_000)
"""A tool of Anthropic's own, the tools of a remote server, and what one of them gave, as far as recordings show."""

_SPREAD, _SPREAD_OTHER = 0.01, 0.05
"""How far off the count of a text may be: of ASCII only, and of any other."""
_UNCERTAIN = {"use": 20, "schema": 30, "document": 15, "citations": 60, "tool": 4, "named": 15}
_UNCERTAIN_PROMPT = 50
"""Tokens by which a part's wrapping, and the API's prompt about tools, were found to be off."""

_LESSONS, _FEWEST_LESSONS, _MOST_MODELS = 32, 8, 256


@dataclass(frozen=True, slots=True)
class TokenCount:
    """How many input tokens a request is."""

    input_tokens: int
    source: Source
    low: int
    """No fewer, as far as was measured; equal to ``input_tokens`` where the endpoint counted."""
    high: int
    """No more, as far as was measured; over the model's context window only where ``input_tokens`` are, too."""


class Estimator:
    """Counts tokens offline, and learns from what answers say they used.

    Of a model whose tokenizer is known it learns how much more or less its requests have around their parts: the median
    of the last 32 differences, apart for requests with tools. Of any other, how many tokens it makes of a text: the
    median of the last 32 ratios. They are used from the eighth on, and their spread is in the band then.
    """

    def __init__(self) -> None:
        self._lessons: dict[tuple[str, bool], deque[float]] = {}
        self.asked = False
        """Whether an estimate was ever asked for, so that it is worth learning."""

    def estimate(self, request: MessageRequest, model: Model | None) -> TokenCount:
        """Estimate the input tokens of *request* to *model*; ``None`` is one that the catalogue lacks.

        Takes 0.2 ms for 1,000 characters that it has not seen, microseconds for those it has, and 30 ms more when a
        generation of models is first asked for, to read its vocabulary.
        """
        self.asked = True
        tally = Tally(request.body(), model)
        tokens, low, high = float(tally.tokens), tally.low, tally.high
        lessons = self._lessons.get(_subject(request, model), ())
        source: Source = "estimate" if len(lessons) < _FEWEST_LESSONS else "learned"
        if source == "learned":
            usual, lowest, highest = median(lessons), min(lessons), max(lessons)
            if _generation(model) is None:
                tokens, low, high = tokens * usual, tokens * lowest * 0.8, tokens * highest * 1.25
            else:
                # What is learned is what the prompt about tools takes; the rest of the band stays.
                low, high = low + tally.prompt_band + lowest, high - tally.prompt_band + highest
                tokens += usual
        window = (model and model.context_window) or _WINDOW
        count, least, most = (max(0, round(number)) for number in (tokens, low, high))
        return TokenCount(count, source, least, max(count, min(most, window)))

    def text(self, text: str, model: Model | None) -> TokenCount:
        """Estimate the tokens of *text* alone, as the model writes it or reads it."""
        tally = Tally({}, model)
        tally.read(text)
        band = math.ceil(tally.slack) + 1 if text else 0
        return TokenCount(tally.text, "estimate", max(0, tally.text - band), tally.text + band)

    def learn(self, request: MessageRequest, model: Model | None, usage: Usage) -> None:
        """Take what *request* to *model* used as a lesson.

        Requests with images, documents or tools that the service runs teach nothing: what they are is uncertain.
        """
        counted = usage.input_tokens
        if counted is None:
            return
        tally = Tally(request.body(), model)
        if tally.below or tally.above or not tally.tokens:
            return
        used = counted + (usage.cache_creation_input_tokens or 0) + (usage.cache_read_input_tokens or 0)
        subject = _subject(request, model)
        if subject not in self._lessons and len(self._lessons) >= _MOST_MODELS:
            del self._lessons[next(iter(self._lessons))]
        lesson = used / tally.tokens if _generation(model) is None else used - tally.tokens
        self._lessons.setdefault(subject, deque(maxlen=_LESSONS)).append(lesson)


class Tally:
    """What a request is made of, and the tokens that it comes to.

    Args:
        body: The request as it is sent; what is not of the API's shape counts nothing.
        model: The model that it goes to, which decides the tokenizer; of an unknown one the newest is taken.
    """

    def __init__(self, body: Mapping[str, Any], model: Model | None) -> None:
        self.generation: Generation = _generation(model) or "claude-4.7"
        self.text = 0
        """Tokens of the texts."""
        self.slack = 0.0
        """How far off they may be, either way."""
        self.parts: Counter[str] = Counter()
        """Parts, by the names of ``WRAPPING``."""
        self.fixed = 0
        """Tokens of what has a known size: images, and the API's prompt about tools."""
        self.below = self.above = 0
        """How much less or more the parts can be whose size is uncertain."""
        self._model = model
        self._spread = 0.5 if _generation(model) is None else None
        self._tokenizer = tokenizer(self.generation)
        self._request(body)

    @property
    def tokens(self) -> int:
        """The estimate."""
        wrapping = WRAPPING[self.generation]
        return self.text + self.fixed + sum(wrapping[part] * number for part, number in self.parts.items())

    @property
    def low(self) -> float:
        """No fewer, as far as was measured."""
        return self.tokens - self._band() - self.below

    @property
    def high(self) -> float:
        """No more, as far as was measured."""
        return self.tokens + self._band() + self.above

    def read(self, text: Any) -> None:
        """Count a text."""
        if isinstance(text, str) and text:
            tokens = self._tokenizer.count(text)
            self.text += tokens
            self.slack += tokens * (self._spread or (_SPREAD if text.isascii() else _SPREAD_OTHER))

    @property
    def prompt_band(self) -> int:
        """How far off the API's prompt about tools may be."""
        return _UNCERTAIN_PROMPT if self.parts["tool"] else 0

    def _band(self) -> float:
        uncertain = sum(_UNCERTAIN.get(part, 0) * number for part, number in self.parts.items())
        return self.slack + 3 + uncertain + self.prompt_band

    def _request(self, body: Mapping[str, Any]) -> None:
        self.parts["request"] = 1
        self.fixed += _OF_ONE_MODEL.get(self._model.id, 0) if self._model else 0
        self._messages(body.get("messages"))
        self._content(body.get("system"))
        self._tools(body.get("tools"), body.get("tool_choice"))
        for _ in _mappings(body.get("mcp_servers")):
            self._add(_MCP_SERVER)
        match _mapping(body.get("thinking")).get("type"):
            case "enabled":
                self.parts["thinking"] = 1
            case "adaptive":
                self.parts["adaptive"] = 1
        output = _mapping(body.get("output_config")).get("format") or body.get("output_format")
        schema = _mapping(output).get("schema")
        if schema:
            self.parts["schema"] += 1
            tokens = self._tokenizer.count(_json(schema))
            self.text += round(tokens * _SCHEMA)
            self.slack += tokens * 0.2

    def _messages(self, messages: Any) -> None:
        speaker = None
        for message in _mappings(messages):
            content = message.get("content")
            if speaker not in (None, message.get("role")) and not _answers_tools(content):
                self.parts["message"] += 1
            speaker = message.get("role")
            self._content(content)

    def _content(self, content: Any) -> None:
        self.read(content)
        for block in _mappings(content):
            self._block(block)

    def _block(self, block: Mapping[str, Any]) -> None:
        match block.get("type"):
            case "text":
                self.read(block.get("text"))
            case "tool_use":
                self.parts["use"] += 1
                self.read(block.get("name"))
                for name, value in _mapping(block.get("input")).items():
                    self.parts["argument"] += 1
                    self.read(name)
                    self.read(value if isinstance(value, str) else _json(value))
            case "tool_result":
                self._content(block.get("content"))
            case "image":
                self.parts["image"] += 1
                high = self._model is not None and self._model.capabilities.images == "high_resolution"
                self._add(image_size(_mapping(block.get("source")), high_resolution=high))
            case "document" | "search_result" as kind:
                self._document(block, kind)
            case "compaction":  # what stands before it is dropped
                self.parts, self.text, self.slack = Counter(request=1), 0, 0.0
                self.read(block.get("content"))
            case str(kind) if kind.endswith("_tool_result"):
                self._add(_SERVER_RESULT)
            case str():
                self._other(block)

    def _document(self, block: Mapping[str, Any], kind: str) -> None:
        self.parts["document"] += 1
        if _mapping(block.get("citations")).get("enabled"):
            self.parts["citations"] = 1
        self.read(block.get("title"))
        self.read(block.get("context"))
        if kind == "search_result":
            self.read(block.get("source"))
            self._content(block.get("content"))
            return
        source = _mapping(block.get("source"))
        match source.get("type"):
            case "text":
                self.read(source.get("data"))
            case "content":
                self._content(source.get("content"))
            case _:
                self._add(document_size(source) or _UNKNOWN_DOCUMENT)

    def _other(self, block: Mapping[str, Any]) -> None:
        """Thinking, which most older models drop from the past, and calls of the service's tools."""
        size = len(_json(block))
        self._add(Size(0 if self.generation == "claude-3" else size // 6, 0, size // 2))

    def _tools(self, tools: Any, choice: Any) -> None:
        for tool in _mappings(tools):
            if tool.get("defer_loading"):
                self._add(Size(0, 0, len(_json(tool)) // 2))  # in the prompt only once it is found
            elif tool.get("type", "custom") == "custom":
                self.parts["tool"] += 1
                shown = {"name": tool.get("name"), "description": tool.get("description")}
                self.read(_json({**shown, "parameters": tool.get("input_schema")}))
            else:
                self._add(_SERVER_TOOL)
        if not tools:
            return
        kind = _mapping(choice).get("type")
        self.parts["named"] += kind == "tool"
        prompt = None
        if self._model is not None:
            prompts = self._model.tool_system_prompt_tokens
            prompt = prompts.forced if kind in ("any", "tool") else prompts.auto
        self.fixed += _TOOL_PROMPT if prompt is None else prompt

    def _add(self, size: Size) -> None:
        self.fixed += size.tokens
        self.below += size.tokens - size.low
        self.above += size.high - size.tokens


def _generation(model: Model | None) -> Generation | None:
    return model.tokenizer if model else None


def _answers_tools(content: Any) -> bool:
    return any(block.get("type") == "tool_result" for block in _mappings(content))


def _subject(request: MessageRequest, model: Model | None) -> tuple[str, bool]:
    return (model.id if model else request.model or "", bool((request.model_extra or {}).get("tools")))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list | tuple) else []


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
