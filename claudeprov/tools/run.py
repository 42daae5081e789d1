"""Start the loop over anything that answers requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from claudeprov.chain import Call
from claudeprov.clock import SYSTEM_CLOCK, Clock
from claudeprov.errors import ConfigurationError
from claudeprov.notice import Notices
from claudeprov.problem import configuration_error, problems_of
from claudeprov.request import MessageRequest
from claudeprov.settings.tools import ToolsSettings
from claudeprov.tools.caller import Caller
from claudeprov.tools.loop import Loop, Sender
from claudeprov.tools.notes import Notes
from claudeprov.tools.permission import Ask, ByEffect, Permission
from claudeprov.tools.stream import ToolStream
from claudeprov.tools.tool import Tool, check_together


def configured(settings: ToolsSettings | None, **given: float | None) -> ToolsSettings:
    """The settings of a loop: those *given* in place of the configured.

    Raises:
        ConfigurationError: One of them is no such number.
    """
    settings = settings or ToolsSettings()
    chosen = {name: value for name, value in given.items() if value is not None}
    try:
        checked = ToolsSettings.model_validate(chosen)
    except ValidationError as error:
        raise configuration_error(*problems_of(error, chosen, {})) from error
    return settings.model_copy(update={name: getattr(checked, name) for name in chosen})


def run_tools(
    sender: Sender,
    request: MessageRequest | Mapping[str, Any],
    tools: Sequence[Tool | Mapping[str, Any]] = (),
    *,
    settings: ToolsSettings | None = None,
    permission: Permission | None = None,
    ask: Ask | None = None,
    clock: Clock = SYSTEM_CLOCK,
    notices: Notices | None = None,
    with_content: bool = False,
    most_tokens: int | None = None,
    tags: Mapping[str, Any] | None = None,
) -> ToolStream:
    """Let the model use *tools* until it is done; see :meth:`claudeprov.AnthropicClaudeProvider.run_tools`.

    Args:
        sender: Answers each round's request: a provider, or what stands in for one.
        request: The first request; the tools that it has itself are told to the model beside *tools*.
        tools: What the model may use; a mapping is a definition of the API's, passed on as it is.
        settings: How the loop runs; the tools that they declare are not looked at.
        permission: Decides on each call; by ``settings.permissions`` if left out.
        ask: Asks a person whether a call may be made; what would be asked is denied if left out.
        clock: Whose seconds count.
        notices: Where each execution is told.
        with_content: Whether arguments and results are told there.
        most_tokens: The most ``max_tokens`` that the model takes, where known.
        tags: Of every call of the model.

    Raises:
        ConfigurationError: The tools have a name twice, or are more than the API takes.
        InvalidRequestError: A parameter has the wrong type.
    """
    request = MessageRequest.of(request)
    settings = settings or ToolsSettings()
    own = [tool for tool in tools if isinstance(tool, Tool)]
    definitions = [
        *(getattr(request, "tools", None) or ()),
        *(tool.definition() if isinstance(tool, Tool) else dict(tool) for tool in tools),
    ]
    check_together(own)
    names = [definition["name"] for definition in definitions if "name" in definition]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ConfigurationError(f"two tools are called {twice[0]}; each needs a name of its own")
    if definitions:
        request = request.model_copy(update={"tools": definitions})
    call = Call(request, clock)
    notes = Notes(notices, call.id, with_content=with_content, tags=tags)
    caller = Caller(
        {tool.name: tool for tool in own},
        permission=permission or ByEffect(settings.permissions.by_effect),
        ask=ask,
        parallel=settings.parallel,
        timeout=settings.timeout,
        clock=clock,
        notes=notes,
    )
    loop = Loop(
        sender,
        request,
        caller,
        clock=clock,
        notes=notes,
        max_rounds=settings.max_rounds,
        total=settings.total,
        most_tokens=most_tokens,
        tags={**(tags or {}), "tool_run": call.id},
    )
    return ToolStream(loop, call)
