"""What a model is known to refuse: found, and where it can be adapted, before a request is sent.

Each :class:`Rule` says what is refused and what to send instead. A rule holds back where the catalogue does not know.
Sources: Anthropic's model pages, release notes and migration guide up to November 2026.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any, NamedTuple, get_args

import msgspec

from claudeprov.catalog import EffortLevel, Model
from claudeprov.pricing import list_prices
from claudeprov.request import MessageRequest
from claudeprov.tokens import TokenCount

API_VERSION = "2026-10-21"
"""The version of the API that the SDK asks for."""
_SAMPLING = ("temperature", "top_p", "top_k")
_EFFORTS: tuple[str, ...] = get_args(EffortLevel)
_LEAST_BUDGET = 1024
_STOPS_AT_THE_WINDOW_SINCE = date(2025, 9, 29)
"""From Sonnet 4.5 on a model takes a request whose max_tokens reach beyond the window, and stops there."""
_MOST_AROUND = 20_000
"""Tokens that the API wraps around a request at most, and around each of its tools."""
_INSTEAD = {"enabled": "adaptive", "adaptive": "enabled", "disabled": "between_tools", "between_tools": "disabled"}
"""The kind of thinking that comes nearest to one that a model does not take."""
_GO_ON = "Go on exactly where your last message ends, without repeating any of it."

Estimate = Callable[[MessageRequest, Model], TokenCount]
"""How many input tokens a request is."""
Changes = Mapping[str, Any]
"""Parameters to send instead; ``None`` for one to leave out."""


class ModelDeprecatedWarning(FutureWarning):
    """A model is headed for retirement."""


class RequestAdaptedWarning(UserWarning):
    """A request was changed to what its model takes."""


class Fault(NamedTuple):
    """Something in a request that its model refuses."""

    rule: str
    text: str
    """What it is, and what is allowed."""


def faults(request: MessageRequest, model: Model, estimate: Estimate, *, api_version: str = API_VERSION) -> list[Fault]:
    """Return all that *model* is known to refuse in *request*; nothing for a local model.

    Args:
        request: What is to be sent.
        model: What is known of its model.
        estimate: Who counts its tokens.
        api_version: The version of the API that it is sent under.
    """
    if model.lifecycle.status == "local":
        return []
    ask = _Ask(request, model, estimate, api_version)
    given = request.model_fields_set
    asked = [rule for rule in RULES if not given.isdisjoint(rule.about)]
    return [Fault(rule.name, text) for rule in asked if (text := rule.refused(ask)) is not None]


def adapted(
    request: MessageRequest, model: Model, estimate: Estimate, *, api_version: str = API_VERSION
) -> tuple[MessageRequest, list[Fault]]:
    """Return *request* as *model* takes it, as far as that can be had, and the faults that it has lost.

    The arguments are those of :func:`faults`, which finds the faults that are left.
    """
    lost: list[Fault] = []
    if model.lifecycle.status == "local":
        return request, lost
    for rule in RULES:
        ask = _Ask(request, model, estimate, api_version)
        text = rule.refused(ask)
        if text is None or rule.adapt is None:
            continue
        changes = rule.adapt(ask)
        if changes is not None:
            request = _changed(request, changes)
            lost.append(Fault(rule.name, text))
    return request, lost


def _changed(request: MessageRequest, changes: Changes) -> MessageRequest:
    fields = {name: getattr(request, name) for name in request.model_fields_set} | dict(changes)
    return MessageRequest.model_validate({name: value for name, value in fields.items() if value is not None})


@dataclass(frozen=True)
class _Ask:
    """What is asked of which model."""

    request: MessageRequest
    model: Model
    estimate: Estimate
    api_version: str

    def get(self, name: str) -> Any:
        """A parameter; ``None`` where it is left out."""
        return self._fields.get(name)

    @cached_property
    def _fields(self) -> dict[str, Any]:
        return self.request.__dict__ | (self.request.model_extra or {})

    def part(self, name: str, key: str) -> Any:
        """A key of a parameter that is an object."""
        value = self.get(name)
        return value.get(key) if isinstance(value, Mapping) else None

    @property
    def thinking(self) -> str | None:
        kind: str | None = self.part("thinking", "type")
        return kind

    @property
    def has_budget(self) -> bool:
        """Whether the model thinks, as far as is known, and with a budget."""
        return self.thinking == "enabled" and self.model.capabilities.thinking.kinds is not None

    @property
    def effort(self) -> str | None:
        """The effort that is asked for, or the model's default."""
        return self.part("output_config", "effort") or self.model.capabilities.effort.default

    @property
    def max_tokens(self) -> int:
        return self.request.max_tokens or 0

    @property
    def forced(self) -> bool:
        return self.part("tool_choice", "type") in ("any", "tool")

    @cached_property
    def tools(self) -> list[dict[str, Any]]:
        tools = self.get("tools")
        return [tool for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []

    @cached_property
    def blocks(self) -> list[Mapping[str, Any]]:
        """Every content block of the conversation, those within tool results too."""
        return [block for message in self.request.messages for block in _blocks(message.get("content"))]

    @cached_property
    def tokens(self) -> TokenCount:
        return self.estimate(self.request, self.model)

    def with_effort(self, effort: str | None) -> Changes:
        given = self.get("output_config")
        output = {name: given[name] for name in given if name != "effort"} if isinstance(given, dict) else {}
        return {"output_config": output | ({"effort": effort} if effort else {}) or None}

    def has_beta(self, prefix: str) -> bool:
        return any(beta.startswith(prefix) for beta in self.request.betas)


def _blocks(content: Any) -> Iterator[Mapping[str, Any]]:
    for block in content if isinstance(content, list) else ():
        if isinstance(block, Mapping):
            yield block
            yield from _blocks(block.get("content"))


class Rule(NamedTuple):
    """One thing that models refuse."""

    name: str
    about: tuple[str, ...]
    """Parameters; where none of them is given, nothing is wrong."""
    refused: Callable[[_Ask], str | None]
    """What is wrong and what is allowed; ``None`` where nothing is wrong, or it is not known."""
    adapt: Callable[[_Ask], Changes | None] | None = None
    """What to send instead; ``None`` where nothing will do."""


def _sampling(ask: _Ask) -> str | None:
    given = ", ".join(name for name in _SAMPLING if ask.get(name) is not None)
    takes_them = ask.model.capabilities.sampling_params
    if not given or takes_them is None or (takes_them and ask.api_version < API_VERSION):
        return None
    whose = "the model" if not takes_them else f"API version {ask.api_version}"
    return f"{given}: {whose} takes no sampling parameters; leave them out"


def _max_tokens(ask: _Ask) -> str | None:
    most = ask.model.max_output_tokens
    if most is None or ask.max_tokens <= most or ask.has_beta("output-"):
        return None
    return f"max_tokens={ask.max_tokens}: at most {most}"


def _thinking(ask: _Ask) -> str | None:
    kinds = ask.model.capabilities.thinking.kinds
    if ask.thinking is None or kinds is None or ask.thinking in kinds:
        return None
    return f"thinking.type={ask.thinking}: {_one_of(kinds) or 'the model does not think; leave it out'}"


def _nearest_thinking(ask: _Ask) -> Changes:
    kinds = ask.model.capabilities.thinking.kinds or ()
    kind = _INSTEAD.get(ask.thinking or "")
    if kind not in kinds or (kind == "enabled" and ask.max_tokens <= _LEAST_BUDGET):
        return {"thinking": None}
    if kind == "enabled":
        return {"thinking": {"type": kind, "budget_tokens": max(_LEAST_BUDGET, ask.max_tokens // 2)}}
    display = ask.part("thinking", "display")
    return {"thinking": {"type": kind} | ({"display": display} if display and kind == "adaptive" else {})}


def _budget(ask: _Ask) -> str | None:
    budget = ask.part("thinking", "budget_tokens")
    if not ask.has_budget or not isinstance(budget, int):
        return None
    if budget < _LEAST_BUDGET:
        return f"thinking.budget_tokens={budget}: at least {_LEAST_BUDGET}"
    # With thinking between tool calls the budget is that of the whole turn.
    if budget >= ask.max_tokens and not ask.has_beta("interleaved-thinking"):
        return f"thinking.budget_tokens={budget}: must be less than max_tokens, which is {ask.max_tokens}"
    return None


def _fitting_budget(ask: _Ask) -> Changes:
    if ask.max_tokens <= _LEAST_BUDGET:
        return {"thinking": None}
    return {"thinking": ask.get("thinking") | {"budget_tokens": max(_LEAST_BUDGET, ask.max_tokens // 2)}}


def _forced_while_thinking(ask: _Ask) -> str | None:
    if not (ask.forced and ask.has_budget):
        return None
    return "tool_choice: with thinking.type=enabled only auto and none"


def _without_extended_thinking(ask: _Ask) -> Changes:
    is_adaptive = "adaptive" in (ask.model.capabilities.thinking.kinds or ())
    return {"thinking": {"type": "adaptive"} if is_adaptive else None}


def _effort(ask: _Ask) -> str | None:
    levels, effort = ask.model.capabilities.effort.levels, ask.part("output_config", "effort")
    if effort is None or levels is None or effort in levels:
        return None
    return f"output_config.effort={effort}: {_one_of(levels) or 'the model takes no effort; leave it out'}"


def _nearest_effort(ask: _Ask) -> Changes:
    """The highest level below the one that was asked for, or else the lowest; none where there are none."""
    levels = ask.model.capabilities.effort.levels or ()
    effort = ask.part("output_config", "effort")
    rank = _EFFORTS.index(effort) if effort in _EFFORTS else len(_EFFORTS)
    below = [level for level in levels if _EFFORTS.index(level) < rank]
    return ask.with_effort((below or levels or (None,))[-1 if below else 0])


def _thinking_off(ask: _Ask) -> str | None:
    most = ask.model.capabilities.thinking.off_up_to_effort
    if ask.thinking not in ("disabled", "between_tools") or most is None or ask.effort not in _EFFORTS:
        return None
    if _EFFORTS.index(ask.effort) <= _EFFORTS.index(most):
        return None
    return f"thinking.type={ask.thinking}: only up to effort {most}, not at {ask.effort}"


def _prefill(ask: _Ask) -> str | None:
    last = ask.request.messages[-1] if ask.request.messages else {}
    content = last.get("content")
    # A turn that a server tool has paused is sent back as it is, to every model.
    if last.get("role") != "assistant" or any(block.get("type") == "server_tool_use" for block in _blocks(content)):
        return None
    if ask.model.capabilities.prefill is False:
        return "messages: the last one must be the user's, the model takes no beginning of its answer"
    if ask.has_budget:
        return "messages: the last one must be the user's with thinking.type=enabled"
    return None


def _tool_choice(ask: _Ask) -> str | None:
    if not ask.forced or ask.model.capabilities.forced_tool_choice is not False:
        return None
    return f"tool_choice.type={ask.part('tool_choice', 'type')}: only auto and none"


def _free_tool_choice(ask: _Ask) -> Changes:
    kept = ("disable_parallel_tool_use",)
    return {
        "tool_choice": {"type": "auto"}
        | {name: ask.get("tool_choice")[name] for name in kept if ask.part("tool_choice", name) is not None}
    }


def _output_format(ask: _Ask) -> str | None:
    if ask.model.capabilities.structured_outputs is not False or ask.part("output_config", "format") is None:
        return None
    return "output_config.format: the model has no structured outputs; ask for the shape in words, or by a tool"


def _strict_tools(ask: _Ask) -> str | None:
    if ask.model.capabilities.structured_outputs is not False or not any(tool.get("strict") for tool in ask.tools):
        return None
    return "tools: the model takes no strict ones"


def _lenient_tools(ask: _Ask) -> Changes:
    return {"tools": [{name: value for name, value in tool.items() if name != "strict"} for tool in ask.tools]}


def _system_messages(ask: _Ask) -> str | None:
    if ask.model.capabilities.mid_conversation_system is not False or not any(map(_is_system, ask.request.messages)):
        return None
    return "messages: no role system; instructions stand in the parameter system"


def _as_user_messages(ask: _Ask) -> Changes:
    return {"messages": [m | {"role": "user"} if _is_system(m) else m for m in ask.request.messages]}


def _is_system(message: Mapping[str, Any]) -> bool:
    return message.get("role") == "system"


def _geo(ask: _Ask) -> str | None:
    if ask.get("inference_geo") is None or ask.model.capabilities.inference_geo is not False:
        return None
    return "inference_geo: the model does not take it; leave it out"


def _speed(ask: _Ask) -> str | None:
    prices = list_prices(ask.model.id)
    if ask.get("speed") != "fast" or prices.input is None:
        return None
    if prices.fast is None:
        return "speed=fast: the model has no fast mode; leave it out"
    beta = prices.fast.beta_header
    return f"speed=fast: needs the beta {beta}" if beta and beta not in ask.request.betas else None


def _with_fast_beta(ask: _Ask) -> Changes:
    fast = list_prices(ask.model.id).fast
    return {"betas": [*ask.request.betas, fast.beta_header]} if fast else {"speed": None}


def _images(ask: _Ask) -> str | None:
    if ask.model.capabilities.images != "none" or not any(block.get("type") == "image" for block in ask.blocks):
        return None
    return "messages: the model takes no images"


def _pdf(ask: _Ask) -> str | None:
    if ask.model.capabilities.pdf is not False or not any(map(_is_pdf, ask.blocks)):
        return None
    return "messages: the model takes no PDF"


def _is_pdf(block: Mapping[str, Any]) -> bool:
    source = block.get("source")
    return isinstance(source, Mapping) and (
        source.get("media_type") == "application/pdf"
        or (block.get("type") == "document" and source.get("type") == "url")
    )


def _context(ask: _Ask) -> str | None:
    window = ask.model.context_window
    if window is None or _is_small(ask, window):
        return None
    tokens = ask.tokens
    if tokens.low > window:
        return f"messages: at least {tokens.low} tokens, the context window is {window}"
    released = ask.model.lifecycle.released
    if released and released < _STOPS_AT_THE_WINDOW_SINCE and tokens.low + ask.max_tokens > window:
        most = max(0, window - tokens.low)
        return f"max_tokens={ask.max_tokens}: at most {most} beside the input in the context window of {window}"
    return None


def _is_small(ask: _Ask, window: int) -> bool:
    """Whether nobody needs to count: a byte of JSON is two tokens of text at most. Media, by their source, are more."""
    try:
        body = msgspec.json.encode(ask.request.body())
    except (TypeError, ValueError, RecursionError):  # the endpoint will say so
        return False
    around = _MOST_AROUND * (len(ask.tools) + len(ask.get("mcp_servers") or ()) + 1)
    return 2 * len(body) + ask.max_tokens + around < window and b'"source"' not in body


def _fitting_max_tokens(ask: _Ask) -> Changes | None:
    left = (ask.model.context_window or 0) - ask.tokens.high
    return {"max_tokens": left} if left > 0 else None


def _one_of(allowed: tuple[str, ...]) -> str:
    return f"only {', '.join(allowed)}" if allowed else ""


RULES = (
    Rule("sampling", _SAMPLING, _sampling, lambda ask: dict.fromkeys(_SAMPLING)),
    Rule("max_tokens", ("max_tokens",), _max_tokens, lambda ask: {"max_tokens": ask.model.max_output_tokens}),
    Rule("context", ("messages",), _context, _fitting_max_tokens),
    Rule("thinking", ("thinking",), _thinking, _nearest_thinking),
    Rule("budget_tokens", ("thinking",), _budget, _fitting_budget),
    Rule("tool_choice_while_thinking", ("tool_choice",), _forced_while_thinking, _without_extended_thinking),
    Rule("effort", ("output_config",), _effort, _nearest_effort),
    Rule(
        "thinking_off",
        ("thinking",),
        _thinking_off,
        lambda ask: ask.with_effort(ask.model.capabilities.thinking.off_up_to_effort),
    ),
    Rule(
        "prefill",
        ("messages",),
        _prefill,
        lambda ask: {"messages": [*ask.request.messages, {"role": "user", "content": _GO_ON}]},
    ),
    Rule("tool_choice", ("tool_choice",), _tool_choice, _free_tool_choice),
    Rule("output_format", ("output_config",), _output_format),
    Rule("strict_tools", ("tools",), _strict_tools, _lenient_tools),
    Rule("system_messages", ("messages",), _system_messages, _as_user_messages),
    Rule("inference_geo", ("inference_geo",), _geo, lambda ask: {"inference_geo": None}),
    Rule("speed", ("speed",), _speed, _with_fast_beta),
    Rule("images", ("messages",), _images),
    Rule("pdf", ("messages",), _pdf),
)
"""In the order in which they are adapted: what limits another comes first."""
