"""The catalogue: what is known of each model, read from the files of ``conf/model``.

A file that has an ``id`` describes a model; one that has only a defaults list is a short name for another file.
``custom.yaml`` is a model of which nothing is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, PositiveInt

from claudeprov.errors import ConfigurationError
from claudeprov.paths import conf_dir

Line = Literal["fable", "mythos", "opus", "sonnet", "haiku"]
EffortLevel = Literal["low", "medium", "high", "xhigh", "max"]
ThinkingKind = Literal["adaptive", "enabled", "disabled", "between_tools"]
Status = Literal["active", "deprecated", "retired", "local"]
"""``local`` is a model of no service: whoever runs it decides on its life."""

_PRICING = "/pricing@_global_.pricing"
_UNKNOWN = "custom"
"""The file of a model of which nothing is known."""
_YAML: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # both safe; the first is ten times as fast


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Lifecycle(_Frozen):
    """A model's dates; ``replacement`` is the id of the model that Anthropic names as its successor."""

    status: Status
    released: date | None
    deprecated: date | None
    retires: date | None
    retires_not_before: date | None
    replacement: str | None


class PlatformIds(_Frozen):
    """The model's names on other platforms; ``None`` where it is not offered."""

    bedrock: str | None
    vertex: str | None
    foundry: str | None
    mantle: str | None = None
    """Name at Bedrock's Messages endpoint, where that is another than in Bedrock's older interfaces."""

    @property
    def known(self) -> tuple[str, ...]:
        """The names that there are."""
        return tuple(name for name in (self.bedrock, self.mantle, self.vertex, self.foundry) if name)


class KnowledgeCutoff(_Frozen):
    """Months (``2026-06``) up to which the model's knowledge is reliable and its training data reach."""

    reliable: str | None
    training: str | None


class ToolPromptTokens(_Frozen):
    """Prompt tokens that the API adds once tools are given: with ``tool_choice`` auto or none, and any or tool."""

    auto: int | None
    forced: int | None


class Thinking(_Frozen):
    """How the model takes ``thinking``; no kinds means that it does not think, ``None`` that nothing is known."""

    kinds: tuple[ThinkingKind, ...] | None
    on_when_omitted: bool | None
    always_on: bool | None
    off_up_to_effort: EffortLevel | None
    """The highest effort at which thinking may be turned off; ``None`` where effort does not matter."""
    blocks_bound_to_prefix: Literal["all_accounts", "new_accounts", "disputed", "never"] | None
    """Whether a thinking block is refused after a changed prefix (new accounts: those since 2026-08-31)."""


class Effort(_Frozen):
    """The values of ``output_config.effort``; no levels means that it is refused, ``None`` that nothing is known."""

    levels: tuple[EffortLevel, ...] | None
    default: EffortLevel | None


class Capabilities(_Frozen):
    """What a request to the model may ask for; ``None`` where that is not known."""

    thinking: Thinking
    effort: Effort
    tool_use: bool | None
    forced_tool_choice: bool | None
    structured_outputs: bool | None
    computer_use: tuple[str, ...] | None
    web_search: bool | None
    code_execution: bool | None
    tool_search: bool | None
    images: Literal["none", "standard", "high_resolution"] | None
    pdf: bool | None
    citations: bool | None
    prompt_caching: bool | None
    batch: bool | None
    batch_300k_output: bool | None
    compaction: bool | None
    inference_geo: bool | None
    sampling_params: bool | None
    """Whether ``temperature``, ``top_p`` and ``top_k`` are taken, under API versions that still have them."""
    prefill: bool | None
    mid_conversation_system: bool | None
    refusal_classifiers: bool | None


class Model(_Frozen):
    """One model: its names, life, sizes in tokens, and what it can do."""

    id: str
    display_name: str
    line: Line | None
    aliases: tuple[str, ...]
    """Other names that the API itself takes."""
    platform_ids: PlatformIds
    access: Literal["general", "limited", "invitation"]
    confidence: Literal["high", "medium", "low"]
    """How sure the figures are; a comment in the model's file says what is not."""
    lifecycle: Lifecycle
    knowledge_cutoff: KnowledgeCutoff
    context_window: PositiveInt | None
    """Input and output together; ``None`` where it is not known."""
    max_output_tokens: PositiveInt | None
    """``None`` where it is not known."""
    tokenizer: Literal["claude-3", "claude-4.7"] | None
    """The generation: token counts of one are not those of the other."""
    min_cacheable_tokens: PositiveInt | None
    tool_system_prompt_tokens: ToolPromptTokens
    rate_limit_bucket: str | None
    """Models of one bucket share their rate limits."""
    capabilities: Capabilities

    def id_on(self, endpoint: str) -> str:
        """Return the name to send to an *endpoint* of that kind: the platform's own, or ``id`` where it has none."""
        # The SDK's client for Bedrock speaks to its Messages endpoint.
        names = self.platform_ids
        own = (names.mantle or names.bedrock) if endpoint == "bedrock" else getattr(names, endpoint, None)
        return own or self.id


class Catalog:
    """The known models, line by line and the newest first, to be found by any of their names.

    Args:
        models: Each once.
        shortcuts: Names that configuration can choose a model by, to ids.
        price_lists: Ids to names of files of ``conf/pricing``.
        told: Ids to the names of the fields that an endpoint has told, and not the files.
    """

    def __init__(
        self,
        models: Iterable[Model],
        shortcuts: Mapping[str, str],
        price_lists: Mapping[str, str],
        told: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        self._models = {model.id: model for model in sorted(models, key=_by_line)}
        self._shortcuts = dict(shortcuts)
        self._price_lists = dict(price_lists)
        self._told = dict(told or {})
        self._ids: dict[str, str] = {}
        for model in self:
            self._ids |= dict.fromkeys((model.id, *model.aliases, *model.platform_ids.known), model.id)
        self._ids |= shortcuts

    def __iter__(self) -> Iterator[Model]:
        return iter(self._models.values())

    def __len__(self) -> int:
        return len(self._models)

    def __contains__(self, name: object) -> bool:
        return name in self._ids

    def including(self, *models: Model, told: Mapping[str, tuple[str, ...]] | None = None) -> Catalog:
        """Return this catalogue with *models* in place of those of their ids, or added.

        Args:
            models: Each once.
            told: As of the class, beside what is told here.
        """
        merged = self._models | {model.id: model for model in models}
        return Catalog(merged.values(), self._shortcuts, self._price_lists, {**self._told, **(told or {})})

    def told(self, model: Model) -> tuple[str, ...]:
        """Return which fields of *model* an endpoint told otherwise than the files; ``id`` of a new model."""
        return self._told.get(model.id, ())

    def get(self, name: str) -> Model | None:
        """Return the model of that id, alias, short name or platform id, if there is one."""
        return self._models.get(self._ids.get(name, ""))

    def find(self, name: str) -> Model:
        """Return the model of that id, alias, short name or platform id.

        Raises:
            ConfigurationError: No model has that name; the three nearest are named.
        """
        model = self.get(name)
        if model is None:
            nearest = get_close_matches(name, self._ids, n=3, cutoff=0)
            raise ConfigurationError(
                f"model {name!r} is not in the catalogue; the nearest names are {', '.join(nearest)}; "
                "list_models(live=True) asks the endpoint for newer ones",
                context={"model": name, "nearest": nearest},
            )
        return model

    def names(self, model: Model) -> tuple[str, ...]:
        """Return the names by which configuration can choose *model* beside its id, shortest first."""
        names = (name for name, id_ in self._shortcuts.items() if id_ == model.id)
        return tuple(sorted(names, key=lambda name: (len(name), name)))

    def price_list(self, model: Model) -> str:
        """Return the name of the file of ``conf/pricing`` that the model's file brings."""
        return self._price_lists[model.id]


@cache
def catalog() -> Catalog:
    """Return the catalogue that ships with claudeprov; its files are read once, without Hydra."""
    models: list[Model] = []
    shortcuts: dict[str, str] = {}
    price_lists: dict[str, str] = {}
    for file in (conf_dir() / "model").glob("*.yaml"):
        content = read_yaml(file)
        defaults = content.pop("defaults")
        if file.stem == _UNKNOWN:
            continue
        if content:
            models.append(Model.model_validate(content))
            price_lists[content["id"]] = defaults[0][_PRICING]
        else:
            shortcuts[file.stem] = defaults[0]
    return Catalog(models, shortcuts, price_lists)


def unknown_model(id_: str) -> Model:
    """Return a model of which nothing but the id is known."""
    content = read_yaml(conf_dir() / "model" / f"{_UNKNOWN}.yaml")
    del content["defaults"]
    return Model.model_validate(content | {"id": id_, "display_name": id_})


def read_yaml(file: Path) -> dict[str, Any]:
    """Read one of the shipped YAML files, each of which holds a mapping."""
    content: dict[str, Any] = yaml.load(file.read_bytes(), Loader=_YAML)  # noqa: S506
    return content


def _by_line(model: Model) -> tuple[bool, int, int, str]:
    lines = (*get_args(Line), None)
    released = model.lifecycle.released or date.min
    return model.lifecycle.status == "local", lines.index(model.line), -released.toordinal(), model.id
