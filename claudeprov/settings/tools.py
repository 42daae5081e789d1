"""Tools: what each is, and how the loop runs them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from claudeprov.settings.kind import Count, Duration, Group, Name
from claudeprov.tools.permission import Decision
from claudeprov.tools.tool import Effect


class ToolSettings(Group):
    """A tool, under its name."""

    model_config = ConfigDict(serialize_by_alias=True)

    target: Annotated[Name | None, Field(alias="_target_")] = None
    """A function of Python's, async or blocking, or a tool made of one; ``null``: the server runs it."""
    description: str | None = None
    """What it does, and when to use it; ``null``: the docstring of what runs it."""
    input_schema: dict[str, Any] | None = None
    """JSON Schema of its arguments; ``null``: from the signature of what runs it."""
    effects: tuple[Effect, ...] | None = None
    """What running it does, see ``permissions``; ``null``: what the target declares, or ``[read]``."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Arguments that what runs it gets beside the model's."""
    timeout: Duration | None = None
    """Most seconds that a call may take; ``null``: ``tools.timeout``."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Every other field of the API's definition: ``type``, ``strict``, ``cache_control``, ``max_uses`` ..."""


class PermissionSettings(Group):
    """What is decided on a tool, by its declared effects; the strictest decision on any of them holds."""

    read: Decision = "allow"
    """It looks at things."""
    write: Decision = "deny"
    """It changes things."""
    execute: Decision = "deny"
    """It runs code that is not ours."""
    network: Decision = "deny"
    """It talks to other machines."""

    @property
    def by_effect(self) -> Mapping[Effect, Decision]:
        """The decisions, by the effects that they are on."""
        return {"read": self.read, "write": self.write, "execute": self.execute, "network": self.network}


class ToolsSettings(Group):
    """Tools that the model may use, and how they are run."""

    declared: dict[Name, ToolSettings] = Field(default_factory=dict)
    """The tools by name."""
    root: Name = "."
    """Folder that tools which read files are kept to."""
    max_rounds: Count = 10
    """Answers of the model before the loop stops, paused and repeated ones included."""
    parallel: Count = 4
    """Calls of tools at a time."""
    timeout: Duration | None = 60.0
    """Most seconds of a call of a tool that does not say itself."""
    total: Duration | None = None
    """Most seconds of the whole, the model's answers included."""
    permissions: PermissionSettings = PermissionSettings()
    """What tools may do."""
