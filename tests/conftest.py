"""What several tests share: no credentials, the tests' own server, and counts for the summary."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")

COUNTS = pytest.StashKey["Counter[str]"]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[COUNTS] = Counter()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if counts := config.stash[COUNTS]:
        told = ", ".join(f"{count} {what}" for what, count in counts.items())
        terminalreporter.write_line(f"recorded sessions of the corpus: {told}")


@pytest.fixture
def counts(pytestconfig: pytest.Config) -> Counter[str]:
    """How much of the corpus was gone through; told in the summary."""
    return pytestconfig.stash[COUNTS]


@pytest.fixture(scope="session")
def wheel_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel that is built from the checkout."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=Path(__file__).parents[1], check=True, capture_output=True)
    [file] = folder.glob("*.whl")
    return file


@pytest.fixture
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine that no one has logged in on."""
    for name in os.environ:
        if name.startswith(("ANTHROPIC_", "AWS_", "GOOGLE_", "CLOUD_ML_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_GCE_CHECK", "true")


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that configures nothing."""
    for name in [name for name in os.environ if name.startswith("CLAUDEPROV_")]:
        monkeypatch.delenv(name)
