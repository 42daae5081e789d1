"""What a tool is: what the model is told of it, what runs it, and what running it does to the world."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from claudeprov.errors import ConfigurationError
from claudeprov.tools.schema import Fault, faults_in, strict_faults, strict_totals, validator_of

Effect = Literal["read", "write", "execute", "network"]
"""What running a tool does: look at things, change them, run code that is not ours, talk to other machines."""

READS: frozenset[Effect] = frozenset({"read"})
"""What a tool does that declares nothing else."""

Arguments = Mapping[str, Any]
"""What a tool is called with, by name."""

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class ToolError(Exception):
    """Raised by a tool: its message goes to the model, which is to learn from it what to do instead."""


@dataclass(frozen=True)
class Tool:
    """A tool that the model may ask for.

    Args:
        name: 1 to 64 letters, digits, ``_`` and ``-``.
        description: What it does, and when to use it; the better it is told, the better it is used.
        input_schema: JSON Schema of its arguments, an object; ``None`` where the API knows them by ``options["type"]``.
        run: Called with the arguments as keywords; async, or blocking and then called in a thread. Returns text,
            a list of content blocks, or what can be written as JSON. ``None`` for a tool that the server runs.
        effects: What running it does; one that does more than read must say so, one that does nothing may.
        options: The other fields of the API's definition, as they are: ``type``, ``strict``, ``cache_control``,
            ``input_examples``, ``defer_loading``, ``eager_input_streaming``, ``allowed_callers`` ...
        bound: Arguments that ``run`` gets beside the model's, and that the model cannot give.
        timeout: Most seconds that a call of it may take; ``None``: the loop's.
        parse: Turns the model's arguments into those of ``run``, or raises :class:`ToolError`; by default they are held
            against ``input_schema`` and left as they are.

    Raises:
        ConfigurationError: The name or the schema is none that the API takes; each fault is named with its path.
    """

    name: str
    description: str | None = None
    input_schema: Mapping[str, Any] | None = None
    run: Callable[..., Any] | None = None
    effects: frozenset[Effect] = READS
    options: Mapping[str, Any] = field(default_factory=dict)
    bound: Mapping[str, Any] = field(default_factory=dict)
    timeout: float | None = None
    parse: Callable[[Arguments], Arguments] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "effects", frozenset(self.effects))
        if faults := list(self._faults()):
            raise faulty(self.name, faults)
        if self.parse is None:
            parse = validator_of(self.input_schema, ToolError) if self.input_schema is not None else dict
            object.__setattr__(self, "parse", parse)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Call what runs it as if it had never become a tool."""
        if self.run is None:
            raise TypeError(f"the tool {self.name} is run by the server")
        return self.run(*arguments, **keywords)

    @property
    def strict(self) -> bool:
        """Whether the API holds the model to the schema."""
        return self.options.get("strict") is True

    def definition(self) -> dict[str, Any]:
        """What a request tells of it, as the API takes it."""
        known = {"name": self.name, "description": self.description, "input_schema": self.input_schema}
        return {name: value for name, value in known.items() if value is not None} | dict(self.options)

    def _faults(self) -> Iterable[Fault]:
        if not _NAME.fullmatch(self.name):
            yield Fault((), "a tool's name is 1 to 64 letters, digits, _ and -")
        if unknown := [effect for effect in self.effects if effect not in get_args(Effect)]:
            yield Fault(("effects",), f"{unknown[0]!r} is none of {', '.join(get_args(Effect))}")
        if taken := {"name", "description", "input_schema"} & self.options.keys():
            yield Fault(("options", min(taken)), "has a place of its own, beside the options")
        if self.input_schema is None:
            if "type" not in self.options:
                yield Fault((), "input_schema is missing, and options.type names no tool whose arguments the API knows")
        elif found := list(faults_in(self.input_schema, patterns=self.parse is None)):
            yield from (Fault(("input_schema", *path), what) for path, what in found)
        elif self.strict:
            yield from (Fault(("input_schema", *path), what) for path, what in strict_faults(self.input_schema))


def check_together(tools: Iterable[Tool]) -> None:
    """Check what the API asks of all tools of a request: names of their own, and the limits of strict ones.

    Raises:
        ConfigurationError: Something is wrong with them together.
    """
    tools = list(tools)
    names = [tool.name for tool in tools]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ConfigurationError(f"two tools are called {min(twice)}; each needs a name of its own")
    schemas = [tool.input_schema for tool in tools if tool.strict and tool.input_schema is not None]
    if problem := strict_totals(schemas):
        raise ConfigurationError(problem)


def faulty(name: str, faults: Iterable[Fault]) -> ConfigurationError:
    """The error that lists what is wrong with the tool *name*; ``context["faults"]`` holds paths and texts."""
    faults = list(faults)
    lines = [f"the tool {name!r}: {fault}" for fault in faults]
    return ConfigurationError("\n  ".join(lines), context={"faults": faults})
