"""A stranger's project: the wheel in an environment of its own, the tests that the documents show, and no network."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import Any

import pytest

from tests.server import Server
from tests.test_docs import blocks
from tests.test_plugin import answer

PYPROJECT = """
[tool.pytest.ini_options]
addopts = ["--block-network", "-p", "no:cacheprovider"]
asyncio_default_fixture_loop_scope = "function"
filterwarnings = ["error"]
"""


@pytest.fixture(scope="module")
def python(wheel_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter that has the wheel, and what it needs from our own environment."""
    folder = tmp_path_factory.mktemp("stranger") / "venv"
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    site = sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)})
    install = ["--no-deps", "--no-index", "--disable-pip-version-check", "--quiet", str(wheel_file)]
    subprocess.run([sys.executable, "-m", "pip", "--python", str(python), "install", *install], check=True)
    (Path(site) / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return python


async def pytest_in(project: Path, python: Path, *args: str, **environment: str) -> tuple[int, str]:
    """Run pytest as a stranger would; return its status and what it wrote."""
    own = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV", "PYTEST", "CLAUDE"))
    }
    own.update(environment, HOME=str(project))
    command = [str(python), "-m", "pytest", *args]
    ran: Any = await asyncio.to_thread(subprocess.run, command, cwd=project, env=own, capture_output=True, text=True)
    return ran.returncode, ran.stdout + ran.stderr


@pytest.mark.usefixtures("no_credentials")
async def test_a_strangers_project_records_its_test_once_and_runs_it_offline(python, tmp_path):
    first, *others = blocks("docs/testing.md", "python")
    assert len([line for line in first.splitlines() if line and not line.startswith("#")]) <= 10
    where = f"assert claudeprov.__file__.startswith({str(python.parents[1])!r})"
    wheel = f"import claudeprov\n\n\ndef test_it_is_the_wheel():\n    {where}\n"
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_weather.py").write_text("\n\n".join([first, *others, wheel]))
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    cassette = tmp_path / "cassettes" / "test_weather" / "test_the_weather_is_told_in_a_word.yaml"

    status, told = await pytest_in(tmp_path, python)
    assert status == 1
    assert f"there is no cassette {cassette}. To record it: pytest --record-mode=rewrite" in told

    async with Server(answer("Sun", "ny.")) as server:
        status, told = await pytest_in(
            tmp_path,
            python,
            "--record-mode=rewrite",
            ANTHROPIC_API_KEY="unused",
            CLAUDEPROV_ENDPOINT="compatible",
            CLAUDEPROV_ENDPOINT_BASE_URL=server.url,
        )
        assert (status, len(server.asked)) == (0, 1), told
    assert [path.name for path in tmp_path.rglob("*.yaml")] == [cassette.name]

    status, told = await pytest_in(tmp_path, python)
    assert status == 0, told
    assert "4 passed" in told
