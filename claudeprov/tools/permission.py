"""Whether a tool may run: a hook decides, from its name, its arguments and its declared effects."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from claudeprov.tools.tool import Arguments, Effect

Decision = Literal["allow", "deny", "ask"]
"""``ask`` leaves it to a person."""

_STRICTEST: tuple[Decision, ...] = ("deny", "ask", "allow")


@dataclass(frozen=True, slots=True)
class PermissionRequest:
    """A call that wants to be made."""

    name: str
    arguments: Arguments
    """As the model gave them, valid."""
    effects: frozenset[Effect]


Permission = Callable[[PermissionRequest], Decision | Awaitable[Decision]]
"""A hook; if it raises, the loop ends with its error."""

Ask = Callable[[PermissionRequest], Awaitable[bool]]
"""Asks a person; true: it may run."""


@dataclass(frozen=True)
class ByEffect:
    """Decides by what running a tool does: the strictest decision on any of its effects."""

    decisions: Mapping[Effect, Decision] = field(default_factory=lambda: MappingProxyType({"read": "allow"}))
    """An effect that is left out is denied."""

    def __call__(self, request: PermissionRequest) -> Decision:
        found = {self.decisions.get(effect, "deny") for effect in request.effects}
        return next((decision for decision in _STRICTEST if decision in found), "allow")
