"""Runs programs in the sandbox, at each level that this machine has."""

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import get_args

import pytest

from claudeprov.sandbox import Limits, root
from claudeprov.sandbox import level as levels
from claudeprov.sandbox.level import examine
from claudeprov.sandbox.run import execute
from claudeprov.settings.sandbox import LevelName

SYSTEM_PYTHON = os.path.realpath("/usr/bin/python3")


@pytest.fixture(params=get_args(LevelName))
async def level(request, monkeypatch):
    """A level, if this machine has it."""
    found = await examine(request.param)
    if found.missing is not None and os.geteuid() == 0:
        # root's own interpreter may lie where no other user can go
        monkeypatch.setattr(root, "PYTHON", SYSTEM_PYTHON)
        monkeypatch.delitem(levels._known, request.param)
        found = await examine(request.param)
    if found.missing is not None:
        if request.param == "bubblewrap" and "SERVERS_REQUIRED" in os.environ:
            pytest.fail(found.missing)
        pytest.skip(found.missing)
    return found


@pytest.fixture
def having(level):
    """Skips where the level does not guarantee something."""

    def check(*guarantees):
        lacking = sorted({*guarantees} - level.guarantees)
        if lacking:
            pytest.skip(f"{level.name} does not guarantee {', '.join(lacking)}")

    return check


@pytest.fixture
def run(level):
    """Runs a Python program at the level, with its arguments; of the limits, those that are named differ."""

    async def run_program(code, *arguments, files=None, stdin=b"", **limits):
        command = (root.PYTHON, "-I", "-S", "-c", dedent(code), *map(str, arguments))
        return await execute(level.name, files or {}, command, stdin=stdin, limits=Limits(**limits))

    return run_program


@pytest.fixture
def left():
    """Tells which processes of the machine have a word in their command line."""

    def find(word):
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if word.encode() in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
            except OSError:
                continue
        return found

    return find


@pytest.fixture
def neighbour():
    """Another process of the machine, with a key in its environment."""
    waits = (sys.executable, "-I", "-S", "-c", "import sys; sys.stdin.read()")
    with subprocess.Popen(waits, stdin=subprocess.PIPE, env={"SOME_API_KEY": "sk-of-another"}) as process:
        yield process
        process.communicate()
