"""What is wrong with a configuration, said so that it can be put right and that no secret shows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from inspect import isclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from claudeprov.errors import ConfigurationError
from claudeprov.mask import MASK
from claudeprov.mask import masked_text as without_secrets
from claudeprov.settings import Settings

_LONGEST = 300
"""Characters of a value that a message shows."""
_SENSITIVE = re.compile(
    r"(?:^|[_.-])(?:(?:api)?_?key|token|secret|password|credentials?|authorization)$", re.IGNORECASE
)


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: a key, its value, where that came from, what is allowed, and the nearest name."""

    key: str
    what: str
    origin: str
    value: Any = None
    allowed: tuple[str, ...] = ()
    nearest: str | None = None

    def __str__(self) -> str:
        given = "" if self.value is None else f" = {_shortened(repr(self.value))}"
        hint = f"; did you mean {self.nearest}?" if self.nearest else ""
        allowed = f" (allowed: {', '.join(self.allowed)})" if self.allowed else ""
        origin = f", from {self.origin}" if self.origin else ""
        return f"{self.key}{given}{origin}: {self.what}{hint}{allowed}"


def problem(
    key: str, what: str, origin: str, *, value: Any = None, allowed: Iterable[str] = (), word: Any = None
) -> Problem:
    """Make a problem, with *value* masked and with the name among *allowed* that is nearest to *word*."""
    allowed = tuple(allowed)
    close = get_close_matches(str(word), allowed, n=1, cutoff=0.5)
    return Problem(key, what, origin, masked(key, value), allowed, close[0] if close else None)


def configuration_error(*problems: Problem) -> ConfigurationError:
    """Return the error that lists *problems*; ``context["problems"]`` holds them as mappings."""
    lines = [str(problem) for problem in problems]
    if len(lines) > 1:
        lines.insert(0, f"{len(lines)} problems with the configuration")
    return ConfigurationError("\n  ".join(lines), context={"problems": [asdict(problem) for problem in problems]})


def problems_of(error: ValidationError, values: Mapping[str, Any], origins: Mapping[str, str]) -> list[Problem]:
    """Return what pydantic found wrong with the composed *values*, each key once."""
    found: dict[str, Problem] = {}
    for details in error.errors(include_url=False):
        one = _problem_of(details, values, origins)
        found.setdefault(one.key, one)  # more than one are branches of a union
    return list(found.values())


def origin_of(key: str, origins: Mapping[str, str]) -> str:
    """Return where a dotted key's value came from: that of the key, of the last value in it, or of what holds it."""
    inside = [origin for name, origin in origins.items() if name.startswith(f"{key}.")]
    while key not in origins and not inside and "." in key:
        key = key.rpartition(".")[0]
    return origins.get(key) or (inside[-1] if inside else "its default")


def siblings(parent: str) -> tuple[str, ...]:
    """Return the names of the keys that may stand under a dotted key, or at the top under an empty one."""
    groups: list[type[BaseModel]] = [Settings]
    for part in filter(None, parent.split(".")):
        # Any other part is a place in a list, or a name of the user's own.
        if found := [group.model_fields[part].annotation for group in groups if part in group.model_fields]:
            groups = [group for annotation in found for group in _groups_in(annotation)]
    return tuple(name for group in groups for name in group.model_fields)


def masked(key: str, value: Any) -> Any:
    """Return *value* as it may be shown: ``**********`` under a sensitive key, and for a secret within a text."""
    if value is not None and _SENSITIVE.search(key):
        return MASK
    if isinstance(value, str) and "://" in value and (key == "url_env" or key.startswith("alerts.channels.")):
        return MASK  # a variable's name may be shown, but not the URL that somebody gave in its place
    if isinstance(value, Mapping):
        return {name: masked(str(name), item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [masked(key, item) for item in value]
    return without_secrets(value) if isinstance(value, str) else value


def masked_text(text: str) -> str:
    """Return *text*, an override or a message about one, on one line and without a secret."""
    key, equals, _ = text.partition("=")
    return f"{key}={MASK}" if equals and _SENSITIVE.search(key) else without_secrets(" ".join(text.split()))


def _groups_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _groups_in(part)


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _problem_of(details: ErrorDetails, values: Mapping[str, Any], origins: Mapping[str, str]) -> Problem:
    path: list[str] = []
    node: Any = values
    for part in details["loc"]:
        try:
            node = node[part]
        except (LookupError, TypeError):
            if details["type"] != "missing":
                break  # what follows names a branch of a union
            node = None
        path.append(str(part))
    key, parent, name = ".".join(path), ".".join(path[:-1]), path[-1]
    origin = origin_of(key, origins)
    match details["type"]:
        case "missing":
            return problem(key, "is missing", origin)
        case "extra_forbidden":
            what = f"{parent} has no such key" if parent else "there is no such group or key"
            return problem(key, what, origin, value=node, allowed=siblings(parent), word=name)
        case "literal_error":
            allowed = re.findall(r"'([^']*)'", details["ctx"]["expected"])
            return problem(key, "is none of the values that there are", origin, value=node, allowed=allowed, word=node)
    what = details["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return problem(key, what, origin, value=node)
