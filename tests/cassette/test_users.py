from __future__ import annotations

from pathlib import Path

import pytest

from claudeprov.cassette.users import Project

CASSETTE = "cassettes/test_sky/test_it_is_blue.yaml"


@pytest.fixture
def project(tmp_path) -> Project:
    write(tmp_path / CASSETTE, "")
    return Project(tmp_path)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def users(project: Project, *recorded_for: str, cassette: str = CASSETTE) -> list[str]:
    return project.users(project.root / cassette, recorded_for)


def test_a_packaged_suite_uses_what_was_recorded_for_it(project):
    assert users(project, "code") == ["code"]


def test_a_suite_of_the_project_uses_what_was_recorded_for_it(project):
    write(project.root / "suites" / "own.yaml", "# ours\nname: own\ndescription: x\ntasks: []\n")
    assert users(project, "own", "other") == ["own"]


def test_a_test_that_is_there_uses_its_cassette(project):
    write(project.root / "tests" / "test_a.py", "class TestA:\n    async def test_x(self): ...\n")
    there = ["tests/test_a.py::TestA::test_x[a::b]", "tests/test_a.py::TestA::test_x"]
    gone = ["tests/test_a.py::TestA::test_y", "tests/test_b.py::test_x", "tests/test_a.py::", "::"]
    assert users(project, *there, *gone, cassette="cassettes/x.yaml") == there


@pytest.mark.parametrize("name", ["test_it_is_blue", "TestSky.test_it_is_blue", "test_it_is_blue[noon]"])
def test_a_test_uses_the_cassette_that_bears_its_name(project, name):
    write(project.root / "tests" / "deep" / "test_sky.py", "def test_it_is_blue(): ...\n")
    used = users(project, cassette=f"cassettes/test_sky/{name}.yaml")
    assert used == ["tests/deep/test_sky.py::test_it_is_blue"]


def test_a_file_that_names_it_uses_it(project):
    write(project.root / "README.md", f"See {CASSETTE}.")
    assert users(project) == ["README.md"]


@pytest.mark.parametrize("folder", [".venv", "runs", "cassettes", "build"])
def test_what_is_built_hidden_or_a_result_uses_nothing(project, folder):
    write(project.root / folder / "x.md", CASSETTE)
    assert users(project) == []


def test_a_folder_without_cassettes_is_not_searched(tmp_path, monkeypatch):
    monkeypatch.setattr("os.walk", lambda _: pytest.fail("it was searched"))
    assert Project(tmp_path).users(Path("x.yaml"), ["code", "none"]) == ["code"]


def test_the_project_owns_what_is_in_its_folder_of_cassettes(project):
    assert project.owns(project.root / CASSETTE)
    assert not project.owns(project.root / "x.yaml")
