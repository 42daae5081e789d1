"""Suites: data sets of tasks in YAML files: code to write, questions with one right answer, sessions to keep."""

from __future__ import annotations

import ast
import builtins
import hashlib
import json
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    PositiveInt,
    StrictStr,
    ValidationError,
    field_validator,
    model_validator,
)

from claudeprov.errors import ConfigurationError
from claudeprov.paths import cassettes_dir, file_name
from claudeprov.settings.suite import SuiteSettings

PACKAGED = Path(__file__).with_name("suites")

_Id = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Check(_Frozen):
    """One expression, evaluated where the answer's code was run, and what it has to give."""

    call: str
    """A Python expression. Checks run in order in one namespace; ``:=`` keeps a value for the next."""
    gives: JsonValue = None
    """The value, compared by its ``repr``: ``1``, ``1.0`` and ``True`` differ, as do a list and a tuple."""
    raises: str | None = None
    """The name of the builtin exception to raise instead; a subclass of it will do."""

    @model_validator(mode="after")
    def _is_checkable(self) -> Self:
        if ("gives" in self.model_fields_set) == (self.raises is not None):
            raise ValueError("needs either 'gives' or 'raises'")
        kind = getattr(builtins, self.raises or "Exception", None)
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise ValueError(f"{self.raises!r} is no builtin exception")
        try:
            ast.parse(self.call, mode="eval")
        except SyntaxError as error:
            raise ValueError(f"{self.call!r} is no Python expression: {error.msg}") from None
        return self


class _Task(_Frozen):
    id: _Id
    """Lower case letters, digits and hyphens. It never changes, so that runs stay comparable."""
    prompt: Annotated[str, Field(min_length=1)]
    max_tokens: PositiveInt


class GenerationTask(_Task):
    """Ask for Python code; it is right if it passes every check."""

    kind: Literal["generation"]
    defines: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")]
    """The name of the function or class that the prompt asks for."""
    checks: tuple[Check, ...]

    @model_validator(mode="after")
    def _is_checked(self) -> Self:
        if not self.checks:
            raise ValueError("there are no checks")
        return self


class AnalysisTask(_Task):
    """Ask about a piece of code; the answer is one number, one of several choices, or a line of text."""

    kind: Literal["analysis"]
    answer: int | str
    choices: tuple[StrictStr, ...] = ()
    """What the answer can be, where it is one of a few words."""

    @field_validator("answer", mode="before")
    @classmethod
    def _is_number_or_text(cls, answer: Any) -> Any:
        if isinstance(answer, bool) or not isinstance(answer, int | str):
            raise ValueError(f"must be a whole number or a text, not {answer!r}; YAML wants quotes around yes and no")
        return answer

    @model_validator(mode="after")
    def _is_a_choice(self) -> Self:
        if self.choices and self.answer not in self.choices:
            raise ValueError(f"answer {self.answer!r} is none of the choices {', '.join(self.choices)}")
        return self


class SessionTask(_Frozen):
    """Send a request of any kind as it is, and keep what comes back; it is not graded."""

    kind: Literal["session"]
    id: _Id
    request: dict[str, JsonValue]
    """Parameters of the Messages API; ``model`` and ``max_tokens`` default to the configuration."""

    @field_validator("request")
    @classmethod
    def _has_messages(cls, request: dict[str, JsonValue]) -> dict[str, JsonValue]:
        if not isinstance(request.get("messages"), list):
            raise ValueError("needs a list of messages")
        return request


Task = Annotated[GenerationTask | AnalysisTask | SessionTask, Field(discriminator="kind")]

_KINDS: dict[str, type[BaseModel]] = {"generation": GenerationTask, "analysis": AnalysisTask, "session": SessionTask}


class Suite(_Frozen):
    """A data set of tasks."""

    name: _Id
    description: str = ""
    tasks: tuple[Task, ...]

    @model_validator(mode="after")
    def _ids_are_unique(self) -> Self:
        if not self.tasks:
            raise ValueError("there are no tasks")
        seen: set[str] = set()
        for task in self.tasks:
            if task.id in seen:
                raise ValueError(f"two tasks have the id {task.id!r}")
            seen.add(task.id)
        return self

    @property
    def digest(self) -> str:
        """SHA-256 of the tasks, in hexadecimal: equal for suites that ask and check the same."""
        tasks = [task.model_dump(mode="json") for task in self.tasks]
        return hashlib.sha256(json.dumps(tasks, sort_keys=True).encode()).hexdigest()

    @property
    def has_code(self) -> bool:
        """Whether answers are code that has to be run."""
        return any(isinstance(task, GenerationTask) for task in self.tasks)

    def only(self, ids: Iterable[str]) -> Suite:
        """Return the suite of the tasks named by *ids*, in the suite's order.

        Raises:
            ConfigurationError: There is no such task.
        """
        wanted = set(ids)
        known = [task.id for task in self.tasks]
        for name in sorted(wanted.difference(known)):
            raise ConfigurationError(
                f"suite.tasks: suite {self.name!r} has no task {name!r}; "
                f"{_nearest(name, known)}it has {', '.join(known)}"
            )
        return self.model_copy(update={"tasks": tuple(task for task in self.tasks if task.id in wanted)})


def load_suite(name: str, path: str | Path | None = None) -> Suite:
    """Read a suite: the packaged one of that name, or the file at *path*.

    Raises:
        ConfigurationError: There is no such suite, or its file is not valid; the message names file, task and key.
    """
    file = Path(path) if path is not None else PACKAGED / f"{name}.yaml"
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        if path is not None:
            raise ConfigurationError(f"suite.path: there is no file {file}") from None
        known = sorted(packaged.stem for packaged in PACKAGED.glob("*.yaml"))
        raise ConfigurationError(
            f"suite.name: no suite {name!r} is packaged; {_nearest(name, known)}"
            f"there is {', '.join(known)}; suite.path names a file of your own"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"suite.path: cannot read {file}: {error}") from error
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{file}: this is no YAML: {error}") from error
    try:
        return Suite.model_validate(data)
    except ValidationError as error:
        raise ConfigurationError("\n".join(_explain(file, data, problem) for problem in error.errors())) from error


def chosen_suite(chosen: SuiteSettings) -> Suite:
    """Read the suite that a configuration chooses, with the tasks that it chooses.

    Raises:
        ConfigurationError: There is no such suite or task, or the file is not valid.
    """
    suite = load_suite(chosen.name, chosen.path)
    return suite if chosen.tasks is None else suite.only(chosen.tasks)


def cassettes_of(suite: str, *, replay: bool) -> Path:
    """Return where a suite's cassettes are: in ``cassettes/bench`` of the current folder.

    A replay that finds none of the suite there takes those that ship with claudeprov.
    """
    own = Path("cassettes", "bench")
    if replay and not (own / file_name(suite)).is_dir():
        return cassettes_dir() / "bench"
    return own


def _explain(file: Path, data: Any, problem: Mapping[str, Any]) -> str:
    """Say in one line where *problem* is: the file, the task by its id, the key."""
    where = list(problem["loc"])
    place = f"{file}"
    if where[:1] == ["tasks"] and len(where) > 1:
        task = data["tasks"][where[1]]
        name = task.get("id") if isinstance(task, dict) else None
        place += f": task {name!r}" if name else f": task number {where[1] + 1}"
        where = where[3:] if where[2:3] and where[2] in _KINDS else where[2:]
    what = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        known = sorted(_keys(problem["loc"]))
        what = f"there is no such key; {_nearest(str(where[-1]), known)}allowed are {', '.join(known)}"
    key = "kind" if problem["type"].startswith("union_tag") else ".".join(map(str, where))
    return ": ".join(part for part in (place, key, what) if part)


def _keys(where: tuple[Any, ...]) -> Iterable[str]:
    """The keys allowed in the mapping at whose place a key is wrong."""
    if "checks" in where[:-1]:
        return Check.model_fields
    return next((kind.model_fields for name, kind in _KINDS.items() if name in where), Suite.model_fields)


def _nearest(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}? " if close else ""
