"""What a composed configuration is: one frozen object with an attribute for each group, ``None`` where it is off.

No secret has a place here: credentials come from the environment or the SDK's own chain.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin

from pydantic import BaseModel, Field, ValidationInfo, field_validator, model_validator
from pydantic.fields import FieldInfo

from claudeprov.catalog import Model
from claudeprov.cost import Prices
from claudeprov.paths import file_name
from claudeprov.pricing import check_names
from claudeprov.settings.alerts import AlertsSettings
from claudeprov.settings.breaker import BreakerSettings
from claudeprov.settings.budget import BudgetSettings
from claudeprov.settings.cassette import CassetteSettings
from claudeprov.settings.deadline import DeadlineSettings
from claudeprov.settings.endpoint import EndpointSettings
from claudeprov.settings.fallback import FallbackSettings
from claudeprov.settings.kind import Count, Group, Name
from claudeprov.settings.ledger import LedgerSettings
from claudeprov.settings.ratelimit import RateLimitSettings
from claudeprov.settings.request import CachingSettings, PreflightSettings, SamplingSettings, ThinkingSettings
from claudeprov.settings.resume import ResumeSettings
from claudeprov.settings.retry import RetrySettings
from claudeprov.settings.state import StateSettings
from claudeprov.settings.suite import LauncherSettings, SuiteSettings
from claudeprov.settings.telemetry import TelemetrySettings
from claudeprov.settings.tools import ToolsSettings
from claudeprov.target import trusts

PREFIX = "CLAUDEPROV_"
"""What the names of the settings' environment variables begin with."""
CONFIG_DIR = "CLAUDEPROV_CONFIG_DIR"
"""Environment variable that names the user's config directory; no setting."""

Layer = Literal[
    "telemetry",
    "alerts",
    "ledger",
    "deadline",
    "fallback",
    "preflight",
    "caching",
    "budget",
    "resume",
    "breaker",
    "retry",
    "ratelimit",
]
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

COMBINED = frozenset(("tools",))
"""Groups of which several options can be chosen at once, as in ``tools=[code_analysis,web_search]``."""


class Settings(Group):
    """A composed and validated configuration. ``None`` stands for a group that is off."""

    endpoint: EndpointSettings
    model: Model
    """What is known of the model that requests go to."""
    sampling: SamplingSettings | None = None
    thinking: ThinkingSettings | None = None
    retry: RetrySettings | None = None
    breaker: BreakerSettings | None = None
    ratelimit: RateLimitSettings | None = None
    budget: BudgetSettings | None = None
    """``None``: no limit on what calls cost."""
    deadline: DeadlineSettings | None = None
    fallback: FallbackSettings | None = None
    pricing: Prices | None = None
    """Prices in USD per million tokens; the model brings its own."""
    resume: ResumeSettings | None = None
    preflight: PreflightSettings | None = None
    caching: CachingSettings | None = None
    tools: ToolsSettings | None = None
    """``None``: no tools beside a request's own."""
    telemetry: TelemetrySettings | None = None
    alerts: AlertsSettings | None = None
    """``None``: nobody is alerted."""
    ledger: LedgerSettings | None = None
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
    max_repairs: Annotated[int, Field(strict=True, ge=0)] = 2
    """Most times that an answer is asked for again because it has not the shape of ``output``."""
    concurrency: Count = 4
    """Calls at a time in a run."""
    runs_dir: Name = "runs"
    """Folder in which a run makes one of its own."""
    run_name: Name | None = None
    """Name of a run's folder in ``runs_dir``; ``null``: made from the time, the suite and the model."""

    @property
    def defaults(self) -> dict[str, Any]:
        """The parameters that a request gets where it leaves them out."""
        defaults: dict[str, Any] = {"model": self.model.id, "max_tokens": self.max_tokens}
        if self.sampling is not None:
            defaults |= self.sampling.model_dump(exclude_none=True)
        if self.thinking is not None:
            thinking = self.thinking.model_dump(exclude_none=True)
            effort = thinking.pop("effort", None)
            if thinking:
                defaults["thinking"] = thinking
            if effort:
                defaults["output_config"] = {"effort": effort}
        return defaults

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
        for target in _targets(chain):
            if not trusts(str(target), info.data.get("allow_targets", ())):
                raise ValueError(f"the _target_ {target!r} is outside claudeprov; allow_targets must name its package")
        return chain

    @field_validator("fallback")
    @classmethod
    def _leads_away(cls, fallback: FallbackSettings | None, info: ValidationInfo) -> FallbackSettings | None:
        model, endpoint = info.data.get("model"), info.data.get("endpoint")
        if fallback and model and endpoint and not fallback.leads_away(model.id, endpoint):
            raise ValueError(f"leads nowhere but to {model.id}, where calls go anyway")
        return fallback

    @field_validator("pricing")
    @classmethod
    def _of_models_that_there_are(cls, pricing: Prices | None, info: ValidationInfo) -> Prices | None:
        fallback: FallbackSettings | None = info.data.get("fallback")
        places = [info.data.get("endpoint"), *(candidate.endpoint for candidate in (fallback.to if fallback else ()))]
        if pricing and not any(place and place.kind == "compatible" for place in places):
            check_names(pricing)
        return pricing

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

    @model_validator(mode="after")
    def _tools_can_be_made(self) -> Self:
        if self.tools is not None:
            from claudeprov.tools.load import load  # brings what checks schemas

            load(self.tools, self.allow_targets)
        return self


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
