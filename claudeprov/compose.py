"""Compose declared configuration into :class:`Settings`.

Of Hydra 1.3 this takes the parts that find config groups, order them by their defaults lists and parse overrides. The
rest is left alone on purpose: ``GlobalHydra``, so that no Hydra program around us and no other thread is disturbed; the
``ConfigStore``, since a host's schema called ``config`` would be merged into our file of that name; and the argument
parser, whose ``LazyCompletionHelp`` is no ``str`` and so fails the check of help texts that argparse has made since
Python 3.14 (``ValueError: badly formed help string``). Hydra's completion calls that parser too.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent
from typing import Any, cast

import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository, ConfigRepository
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.defaults_list import DefaultsList, create_defaults_list
from hydra.core.config_loader import ConfigLoader
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType, ValueType
from hydra.errors import HydraException
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from claudeprov.errors import ConfigurationError
from claudeprov.paths import conf_dir
from claudeprov.problem import configuration_error, masked_text, origin_of, problem, problems_of
from claudeprov.settings import COMBINED, CONFIG_DIR, GROUPS, PREFIX, Settings, keys

_PRIMARY = "config"
_USER, _ENVIRONMENT, _OVERRIDE = range(3)
_UNREADABLE = (OmegaConfBaseException, yaml.YAMLError, ValueError, RecursionError, OSError)
"""What reading YAML raises: besides its own errors those of numbers, nesting, encoding and files."""
_LOCK = threading.Lock()  # Hydra's parser and its version setting belong to the whole process


@dataclass(frozen=True)
class Composition:
    """Settings, and how they came about."""

    settings: Settings
    values: Mapping[str, Any]
    """The composed mapping, before validation."""
    choices: Mapping[str, str | None]
    """The option of each group."""
    chosen_by: Mapping[str, str]
    """Who chose each group's option."""
    origins: Mapping[str, str]
    """Where each value came from, by dotted key; whoever came last stands last."""

    def origin(self, key: str) -> str:
        """Return where the value of a dotted key came from: a file, an environment variable, an override, a default."""
        return origin_of(key, self.origins)


@dataclass(frozen=True)
class _Assignment:
    """A value that somebody gave to a key, or an option to a group."""

    override: Override
    origin: str
    rank: int

    @property
    def key(self) -> str:
        return str(self.override.key_or_group)

    @property
    def value(self) -> Any:
        return self.override.value()

    @property
    def chooses(self) -> bool:
        return self.key in GROUPS and not isinstance(self.value, dict)

    @property
    def options(self) -> list[Any]:
        """The options that it chooses: one, or several of a group that combines them."""
        return self.value if self.key in COMBINED and isinstance(self.value, list) else [self.value]


class _Source(FileConfigSource):
    """A folder of config files; one that cannot be read is named."""

    def load_config(self, config_path: str) -> ConfigResult:
        try:
            return super().load_config(config_path)
        except _UNREADABLE as error:
            raise _unreadable(Path(self.path, f"{config_path}.yaml"), error) from None


class _Repository(ConfigRepository):
    """Our files behind the user's, but for the primary file, which is always ours."""

    def __init__(self, *directories: Path) -> None:
        self.sources: list[ConfigSource] = [_Source("claudeprov", str(folder)) for folder in directories]

    def _find_object_source(self, config_path: str, object_type: ObjectType | None) -> ConfigSource | None:
        if config_path == _PRIMARY:
            return self.sources[-1]
        return super()._find_object_source(config_path, object_type)


def compose(overrides: Sequence[str] = (), *, config_dir: str | Path | None = None) -> Settings:
    """Compose the configuration and validate it.

    Precedence, lowest first: the groups' files, the user's config directory, the environment, overrides.

    Args:
        overrides: In Hydra's grammar: ``model=sonnet``, ``retry.max_attempts=9``, ``~breaker``.
        config_dir: Folder with option files for any group, found before ours of the same name, and with a
            ``config.yaml`` of plain choices and values; the environment's ``CLAUDEPROV_CONFIG_DIR`` if left out.

    Raises:
        ConfigurationError: A group, option, key, value or type is wrong; ``context["problems"]`` lists them.
    """
    return compose_with_origins(overrides, config_dir=config_dir).settings


def compose_with_origins(overrides: Sequence[str] = (), *, config_dir: str | Path | None = None) -> Composition:
    """Compose as :func:`compose` does, and tell where each value came from."""
    user = _user_dir(config_dir)
    with _LOCK:
        try:
            assignments = [*_user_assignments(user), *_environment_assignments(), *_override_assignments(overrides)]
            return _compose(_repository(user), assignments)
        except ConfigurationError:
            raise
        except (HydraException, *_UNREADABLE) as error:
            raise ConfigurationError(f"the configuration cannot be composed: {masked_text(str(error))}") from None


def expand(overrides: Sequence[str], *, config_dir: str | Path | None = None) -> list[list[str]]:
    """Return the overrides of each job of a sweep such as ``model=sonnet,opus``; the last key varies fastest.

    Raises:
        ConfigurationError: An override cannot be read, or its values cannot be counted.
    """
    with _LOCK:
        repository = _repository(_user_dir(config_dir))
        values: list[list[str]] = []
        for override in _parse(overrides, repository):
            if not override.is_sweep_override():
                values.append([str(override.input_line)])
                continue
            try:
                if not override.is_discrete_sweep():
                    raise ValueError("they are an interval")
                values.append([f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()])
            except ValueError as error:
                text = masked_text(str(override.input_line))
                raise ConfigurationError(f"{text} has no values that could be counted: {error}") from None
    return [list(job) for job in itertools.product(*values)]


def _repository(user: Path | None) -> CachingConfigRepository:
    return CachingConfigRepository(_Repository(*filter(None, [user, conf_dir()])))


def _user_dir(config_dir: str | Path | None) -> Path | None:
    given = config_dir or os.environ.get(CONFIG_DIR)
    if not given:
        return None
    folder = Path(given).expanduser().resolve()
    if not folder.is_dir():
        raise ConfigurationError(
            f"the config directory {folder} {'is no directory' if folder.exists() else 'does not exist'}"
            + ("" if config_dir else f" (from the environment variable {CONFIG_DIR})")
        )
    return folder


def _assignment(key: str, value: Any, origin: str, rank: int) -> _Assignment:
    kind = OverrideType.CHANGE if key in GROUPS else OverrideType.FORCE_ADD
    return _Assignment(Override(kind, key, ValueType.ELEMENT, value, input_line=key), origin, rank)


def _user_assignments(user: Path | None) -> Iterator[_Assignment]:
    file = user and user / f"{_PRIMARY}.yaml"
    if not file or not file.is_file():
        return
    try:
        content = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    except _UNREADABLE as error:
        raise _unreadable(file, error) from None
    if not isinstance(content, dict):
        raise ConfigurationError(f"{file} must hold a mapping of keys to values")
    for key, value in _leaves(content):
        # YAML reads a bare `off` as false.
        yield _assignment(key, "off" if key in GROUPS and value is False else value, str(file), _USER)


def _unreadable(file: Path, error: Exception) -> ConfigurationError:
    reason = "it holds itself, or too much within another" if isinstance(error, RecursionError) else str(error)
    return ConfigurationError(f"{file} cannot be read: {masked_text(reason)}")


def _environment_assignments() -> Iterator[_Assignment]:
    variables = {PREFIX + key.replace(".", "_").upper(): key for key, _ in keys()}
    for name, text in sorted(os.environ.items()):
        if not name.startswith(PREFIX) or name == CONFIG_DIR or not text:
            continue
        origin = f"the environment variable {name}"
        if name not in variables:
            group = max((v for v in variables if name.startswith(f"{v}_")), key=len, default=PREFIX)
            near = [v for v, key in variables.items() if (v.startswith(group) if group != PREFIX else "." not in key)]
            raise configuration_error(problem(name, "is no setting", "the environment", allowed=near, word=name))
        key = variables[name]
        try:
            is_name = key in GROUPS and not (key in COMBINED and text.startswith("["))
            yield _assignment(key, text if is_name else _value_in(text), origin, _ENVIRONMENT)
        except _UNREADABLE:
            raise configuration_error(problem(key, "cannot be read as YAML", origin, value=text)) from None


def _value_in(text: str) -> Any:
    """Read *text* as it would be read in a file: ``1e3`` is a number, a date is a text."""
    return _plain(cast("DictConfig", OmegaConf.create(f"value:\n{indent(text, '  ')}")))["value"]


def _override_assignments(overrides: Sequence[str]) -> Iterator[_Assignment]:
    for override in _parse(overrides):
        text = masked_text(str(override.input_line))
        if override.is_sweep_override():
            hint = "" if override.key_or_group in GROUPS else f"; a list is written {override.key_or_group}=[a,b]"
            raise ConfigurationError(
                f"the override {text!r} gives several values: bench and record sweep over them with -m{hint}"
            )
        if override.package is not None:
            raise ConfigurationError(f"the override {text!r} names a package; a group's place is fixed")
        if override.key_or_group in GROUPS and not override.is_delete():
            override.type = OverrideType.CHANGE  # every group has an option already: there is nothing to add
        yield _Assignment(override, "an override", _OVERRIDE)


def _parse(overrides: Sequence[str], repository: CachingConfigRepository | None = None) -> Iterator[Override]:
    if isinstance(overrides, str):
        raise ConfigurationError("overrides are a list of texts such as ['model=sonnet'], not one text")
    # Of the loader, the parser asks a group's options only, which the repository knows.
    parser = OverridesParser.create(cast("ConfigLoader", repository))
    for text in overrides:
        try:
            yield from parser.parse_overrides([text])
        except (HydraException, ValueError, RecursionError) as error:
            key, equals, value = text.partition("=")
            what = f"cannot be read: {_reason(text, error)}"
            raise configuration_error(
                problem(masked_text(key), what, "an override", value=value if equals else None)
            ) from None


def _reason(text: str, error: Exception) -> str:
    if not isinstance(error, HydraException):
        return str(error).partition(";")[0]  # what follows is advice to programmers
    if "=" not in text and not text.startswith("~"):
        return "an override is key=value, or ~key to take something away"
    found = str(error).partition("\n")[2]
    return found.partition("\n")[0].partition(" expecting ")[0] if "input" in found else "it is not in Hydra's grammar"


def _compose(repository: CachingConfigRepository, assignments: Sequence[_Assignment]) -> Composition:
    chosen = {assignment.key: assignment for assignment in assignments if assignment.chooses}
    for choice in chosen.values():
        _check_option(choice, repository)
    defaults = create_defaults_list(
        repository, _PRIMARY, [choice.override for choice in chosen.values()], prepend_hydra=False, skip_missing=False
    )
    choices = defaults.overrides.known_choices | {
        group: f"[{','.join(choice.options)}]" for group, choice in chosen.items() if isinstance(choice.value, list)
    }
    parents = {default.config_path: default.parent for default in defaults.defaults}
    chosen_by = {
        group: _file(repository, parents[f"{group}/{option}"])
        for group, option in choices.items()
        if f"{group}/{option}" in parents
    }
    chosen_by |= {group: choice.origin for group, choice in chosen.items()}

    config, origins = _merged(repository, defaults)
    for assignment in assignments:
        if not assignment.chooses and _counts(assignment, config, chosen, repository):
            _check_deletion(assignment, config)
            ConfigLoaderImpl._apply_overrides_to_config([assignment.override], config)
            changed = [key for key in origins if assignment.key.startswith(f"{key}.")]
            changed += [key for key, _ in _leaves(assignment.value, assignment.key)]
            _note(origins, changed, assignment.origin)
    try:
        values = _plain(config, resolve=True)
        return Composition(Settings.model_validate(values), values, choices, chosen_by, origins)
    except OmegaConfBaseException as error:
        key, what = str(error.full_key), str(error).partition("\n")[0]
        raise configuration_error(problem(key, what, origin_of(key, origins))) from None
    except ValidationError as error:
        raise configuration_error(*problems_of(error, values, origins)) from None


def _merged(repository: CachingConfigRepository, defaults: DefaultsList) -> tuple[DictConfig, dict[str, str]]:
    """Return what the files of a defaults list hold together, and which file each key has its value from."""
    config = OmegaConf.create()
    origins: dict[str, str] = {}
    tools: dict[str, tuple[Any, str]] = {}
    for default in defaults.defaults:
        loaded, file = _loaded(repository, default.config_path), _file(repository, default.config_path)
        if not isinstance(loaded.config, DictConfig):
            raise ConfigurationError(f"{file} must hold a mapping of keys to values")
        content = _plain(loaded.config)
        if default.package == "tools":
            for name, tool in (content.get("declared") or {}).items():
                known, other = tools.setdefault(name, (tool, file))
                if known != tool:  # what came of both would be neither
                    raise configuration_error(problem(f"tools.declared.{name}", f"is another tool in {other}", file))
        config.merge_with(ConfigLoaderImpl._embed_result_config(loaded, default.package).config)
        _note(origins, [key for key, _ in _leaves(content, default.package or "")], file)
    return config, origins


def _note(origins: dict[str, str], keys: Iterable[str], origin: str) -> None:
    """Note where keys have their values from, behind all that was noted before."""
    for key in keys:
        origins.pop(key, None)
        origins[key] = origin


def _loaded(repository: CachingConfigRepository, path: str | None) -> ConfigResult:
    loaded = repository.load_config(str(path))
    assert loaded is not None  # a defaults list names no file that is not there
    return loaded


def _file(repository: CachingConfigRepository, path: str | None) -> str:
    """Return where a config is: one of our files from ``conf`` on, another as it is."""
    file = Path(_loaded(repository, path).path.removeprefix("file://"), f"{path}.yaml")
    return str(file.relative_to(conf_dir().parent) if file.is_relative_to(conf_dir()) else file)


def _check_option(choice: _Assignment, repository: CachingConfigRepository) -> None:
    found = repository.get_group_options(choice.key, ObjectType.CONFIG)
    if choice.override.is_delete():
        if Settings.model_fields[choice.key].is_required():
            what = f"the group {choice.key} cannot be taken away, it needs an option"
            raise configuration_error(problem(choice.key, what, choice.origin, allowed=found))
        return
    for option in choice.options:
        if option in found:
            continue
        what = f"the group {choice.key} has no such option"
        if choice.key == "model":
            what += "; one that is newer than this version is chosen by model=custom model.id=ID"
        raise configuration_error(problem(choice.key, what, choice.origin, value=option, allowed=found, word=option))


def _check_deletion(assignment: _Assignment, config: DictConfig) -> None:
    if not assignment.override.is_delete() or OmegaConf.select(config, assignment.key) is not None:
        return
    parent, _, name = assignment.key.rpartition(".")
    holder = OmegaConf.select(config, parent) if parent else config
    there = _plain(holder) if isinstance(holder, DictConfig) else {}
    if name in there:
        found = problem(assignment.key, "is null: there is nothing to take away", assignment.origin)
    else:
        what = "is not there to be taken away"
        found = problem(assignment.key, what, assignment.origin, allowed=there, word=name)
    raise configuration_error(found)


def _counts(
    assignment: _Assignment, config: DictConfig, chosen: Mapping[str, _Assignment], repository: CachingConfigRepository
) -> bool:
    """Whether a value counts: whoever turns a group off overrules the values that were given to it below him."""
    group = assignment.key.partition(".")[0]
    if group not in GROUPS or config.get(group):
        return True
    choice = chosen.get(group)
    if choice and choice.rank > assignment.rank:
        return False
    others = [option for option in repository.get_group_options(group, ObjectType.CONFIG) if option != "off"]
    what = f"the group {group} is off; choose {group}={' or '.join(others)} too"
    raise configuration_error(problem(assignment.key, what, assignment.origin, value=assignment.value))


def _plain(config: DictConfig, *, resolve: bool = False) -> dict[str, Any]:
    return cast("dict[str, Any]", OmegaConf.to_container(config, resolve=resolve, throw_on_missing=resolve))


def _leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values within nested mappings with their dotted keys."""
    if not isinstance(value, dict) or (prefix and not value):
        yield prefix, value
        return
    for key, item in value.items():
        yield from _leaves(item, f"{prefix}.{key}" if prefix else str(key))
