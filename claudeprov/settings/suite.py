"""What a run executes, and how."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from claudeprov.settings.kind import Group, Name
from claudeprov.settings.sandbox import SandboxSettings


class SuiteSettings(Group):
    """The data set of tasks that a run executes."""

    name: Name
    """Name of a packaged suite, or the name to give to the file at ``path``."""
    path: Name | None = None
    """File of a suite of your own; ``null``: the packaged suite called ``name``."""
    tasks: tuple[Name, ...] | None = None
    """Ids of the tasks to run; ``null``: all of them."""
    sandbox: SandboxSettings = SandboxSettings(require=())
    """Where the code of answers runs; as shipped, at the best level that the machine has."""

    @field_validator("tasks")
    @classmethod
    def _at_least_one(cls, tasks: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if tasks == ():
            raise ValueError("must name at least one task, or be null for all of them")
        return tasks


class LauncherSettings(Group):
    """How the jobs of a sweep are run."""

    kind: Literal["serial"] = "serial"
    """``serial``: one after another in this process."""
