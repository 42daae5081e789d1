"""The tools that configuration declares."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from claudeprov.errors import ConfigurationError
from claudeprov.target import resolve
from claudeprov.tools.schema import Fault, Path
from claudeprov.tools.signature import from_function
from claudeprov.tools.tool import Tool, ToolError, check_together, faulty

if TYPE_CHECKING:
    from claudeprov.settings.tools import ToolSettings, ToolsSettings


def load(settings: ToolsSettings, allow_targets: Sequence[str] = ()) -> tuple[Tool, ...]:
    """Make the tools that *settings* declare.

    Args:
        settings: The group ``tools``.
        allow_targets: Packages or modules beside claudeprov that a ``_target_`` may name.

    Raises:
        ValidationError: Names, schemas, targets or limits are wrong; each fault with its place in the configuration.
    """
    tools: list[Tool] = []
    problems: list[InitErrorDetails] = []
    for name, declared in settings.declared.items():
        try:
            tools.append(_made(name, declared, allow_targets))
        except ConfigurationError as error:
            found = error.context["faults"]
            problems += [_problem((name, *fault.path), fault.what) for fault in found]
    if not problems:
        try:
            check_together(tools)
        except ConfigurationError as error:
            problems.append(_problem((), error.message))
    if problems:
        raise ValidationError.from_exception_data("tools", problems)
    return tuple(tools)


def _made(name: str, declared: ToolSettings, allow_targets: Sequence[str]) -> Tool:
    said: dict[str, Any] = {
        field: getattr(declared, field)
        for field in ("description", "input_schema", "effects", "timeout")
        if getattr(declared, field) is not None
    }
    if declared.target is None:
        if "type" not in declared.options:
            raise faulty(name, [Fault((), "_target_ is missing, and options.type names no tool of the server's")])
        return Tool(name, **said, options=declared.options)
    try:
        function = resolve(declared.target, allow_targets)
    except ValueError as error:
        raise faulty(name, [Fault(("_target_",), str(error))]) from error
    options = declared.options
    if isinstance(function, Tool):
        made = function
        options = {**made.options, **options}
        if not declared.arguments:
            changed: dict[str, Any] = said | ({"parse": None} if "input_schema" in said else {})
            return replace(made, name=name, options=options, **changed)
        said = {"description": made.description, "effects": made.effects, "timeout": made.timeout} | said
        function = made.run
    if not callable(function) or isinstance(function, type):
        raise faulty(name, [Fault(("_target_",), f"{declared.target} is no function")])
    if faults := list(_argument_faults(function, declared.arguments)):
        raise faulty(name, faults)
    if "input_schema" in said:
        return Tool(name, run=function, bound=declared.arguments, options=options, **said)
    return from_function(function, name=name, bound=declared.arguments, options=options, **said)


def _argument_faults(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Iterator[Fault]:
    parameters = inspect.signature(function).parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        for argument in arguments.keys() - parameters.keys():
            yield Fault(("arguments", argument), f"is none of its arguments ({', '.join(parameters)})")
    if "root" in arguments and function.__module__.startswith("claudeprov.tools."):
        from claudeprov.tools.jail import Root

        try:
            Root.of(arguments["root"])
        except (ConfigurationError, ToolError, TypeError) as error:
            yield Fault(("arguments", "root"), str(error))


def _problem(path: Path, what: str) -> InitErrorDetails:
    kind = PydanticCustomError("tool", what)
    return InitErrorDetails(type=kind, loc=("tools", "declared", *path), input=None)
