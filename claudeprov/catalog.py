"""The catalogue: what is known of each model, read from the files of ``conf/model``.

A file that has an ``id`` describes a model; one that has only a defaults list is a short name for another file.
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
Status = Literal["active", "deprecated", "retired", "local"]
"""``local`` is a model of no service: whoever runs it decides on its life."""

_PRICING = "/pricing@_global_.pricing"
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

    @property
    def known(self) -> tuple[str, ...]:
        """The names that there are."""
        return tuple(name for name in (self.bedrock, self.vertex, self.foundry) if name)


class KnowledgeCutoff(_Frozen):
    """Months (``2026-06``) up to which the model's knowledge is reliable and its training data reach."""

    reliable: str | None
    training: str | None


class ToolPromptTokens(_Frozen):
    """Prompt tokens that the API adds once tools are given: with ``tool_choice`` auto or none, and any or tool."""

    auto: int | None
    forced: int | None


class Thinking(_Frozen):
    """How the model takes ``thinking``; no kinds means that it does not think."""

    kinds: tuple[Literal["adaptive", "enabled", "disabled", "between_tools"], ...]
    on_when_omitted: bool
    always_on: bool
    off_up_to_effort: EffortLevel | None
    """The highest effort at which thinking may be turned off; ``None`` where effort does not matter."""
    blocks_bound_to_prefix: Literal["all_accounts", "new_accounts", "disputed", "never"]
    """Whether a thinking block is refused after a changed prefix (new accounts: those since 2026-08-31)."""


class Effort(_Frozen):
    """The values of ``output_config.effort``; no levels means that the parameter is refused."""

    levels: tuple[EffortLevel, ...]
    default: EffortLevel | None


class Capabilities(_Frozen):
    """What a request to the model may ask for."""

    thinking: Thinking
    effort: Effort
    tool_use: bool
    forced_tool_choice: bool
    structured_outputs: bool
    computer_use: tuple[str, ...]
    web_search: bool
    code_execution: bool
    tool_search: bool
    images: Literal["standard", "high_resolution"] | None
    pdf: bool
    citations: bool
    prompt_caching: bool
    batch: bool
    batch_300k_output: bool
    compaction: bool
    inference_geo: bool
    sampling_params: bool
    """Whether ``temperature``, ``top_p`` and ``top_k`` are taken, under API versions that still have them."""
    prefill: bool
    mid_conversation_system: bool
    refusal_classifiers: bool


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
    context_window: PositiveInt
    max_output_tokens: PositiveInt
    tokenizer: Literal["claude-3", "claude-4.7"] | None
    """The generation: token counts of one are not those of the other."""
    min_cacheable_tokens: PositiveInt | None
    tool_system_prompt_tokens: ToolPromptTokens
    rate_limit_bucket: str | None
    """Models of one bucket share their rate limits."""
    capabilities: Capabilities

    def id_on(self, endpoint: str) -> str:
        """Return the name to send to an *endpoint* of that kind: the platform's own, or ``id`` where it has none."""
        return getattr(self.platform_ids, endpoint, None) or self.id


class Catalog:
    """The known models, line by line and the newest first, to be found by any of their names.

    Args:
        models: Each once.
        shortcuts: Names that configuration can choose a model by, to ids.
        price_lists: Ids to names of files of ``conf/pricing``.
    """

    def __init__(self, models: Iterable[Model], shortcuts: Mapping[str, str], price_lists: Mapping[str, str]) -> None:
        self._models = {model.id: model for model in sorted(models, key=_by_line)}
        self._shortcuts = dict(shortcuts)
        self._price_lists = dict(price_lists)
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
                f"model {name!r} is not in the catalogue; the nearest names are {', '.join(nearest)}",
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
        if content:
            models.append(Model.model_validate(content))
            price_lists[content["id"]] = defaults[0][_PRICING]
        else:
            shortcuts[file.stem] = defaults[0]
    return Catalog(models, shortcuts, price_lists)


def read_yaml(file: Path) -> dict[str, Any]:
    """Read one of the shipped YAML files, each of which holds a mapping."""
    content: dict[str, Any] = yaml.load(file.read_bytes(), Loader=_YAML)  # noqa: S506
    return content


def _by_line(model: Model) -> tuple[bool, int, int, str]:
    lines = (*get_args(Line), None)
    released = model.lifecycle.released or date.min
    return model.lifecycle.status == "local", lines.index(model.line), -released.toordinal(), model.id
