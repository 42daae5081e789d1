"""The levels of the sandbox: what each guarantees, whether this machine has it, and which one is chosen."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from claudeprov.errors import SandboxUnavailableError
from claudeprov.sandbox import probe, root
from claudeprov.sandbox.filter import program
from claudeprov.sandbox.run import execute
from claudeprov.settings.sandbox import Guarantee, LevelName, Limits, SandboxSettings


@dataclass(frozen=True, slots=True)
class Level:
    """What is known of a level on this machine."""

    name: LevelName
    guarantees: frozenset[Guarantee]
    """What it guarantees here; empty where the machine does not have it."""
    missing: str | None = None
    """Why the machine does not have it."""


_PROBE = Path(probe.__file__).read_text(encoding="utf-8")
_known: dict[LevelName, Level] = {}


async def choose(settings: SandboxSettings) -> Level:
    """Return the best level that *settings* allow.

    Raises:
        SandboxUnavailableError: There is none; with what is missing, and what can be done.
    """
    names = get_args(LevelName) if settings.level == "auto" else (settings.level,)
    reasons = []
    for name in names:
        level = await examine(name)
        lacking = [guarantee for guarantee in settings.require if guarantee not in level.guarantees]
        if level.missing is None and not lacking:
            return level
        reasons.append(level.missing or f"{name}: does not guarantee {', '.join(lacking)}")
    raise SandboxUnavailableError(
        f"code that a model wrote is not run, since no level of the sandbox does here what the configuration asks "
        f"({'; '.join(reasons)}): install bubblewrap, let this user make namespaces, or ask less of level and require",
        context={"level": settings.level, "require": list(settings.require)},
    )


async def examine(name: LevelName) -> Level:
    """Return what *name* guarantees on this machine: tried once, by a program that tries to break out."""
    if name not in _known:
        try:
            _known[name] = Level(name, _promised(name) - await _broken(name))
        except SandboxUnavailableError as error:
            _known[name] = Level(name, frozenset(), error.message)
    return _known[name]


def _promised(name: LevelName) -> frozenset[Guarantee]:
    """Return what a level is made to guarantee."""
    if name != "limits":
        return frozenset(get_args(Guarantee))
    promised: set[Guarantee] = {"time", "file_size", "memory"}
    if program(alone=True, threads=False) is not None:
        promised |= {"processes", "network"}
    if os.geteuid() == 0:  # whose command is another user
        promised |= {"environment", "neighbours"}
    return frozenset(promised)


async def _broken(name: LevelName) -> set[Guarantee]:
    """Return which guarantees a program that was run at that level found not to hold."""
    if name != "limits" and program(alone=False, threads=True) is None:
        raise SandboxUnavailableError(f"{name}: needs Linux on x86-64 or ARM64")
    limits = Limits(processes=1, memory_mib=256)
    with tempfile.NamedTemporaryFile("w") as file, socket.create_server(("127.0.0.1", 0)) as server:
        os.chmod(file.name, 0o666)  # noqa: S103 - only the sandbox stands between it and the program
        file.write(content := secrets.token_hex())
        file.flush()
        job = {
            "file": file.name,
            "content": content,
            "process": os.getpid(),
            "start": probe.start_of(os.getpid()),
            "environment": hashlib.sha256(probe.read("/proc/self/environ")).hexdigest(),
            "port": server.getsockname()[1],
            "memory": limits.memory_mib * 2**20,
            "disk": limits.disk_mib * 2**20,
        }
        command = (root.PYTHON, "-I", "-S", "-B", "-c", _PROBE, json.dumps(job))
        finished = await execute(name, {}, command, stdin=b"", limits=limits)
    if finished.exit_code != 0:
        lines = finished.stderr.decode(errors="replace").splitlines() or [f"ended by {finished.ended_by}"]
        raise SandboxUnavailableError(f"{name}: a first program fails in it: {lines[-1]}")
    return set(json.loads(finished.stdout))
