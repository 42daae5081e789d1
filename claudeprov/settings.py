"""What a composed configuration is: one frozen object with an attribute for each group, ``None`` where it is off.

No secret has a place here: credentials come from the environment or the SDK's own chain.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticKnownError

from claudeprov.catalog import EffortLevel, Model
from claudeprov.cost import Prices
from claudeprov.errors import CODES
from claudeprov.paths import file_name

PREFIX = "CLAUDEPROV_"
"""What the names of the settings' environment variables begin with."""
CONFIG_DIR = "CLAUDEPROV_CONFIG_DIR"
"""Environment variable that names the user's config directory; no setting."""

# Strict, since pydantic otherwise takes `true` for 1 and "3" for 3; a float still takes an integer.
Seconds = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
Duration = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(strict=True, ge=1)]
Name = Annotated[str, Field(min_length=1)]


def _listed(code: str) -> str:
    if code not in CODES:
        raise PydanticKnownError("literal_error", {"expected": ", ".join(map(repr, CODES))})
    return code


Code = Annotated[str, AfterValidator(_listed)]
"""A code of an error; it is told like a value of a ``Literal``, with all that there are."""


def _volatile(text: str) -> str:
    if text != "timestamps" and not re.fullmatch(r"\$(\.[\w-]+|\[(\d+|\*)\])+", text):
        raise ValueError("must be a JSON path such as $.metadata.user_id or $.messages[*].content, or timestamps")
    return text


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from None
    return text


Volatile = Annotated[str, AfterValidator(_volatile)]
Pattern = Annotated[Name, AfterValidator(_pattern)]

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


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, coerce_numbers_to_str=True)


class EndpointSettings(_Group):
    """Which service answers."""

    kind: Literal["anthropic", "bedrock", "vertex", "foundry", "compatible"]
    """Which client of the SDK speaks to it."""
    base_url: str | None = None
    """Where it is, without the path of the API; ``null``: the SDK's default."""
    region: Name | None = None
    """Region of Bedrock or Vertex; ``null``: the platform's own configuration."""
    project_id: Name | None = None
    """Google Cloud project of Vertex; ``null``: the platform's own configuration."""
    resource: Name | None = None
    """Name of the Foundry resource; ``null``: the environment's."""

    @field_validator("base_url")
    @classmethod
    def _plain_url(cls, url: str | None) -> str | None:
        if url is not None:
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError("must be a URL that begins with http:// or https://")
            if parts.username is not None:
                raise ValueError("must not hold credentials; they come from the environment")
        return url


class SamplingSettings(_Group):
    """Sampling parameters to send; ``null`` is not sent."""

    temperature: Annotated[float, Field(strict=True, ge=0, le=2)] | None = None
    """Randomness of the choice of tokens."""
    top_p: Annotated[float, Field(strict=True, ge=0, le=1)] | None = None
    """Share of probability that tokens are chosen from."""
    top_k: Count | None = None
    """Number of tokens that the next one is chosen from."""


class ThinkingSettings(_Group):
    """The ``thinking`` and ``output_config.effort`` parameters to send; ``null`` is not sent."""

    type: Literal["adaptive", "between_tools", "enabled", "disabled"] | None = None
    """Way of thinking; which ones a model takes is in its file."""
    budget_tokens: Annotated[int, Field(strict=True, ge=1024)] | None = None
    """Tokens to think with; goes with the type ``enabled``."""
    effort: EffortLevel | None = None
    """How much work the model puts into an answer."""

    @model_validator(mode="after")
    def _budget_goes_with_enabled(self) -> Self:
        if (self.type == "enabled") != (self.budget_tokens is not None):
            raise ValueError("type enabled needs budget_tokens, and budget_tokens needs type enabled")
        return self


class RetrySettings(_Group):
    """When a failed attempt is made again; a wait is drawn between 0 and ``base * 2**(attempt - 1)`` or ``cap``."""

    model_config = ConfigDict(validate_default=True)

    max_attempts: Count = 4
    """Most attempts of a call, the first one included."""
    base: Seconds = 0.5
    """Upper bound of the first wait, in seconds."""
    cap: Seconds = 8.0
    """Upper bound of every wait, in seconds."""
    max_wait: Seconds = 60.0
    """Longest ``retry-after`` that is waited out, in seconds; a longer one ends the call."""
    overloaded_base: Seconds = 2.0
    """``base`` after a 529, in seconds."""
    overloaded_cap: Seconds = 30.0
    """``cap`` after a 529, in seconds."""
    budget: Seconds = 120.0
    """No attempt starts later than this many seconds after the first."""

    @field_validator("cap", "overloaded_cap")
    @classmethod
    def _cap_is_not_below_base(cls, cap: float, info: ValidationInfo) -> float:
        name = str(info.field_name).replace("cap", "base")
        base = info.data.get(name, 0)
        if cap < base:
            raise ValueError(f"must be at least retry.{name}, which is {base:g}")
        return cap


class BreakerSettings(_Group):
    """When calls to a failing service are refused at once."""

    failures: Count = 5
    """Failed calls within ``window`` that open the breaker."""
    window: Duration = 60.0
    """Seconds that a failed call counts."""
    open_for: Duration = 300.0
    """Seconds for which it stays open before a trial."""
    trials: Count = 1
    """Calls let through at a time on trial."""
    counts: tuple[Code, ...] = (
        "server_error",
        "overloaded",
        "connection_failed",
        "timeout",
        "stream_interrupted",
        "invalid_response",
    )
    """Codes of the errors that count as failures of the service."""


class DeadlineSettings(_Group):
    """Time limits; ``null`` is no limit."""

    total: Duration | None = 600.0
    """Seconds for the whole call: its attempts, the waits between them and the reading."""
    connect: Duration | None = 5.0
    """Seconds to make a connection."""
    first_event: Duration | None = 300.0
    """Seconds from the sending of a request to the first event of its stream that is no ping."""
    between_events: Duration | None = 120.0
    """Seconds without a byte of a stream, before its first event too; the API sends pings while it is silent."""


class PreflightSettings(_Group):
    """What is checked before a request is sent."""

    mode: Literal["send"] = "send"
    """``send``: nothing; the API answers."""


class TelemetrySettings(_Group):
    """What is told of each call, as structlog events."""

    exporter: Literal["none"] = "none"
    """Where spans and metrics go; ``none``: nowhere, there are only the events of the logger ``claudeprov``."""


class StateSettings(_Group):
    """Where layers keep what they share."""

    kind: Literal["memory"] = "memory"
    """``memory``: in this process."""


class CassetteSettings(_Group):
    """Whether real traffic is used, recorded or replayed."""

    mode: Literal["auto", "live", "replay", "record"] = "auto"
    """``auto``: live where there are credentials, replay where there are none."""
    path: Name | None = None
    """Cassette file, or folder of them; ``null``: the project's own of the suite."""
    new_only: bool = False
    """Of a recording: what is recorded already is replayed, and only the rest is sent and added."""
    all: Annotated[bool, Field(strict=True)] = False
    """Whether ``claudeprov record`` records everything again; else only what is missing or stale."""
    max_age: Duration | None = 180.0
    """Days after which a recording is stale; ``null``: age alone does not make it so."""
    ignore: tuple[Volatile, ...] = ()
    """Parts of a request that do not count when it is looked for: JSON paths, and ``timestamps`` within texts."""
    scrub: tuple[Pattern, ...] = ()
    """Regular expressions; what they match in addresses and bodies is written as a pseudonym."""
    speed: Seconds = 0.0
    """Pace of replay: 0 at once, 1 as recorded, 2 twice as fast."""
    default_model: Name = "qwen"
    """Model of the recordings that a replay uses where none was chosen."""


class SuiteSettings(_Group):
    """The data set of tasks that a run executes."""

    name: Name
    """Name of a packaged suite, or the name to give to the file at ``path``."""
    path: Name | None = None
    """File of a suite of your own; ``null``: the packaged suite called ``name``."""
    tasks: tuple[Name, ...] | None = None
    """Ids of the tasks to run; ``null``: all of them."""

    @field_validator("tasks")
    @classmethod
    def _at_least_one(cls, tasks: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if tasks == ():
            raise ValueError("must name at least one task, or be null for all of them")
        return tasks


class LauncherSettings(_Group):
    """How the jobs of a sweep are run."""

    kind: Literal["serial"] = "serial"
    """``serial``: one after another in this process."""


class Settings(_Group):
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
