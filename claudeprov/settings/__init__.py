"""What a composed configuration is: one frozen object with an attribute for each group, ``None`` where it is off.

No secret has a place here: credentials come from the environment or the SDK's own chain.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, Field, ValidationInfo, field_validator, model_validator
from pydantic.fields import FieldInfo

from claudeprov.catalog import Model
from claudeprov.cost import Prices
from claudeprov.paths import file_name
from claudeprov.settings.breaker import BreakerSettings
from claudeprov.settings.cassette import CassetteSettings
from claudeprov.settings.deadline import DeadlineSettings
from claudeprov.settings.endpoint import EndpointSettings
from claudeprov.settings.kind import Count, Group, Name
from claudeprov.settings.request import PreflightSettings, SamplingSettings, ThinkingSettings
from claudeprov.settings.retry import RetrySettings
from claudeprov.settings.state import StateSettings
from claudeprov.settings.suite import LauncherSettings, SuiteSettings
from claudeprov.settings.telemetry import TelemetrySettings

PREFIX = "CLAUDEPROV_"
"""What the names of the settings' environment variables begin with."""
CONFIG_DIR = "CLAUDEPROV_CONFIG_DIR"
"""Environment variable that names the user's config directory; no setting."""

Layer = Literal["telemetry", "ledger", "deadline", "fallback", "budget", "resume", "breaker", "retry", "ratelimit"]
"""Groups that ``chain`` can name, in their default order, outermost first."""

GROUPS = (
    "endpoint",
    "model",
    "pricing",
    "sampling",
    "thinking",
    "retry",
    "breaker",
    "ratelimit",
    "budget",
    "deadline",
    "fallback",
    "resume",
    "preflight",
    "caching",
    "tools",
    "telemetry",
    "alerts",
    "ledger",
    "state",
    "cassette",
    "suite",
    "launcher",
)
"""Every group: a folder of ``conf`` and an attribute of :class:`Settings`."""


class Settings(Group):
    """A composed and validated configuration. ``None`` stands for a group that is off."""

    endpoint: EndpointSettings
    model: Model
    """What is known of the model that requests go to."""
    pricing: Prices | None = None
    """Prices in USD per million tokens; the model brings its own."""
    sampling: SamplingSettings | None = None
    thinking: ThinkingSettings | None = None
    retry: RetrySettings | None = None
    breaker: BreakerSettings | None = None
    ratelimit: None = None
    """Off: no limit of the client's own."""
    budget: None = None
    """Off: no limit on what calls cost."""
    deadline: DeadlineSettings | None = None
    fallback: None = None
    """Off: no other model stands in."""
    resume: None = None
    """Off: a broken stream is an error."""
    preflight: PreflightSettings | None = None
    caching: None = None
    """Off: requests get no ``cache_control``."""
    tools: None = None
    """Off: no tools beside a request's own."""
    telemetry: TelemetrySettings | None = None
    alerts: None = None
    """Off: nobody is alerted."""
    ledger: None = None
    """Off: no row is kept of a call."""
    state: StateSettings
    cassette: CassetteSettings
    suite: SuiteSettings
    launcher: LauncherSettings

    allow_targets: tuple[Name, ...] = ()
    """Packages or modules beside claudeprov that a ``_target_`` may name."""
    chain: tuple[Layer | dict[str, Any], ...] = get_args(Layer)
    """Layers, outermost first: names of groups, or mappings with a ``_target_`` and its keyword arguments."""
    max_tokens: Annotated[Count, Field(validate_default=True)] = 4096
    """Most tokens of output of a request that does not say itself."""
    concurrency: Count = 4
    """Calls at a time in a run."""
    runs_dir: Name = "runs"
    """Folder in which a run makes one of its own."""
    run_name: Name | None = None
    """Name of a run's folder in ``runs_dir``; ``null``: made from the time, the suite and the model."""

    @model_validator(mode="before")
    @classmethod
    def _off_is_none(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {key: None if key in GROUPS and value == {} else value for key, value in values.items()}

    @field_validator("chain")
    @classmethod
    def _layers_once_and_trusted(cls, chain: tuple[Any, ...], info: ValidationInfo) -> Any:
        twice = [layer for layer in chain if isinstance(layer, str) and chain.count(layer) > 1]
        if twice:
            raise ValueError(f"the layer {twice[0]!r} is there twice")
        if any(isinstance(layer, dict) and "_target_" not in layer for layer in chain):
            raise ValueError("a layer is the name of a group, or a mapping with a _target_")
        trusted = ("claudeprov", *info.data.get("allow_targets", ()))
        for target in _targets(chain):
            if not any(str(target).startswith(f"{package}.") for package in trusted):
                raise ValueError(f"the _target_ {target!r} is outside claudeprov; allow_targets must name its package")
        return chain

    @field_validator("max_tokens")
    @classmethod
    def _more_than_thinking_takes(cls, max_tokens: int, info: ValidationInfo) -> int:
        thinking = info.data.get("thinking")
        if thinking and thinking.budget_tokens and thinking.budget_tokens >= max_tokens:
            raise ValueError(f"must be more than thinking.budget_tokens, which is {thinking.budget_tokens}")
        return max_tokens

    @field_validator("run_name")
    @classmethod
    def _one_folder(cls, name: str | None) -> str | None:
        if name is not None and name != file_name(name):
            raise ValueError(f"must be the plain name of a folder, such as {file_name(name)!r}")
        return name


def _targets(value: Any) -> Iterator[Any]:
    """Yield every ``_target_`` in *value*, however deep."""
    if isinstance(value, dict):
        if "_target_" in value:
            yield value["_target_"]
        value = tuple(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _targets(item)


def keys(model: type[BaseModel] = Settings, prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield every key that a configuration may hold, dotted (``retry``, ``retry.base``), with what it takes."""
    for name, field in model.model_fields.items():
        yield prefix + name, field
        for kind in models_in(field):
            yield from keys(kind, f"{prefix}{name}.")


def models_in(field: FieldInfo) -> Iterator[type[BaseModel]]:
    """Yield the classes that a field's mapping can become: one, or none where it takes no mapping."""
    union = get_origin(field.annotation) in (Union, UnionType)
    for kind in get_args(field.annotation) if union else (field.annotation,):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield kind
