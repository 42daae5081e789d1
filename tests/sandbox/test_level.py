"""Levels: tried once, chosen by what is asked for, and refused plainly."""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError

from claudeprov.errors import SandboxUnavailableError
from claudeprov.sandbox import Sandbox, SandboxSettings, probe
from claudeprov.sandbox import level as levels
from claudeprov.sandbox.level import Level, examine
from claudeprov.settings.sandbox import Guarantee, LevelName

ALL = frozenset(get_args(Guarantee))
WEAK = frozenset({"time", "memory", "file_size"})


@pytest.fixture
def machine(monkeypatch):
    """A machine of which all is known already."""

    def make(**levels):
        known = {
            name: levels.get(name) or Level(name, frozenset(), f"{name}: not here") for name in get_args(LevelName)
        }
        monkeypatch.setattr("claudeprov.sandbox.level._known", known)

    return make


async def chosen(**settings):
    return (await Sandbox(SandboxSettings(**settings)).level()).name


async def test_the_best_level_is_chosen(machine):
    machine(bubblewrap=Level("bubblewrap", ALL), namespaces=Level("namespaces", ALL), limits=Level("limits", WEAK))
    assert await chosen() == "bubblewrap"
    machine(namespaces=Level("namespaces", ALL), limits=Level("limits", WEAK))
    assert await chosen() == "namespaces"
    machine(limits=Level("limits", WEAK))
    assert await chosen(require=()) == "limits"


async def test_a_level_that_guarantees_less_than_is_asked_for_is_passed_over(machine):
    machine(bubblewrap=Level("bubblewrap", WEAK), namespaces=Level("namespaces", ALL))
    assert await chosen(require=("network",)) == "namespaces"
    assert await chosen(require=("memory",)) == "bubblewrap"


async def test_a_level_that_is_named_is_that_one_or_none(machine):
    machine(bubblewrap=Level("bubblewrap", ALL), limits=Level("limits", WEAK))
    assert await chosen(level="limits", require=()) == "limits"
    with pytest.raises(SandboxUnavailableError, match="namespaces: not here"):
        await chosen(level="namespaces", require=())


async def test_a_refusal_says_what_is_missing_and_what_to_do(machine):
    machine(limits=Level("limits", WEAK))
    with pytest.raises(SandboxUnavailableError) as caught:
        await Sandbox(SandboxSettings(require=("network", "time", "read"))).run({}, ["true"])
    assert caught.value.code == "sandbox_unavailable"
    assert caught.value.message == (
        "code that a model wrote is not run, since no level of the sandbox does here what the configuration asks "
        "(bubblewrap: not here; namespaces: not here; limits: does not guarantee network, read): "
        "install bubblewrap, let this user make namespaces, or ask less of level and require"
    )
    assert caught.value.context == {"level": "auto", "require": ["network", "time", "read"]}


async def test_nothing_is_asked_for_that_is_no_guarantee():
    with pytest.raises(ValidationError, match="'network'"):
        SandboxSettings(require=("internet",))


async def test_a_machine_is_tried_once(monkeypatch):
    monkeypatch.setattr(levels, "_known", {})
    assert await examine("limits") is await examine("limits")


async def test_without_bubblewrap_it_is_said_to_be_missing(monkeypatch):
    monkeypatch.setattr(levels, "_known", {})
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert await examine("bubblewrap") == Level(
        "bubblewrap", frozenset(), "bubblewrap: the program bwrap is not installed"
    )


async def test_a_bubblewrap_that_may_not_work_is_told_in_its_own_words(monkeypatch, tmp_path):
    denied = tmp_path / "bwrap"
    denied.write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n")
    denied.chmod(0o755)
    monkeypatch.setattr(levels, "_known", {})
    monkeypatch.setattr(shutil, "which", lambda name: str(denied))
    assert (await examine("bubblewrap")).missing == "bubblewrap: bwrap: setting up uid map: Permission denied"


async def test_a_machine_whose_system_calls_are_not_known_has_no_more_than_limits(monkeypatch):
    monkeypatch.setattr(levels, "_known", {})
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    assert (await examine("bubblewrap")).missing == "bubblewrap: needs Linux on x86-64 or ARM64"
    assert not {"processes", "network"} & (await examine("limits")).guarantees


async def test_the_best_levels_guarantee_everything_and_limits_what_the_docs_say(level):
    as_root = {"environment", "neighbours"} if os.geteuid() == 0 else set()
    if level.name == "limits":
        assert level.guarantees == {"time", "memory", "file_size", "processes", "network"} | as_root
    else:
        assert level.guarantees == ALL


async def test_a_guarantee_that_a_program_breaks_is_no_longer_given(level, monkeypatch):
    """A machine on which the network is open, played by a probe that says so."""
    monkeypatch.setattr(levels, "_known", {})
    monkeypatch.setattr(levels, "_PROBE", "print('[\"network\"]')")
    assert (await examine(level.name)).guarantees == level.guarantees - {"network"}


def test_the_probe_finds_what_is_open_where_nothing_is_shut(tmp_path):
    """It is run as it is, with no sandbox around it."""
    (tmp_path / "file").write_text("a word")
    with socket.create_server(("127.0.0.1", 0)) as server:
        job = {
            "file": str(tmp_path / "file"),
            "content": "a word",
            "process": os.getpid(),
            "start": probe.start_of(os.getpid()),
            "environment": hashlib.sha256(probe.read("/proc/self/environ")).hexdigest(),
            "port": server.getsockname()[1],
            "memory": 2**20,
            "disk": 0,
        }
        command = [sys.executable, probe.__file__, json.dumps(job)]
        said = subprocess.run(command, capture_output=True, check=True).stdout
    assert set(json.loads(said)) == ALL - {"time", "file_size"}


def test_the_probe_finds_that_a_socket_can_be_made_anothers():
    code = "import os; from claudeprov.sandbox.probe import may_own; print(may_own(os.getppid()))"
    checkout = Path(probe.__file__).parents[2]
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, cwd=checkout).stdout
    assert said == b"True\n"
