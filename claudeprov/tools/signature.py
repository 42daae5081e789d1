"""A typed function becomes a tool: its schema comes from its signature and its docstring, through pydantic."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, get_type_hints, overload

from pydantic import BaseModel, ConfigDict, PydanticUserError, ValidationError, create_model
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaWarningKind
from pydantic_core import SchemaError

from claudeprov.tools.schema import Fault, explained, nodes
from claudeprov.tools.tool import READS, Arguments, Effect, Tool, ToolError, faulty

_SAID = {"extra_forbidden": "there is no such argument", "missing": "is missing"}
"""What the model is told in place of pydantic's words."""


@overload
def tool(function: Callable[..., Any], /) -> Tool: ...
@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    effects: Collection[Effect] = READS,
    timeout: float | None = None,
    **options: Any,
) -> Callable[[Callable[..., Any]], Tool]: ...
def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    effects: Collection[Effect] = READS,
    timeout: float | None = None,
    **options: Any,
) -> Tool | Callable[[Callable[..., Any]], Tool]:
    """Make a tool of a function whose parameters have types::

        @claudeprov.tool(effects=["network"])
        async def weather(city: str, unit: Literal["C", "F"] = "C") -> str:
            \"\"\"Tell the weather of a city, now.

            Args:
                city: Name of the city, in English.
            \"\"\"

    What pydantic takes is a type: enums, lists, models ... The function gets the values that pydantic makes of the
    model's arguments. The description is the docstring's text, that of a parameter its entry among the arguments.

    Args:
        function: Async, or blocking, and then called in a thread. It can still be called by itself. The arguments that
            a ``functools.partial`` holds are not the model's to give.
        name: The function's own if left out.
        description: The docstring's if left out.
        effects: What running it does; one that does more than read must say so.
        timeout: Most seconds that a call may take; the loop's if left out.
        options: The other fields of the API's definition: ``strict=True``, ``cache_control={...}`` ...

    Raises:
        ConfigurationError: A parameter has no type, or a type or a default that JSON cannot hold; a name or a limit is
            broken; it is no function.
    """

    def make(function: Callable[..., Any]) -> Tool:
        return from_function(
            function, name=name, description=description, effects=effects, timeout=timeout, options=options
        )

    return make if function is None else make(function)


def from_function(
    function: Callable[..., Any],
    *,
    name: str | None = None,
    description: str | None = None,
    effects: Collection[Effect] = READS,
    timeout: float | None = None,
    options: Mapping[str, Any] | None = None,
    bound: Mapping[str, Any] | None = None,
) -> Tool:
    """Make a tool of *function*, as :func:`tool` does; the arguments *bound* are not the model's to give."""
    import docstring_parser

    whole = _whole(function)
    name = name or str(getattr(whole, "__name__", type(whole).__name__))
    if isinstance(whole, type):
        raise faulty(name, [Fault((), "is a class; give a function, or an object of it that can be called")])
    if not callable(whole):
        raise faulty(name, [Fault((), "cannot be called; give a function")])
    told = docstring_parser.parse(inspect.getdoc(_called(function)) or "")
    names = _parameters(function, name, bound or {})
    model = _arguments_model(function, name, names)
    try:
        schema = model.model_json_schema(schema_generator=_Untitled)
    except PydanticUserError as error:
        raise faulty(name, [Fault((), f"its arguments have no JSON Schema: {error.message}")]) from error
    schema.pop("title", None)
    for parameter in told.params:
        if (node := schema["properties"].get(parameter.arg_name)) is not None and parameter.description:
            node.setdefault("description", parameter.description)
    if options and options.get("strict"):
        _close(schema)

    def parse(arguments: Arguments) -> Arguments:
        try:
            values = model.model_validate(arguments)
        except ValidationError as error:
            problems = ((each["loc"], _SAID.get(each["type"], each["msg"])) for each in error.errors())
            raise ToolError(explained(problems)) from error
        return {parameter: getattr(values, field) for field, parameter in names.items()}

    return Tool(
        name=name,
        description=description or (told.description or "").strip() or None,
        input_schema=schema,
        run=function,
        effects=frozenset(effects),
        options=options or {},
        bound=bound or {},
        timeout=timeout,
        parse=parse,
    )


class _Untitled(GenerateJsonSchema):
    """Leaves out the titles that pydantic makes of names: they tell the model nothing, and cost tokens.

    A default that JSON cannot hold, which pydantic would leave out, is refused: the model could not know of it.
    """

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def emit_warning(self, kind: JsonSchemaWarningKind, detail: str) -> None:
        if kind == "non-serializable-default":
            raise PydanticInvalidForJsonSchema(detail)
        super().emit_warning(kind, detail)


def _parameters(function: Callable[..., Any], name: str, bound: Collection[str]) -> dict[str, str]:
    """The parameters that the model gives, by the names of their fields.

    The fields have names of their own, since a parameter may be called like a method of a model, or ``_x``.
    """
    given = {*bound, *function.keywords} if isinstance(function, functools.partial) else bound
    parameters = [each for each in inspect.signature(function).parameters.values() if each.name not in given]
    faults = [
        Fault((), f"its parameter {parameter.name} cannot be given by name")
        for parameter in parameters
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    ]
    if faults:
        raise faulty(name, faults)
    return {f"field_{index}": parameter.name for index, parameter in enumerate(parameters)}


def _arguments_model(function: Callable[..., Any], name: str, names: Mapping[str, str]) -> type[BaseModel]:
    parameters = inspect.signature(function).parameters
    try:
        hints = get_type_hints(_called(function), include_extras=True)
        if untyped := [parameter for parameter in names.values() if parameter not in hints]:
            raise faulty(name, [Fault((), f"its parameter {parameter} has no type") for parameter in untyped])
        fields: dict[str, Any] = {
            field: (hints[parameter], ... if default is inspect.Parameter.empty else default)
            for field, parameter in names.items()
            for default in [parameters[parameter].default]
        }
        config = ConfigDict(extra="forbid", alias_generator=names.__getitem__, validate_default=True)
        model: type[BaseModel] = create_model(name, __config__=config, **fields)
    except SchemaError as error:  # of a pattern, and the reason comes last
        raise faulty(name, [Fault((), f"its types cannot be read: {str(error).splitlines()[-1]}")]) from error
    except (NameError, TypeError, PydanticUserError) as error:
        raise faulty(name, [Fault((), f"its types cannot be read: {str(error).splitlines()[0]}")]) from error
    if wrong := list(_wrong_defaults(model, names)):
        raise faulty(name, wrong)
    return model


def _wrong_defaults(model: type[BaseModel], names: Mapping[str, str]) -> Iterator[Fault]:
    try:
        model.model_validate({})
    except ValidationError as error:
        for each in error.errors():
            if each["type"] != "missing":
                parameter = names[str(each["loc"][0])]
                yield Fault((), f"the default of its parameter {parameter} does not fit its type: {each['msg']}")


def _called(function: Callable[..., Any]) -> Callable[..., Any]:
    """What holds its types and its docstring: itself, or its class's ``__call__``."""
    function = _whole(function)
    return function if inspect.isroutine(function) else type(function).__call__


def _whole(function: Any) -> Any:
    """The function of which it is a part."""
    return function.func if isinstance(function, functools.partial) else function


def _close(schema: dict[str, Any]) -> None:
    """Allow no further properties in any object, as strict tools must."""
    for _, node in nodes(schema):
        if "properties" in node and isinstance(node, dict):
            node.setdefault("additionalProperties", False)
