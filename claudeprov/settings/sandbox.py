"""How far code that a model wrote is locked in, and what it may use."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from claudeprov.settings.kind import Count, Duration, Group

LevelName = Literal["bubblewrap", "namespaces", "limits"]
"""Levels of the sandbox, from the best down."""
Guarantee = Literal[
    "time",
    "memory",
    "file_size",
    "disk",
    "processes",
    "network",
    "write",
    "read",
    "environment",
    "neighbours",
]
"""What a level can guarantee; docs/sandbox.md says of each what it means."""


class SandboxSettings(Group):
    """Where code runs that a model wrote."""

    level: Literal["auto", "bubblewrap", "namespaces", "limits"] = "auto"
    """``auto``: the best level that this machine has; else this one or none."""
    require: tuple[Guarantee, ...] = ("memory", "disk", "processes", "network", "write", "read", "environment")
    """What the level must guarantee; nothing is run where it does not."""


class Limits(Group):
    """What one run may use."""

    seconds: Duration = 10.0
    """Time from its start to its end."""
    cpu_seconds: Count = 10
    """CPU time of each process."""
    memory_mib: Count = 512
    """Address space of each process; where processes are counted, also the memory of all of them."""
    file_mib: Count = 16
    """Size of each file."""
    disk_mib: Count = 64
    """Size of all files; each counts as 4 KiB at least."""
    processes: Count = 16
    """Processes and threads at a time, the command's own included."""
    output_kib: Count = 1024
    """Standard output, and standard error; a run that says more is ended."""
    open_files: Count = Field(default=256, ge=16)
    """Files that a process may hold open."""
