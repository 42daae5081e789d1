"""What a user gets: the wheel, and the versions that it was developed with."""

import re
import tomllib
from email import message_from_bytes
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import claudeprov

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONSTRAINTS = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]


@pytest.fixture(scope="module")
def wheel(wheel_file):
    """The files of the wheel."""
    with ZipFile(wheel_file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def metadata(wheel, name):
    return wheel[f"claudeprov-{claudeprov.__version__}.dist-info/{name}"]


@pytest.mark.parametrize("folder", ["conf", "cassettes/bench"])
def test_the_wheel_holds_the_same_files_as_the_checkout(wheel, folder):
    files = [path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    there = {f"claudeprov/{path.relative_to(ROOT).as_posix()}": path.read_bytes() for path in files}
    assert there
    assert {name: content for name, content in wheel.items() if name.startswith(f"claudeprov/{folder}/")} == there


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    modules = {
        path.relative_to(ROOT).as_posix()
        for pattern in ("*.py", "*.typed", "*.yaml", "*.lua")
        for path in (ROOT / "claudeprov").rglob(pattern)
    }
    assert modules <= wheel.keys()
    assert {name.partition("/")[0] for name in wheel} == {
        "claudeprov",
        f"claudeprov-{claudeprov.__version__}.dist-info",
    }


def test_the_wheel_is_typed_licensed_and_has_its_command(wheel):
    told = message_from_bytes(metadata(wheel, "METADATA"))
    assert told["Version"] == claudeprov.__version__
    assert told["Requires-Python"] == ">=3.11"
    assert told["License-Expression"] == "MIT"
    assert "claudeprov/py.typed" in wheel
    assert b"MIT License" in metadata(wheel, "licenses/LICENSE")
    assert metadata(wheel, "entry_points.txt").decode().split() == [
        *("[console_scripts]", "claudeprov", "=", "claudeprov.commands:main"),
        *("[pytest11]", "claudeprov", "=", "claudeprov.testing.plugin"),
    ]


def test_constraints_pin_exact_versions_and_name_no_place_to_get_them_from():
    assert [line for line in CONSTRAINTS if not re.fullmatch(r"[a-z0-9-]+==[0-9a-z.]+", line)] == []


def declared():
    """Every requirement of ``pyproject.toml``."""
    project = PROJECT["project"]
    lists = (
        PROJECT["build-system"]["requires"],
        project["dependencies"],
        *project["optional-dependencies"].values(),
        *PROJECT["dependency-groups"].values(),
    )
    return [Requirement(text) for texts in lists for text in texts]


@pytest.mark.parametrize("requirement", declared(), ids=str)
def test_every_requirement_is_pinned_to_a_version_that_it_allows(requirement):
    pins = dict(line.split("==") for line in CONSTRAINTS) | {"claudeprov": claudeprov.__version__}
    assert pins[canonicalize_name(requirement.name)] in requirement.specifier
