"""What an endpoint tells of its models (``GET /v1/models``), merged into the catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from claudeprov.catalog import Capabilities, Catalog, EffortLevel, Lifecycle, Line, Model, ThinkingKind, unknown_model
from claudeprov.errors import InvalidResponseError

_THINKING: tuple[ThinkingKind, ...] = get_args(ThinkingKind)
_EFFORTS: tuple[EffortLevel, ...] = get_args(EffortLevel)
_Tokens = Annotated[int | None, AfterValidator(lambda tokens: tokens if tokens and tokens > 0 else None)]
"""A size; one that no model can have is taken as untold."""


def merged(catalog: Catalog, listed: Iterable[Mapping[str, Any]]) -> Catalog:
    """Return *catalog* with what an endpoint tells in place of what was known, and with its new models.

    Of a new model nothing is known but what is told, and no price.

    Args:
        catalog: What was known.
        listed: The endpoint's models, as JSON.

    Raises:
        InvalidResponseError: One of them is none of the API's shape.
    """
    models: list[Model] = []
    told: dict[str, tuple[str, ...]] = {}
    for item in listed:
        entry = _entry(item)
        known = catalog.get(entry.id)
        before = known or unknown_model(entry.id)
        model = entry.applied_to(before)
        models.append(model)
        names = [name for name in Model.model_fields if getattr(model, name) != getattr(before, name)]
        if known is None:
            names.insert(0, "id")
        if names:
            told[model.id] = tuple(names)
    return catalog.including(*models, told=told)


def _entry(item: Mapping[str, Any]) -> _Entry:
    try:
        return _Entry.model_validate(item)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, problem["loc"]))
        raise InvalidResponseError(f"the models endpoint's answer has a wrong {where}: {problem['msg']}") from error


class _Entry(BaseModel):
    """One model of ``GET /v1/models``, as far as it is used here. A server that only resembles the API's may tell
    less, down to the id."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: Annotated[str, Field(min_length=1)]
    display_name: str | None = None
    created_at: datetime | None = None
    line: str | None = None
    lifecycle: str | None = None
    deprecated_at: datetime | None = None
    retires_at: datetime | None = None
    max_input_tokens: _Tokens = None
    max_tokens: _Tokens = None
    capabilities: dict[str, Any] | None = None

    def applied_to(self, model: Model) -> Model:
        """Return *model* with all that is told here in place of what was known."""
        changes = {
            "display_name": self.display_name,
            "line": self.line if self.line in get_args(Line) else None,
            "lifecycle": self._lifecycle(model.lifecycle),
            "context_window": self.max_input_tokens,
            "max_output_tokens": self.max_tokens,
            "capabilities": _capabilities(self.capabilities or {}, model.capabilities),
        }
        return model.model_copy(update={name: value for name, value in changes.items() if value})

    def _lifecycle(self, known: Lifecycle) -> Lifecycle:
        released = self.created_at.date() if self.created_at and self.created_at.year > 1970 else None
        told: dict[str, Any] = {"released": known.released or released}
        if self.lifecycle in ("active", "deprecated", "retired"):
            told |= {
                "status": self.lifecycle,
                "deprecated": self.deprecated_at and self.deprecated_at.date(),
                "retires": self.retires_at and self.retires_at.date(),
            }
        return known.model_copy(update=told)


def _capabilities(told: Mapping[str, Any], known: Capabilities) -> Capabilities:
    """Return what is *known* with what an endpoint has *told*: objects with ``supported``, by the API's names."""

    def supported(*path: str) -> bool | None:
        value: Any = told
        for name in (*path, "supported"):
            value = value.get(name) if isinstance(value, Mapping) else None
        return value if isinstance(value, bool) else None

    def names_of(all_names: tuple[str, ...], *path: str) -> tuple[str, ...] | None:
        """The supported ones; ``None`` where nothing is told of any."""
        told_of = {name: supported(*path, name) for name in all_names}
        if supported(path[0]) is False:
            return ()
        return None if set(told_of.values()) == {None} else tuple(name for name in all_names if told_of[name])

    thinking, effort = known.thinking, known.effort
    if (kinds := names_of(_THINKING, "thinking", "types")) is not None:
        thinking = thinking.model_copy(update={"kinds": kinds})
    if (levels := names_of(_EFFORTS, "effort")) is not None:
        default = effort.default if effort.default in levels else None
        effort = effort.model_copy(update={"levels": levels, "default": default})
    takes_images = supported("image_input")
    changes = {
        "thinking": thinking,
        "effort": effort,
        "images": "none" if takes_images is False else "standard" if takes_images and known.images == "none" else None,
        "pdf": supported("pdf_input"),
        "citations": supported("citations"),
        "structured_outputs": supported("structured_outputs"),
        "web_search": supported("server_tools", "web_search"),
        "code_execution": supported("server_tools", "code_execution"),
        "compaction": supported("context_management", "compact_20260112"),
        "batch": supported("batch"),
    }
    return known.model_copy(update={name: value for name, value in changes.items() if value is not None})
