"""Who uses a cassette: a suite that is still there, a test, or a file that names it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path

from claudeprov.bench.suite import PACKAGED

_SUFFIXES = (".py", ".md", ".yaml", ".yml", ".toml")
_NO_SOURCES = re.compile(r"\..*|__pycache__|cassettes|runs|build|dist|venv|node_modules")
_MAX_BYTES = 1_000_000


class Project:
    """The files of a project that may use cassettes: sources, suites and documents, not what is hidden or built.

    Args:
        root: Its folder; cassettes are in ``cassettes`` below it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    def owns(self, cassette: Path) -> bool:
        """Whether *cassette* is one of the project's own."""
        return cassette.resolve().is_relative_to(self.root / "cassettes")

    def users(self, cassette: Path, recorded_for: Iterable[str]) -> list[str]:
        """Name what uses *cassette*.

        Args:
            cassette: Its file.
            recorded_for: The suites and tests for which its interactions were recorded, by their own word.
        """
        found = [name for name in recorded_for if self._has_test(name) or self._has_suite(name)]
        return [*found, *(name for name in self._naming(cassette) if name not in found)]

    @cached_property
    def _texts(self) -> Mapping[str, str]:
        return dict(_texts_below(self.root)) if (self.root / "cassettes").is_dir() else {}

    def _has_suite(self, name: str) -> bool:
        if re.fullmatch(r"[\w-]+", name) is None:
            return False
        own = re.compile(rf"^name: *{name}\s*$.*^tasks:", re.MULTILINE | re.DOTALL)
        return (PACKAGED / f"{name}.yaml").is_file() or any(
            own.search(text) for file, text in self._texts.items() if file.endswith((".yaml", ".yml"))
        )

    def _has_test(self, name: str) -> bool:
        """Whether *name* is pytest's id of a test that is there: ``tests/test_it.py::TestClass::test_this[case]``."""
        file, _, path = name.partition("::")
        return _defines(self._texts.get(file, ""), path.partition("[")[0].rpartition("::")[2])

    def _naming(self, cassette: Path) -> Iterator[str]:
        """The files that name *cassette* by its path, and the tests whose name it bears, as pytest-recording has it."""
        path = cassette.resolve()
        if not path.is_relative_to(self.root):
            return
        named = path.relative_to(self.root).as_posix()
        test = path.stem.partition("[")[0].rpartition(".")[2]
        for file, text in self._texts.items():
            if named in text:
                yield file
            elif file.endswith(f"{path.parent.name}.py") and _defines(text, test):
                yield f"{file}::{test}"


def _defines(source: str, test: str) -> bool:
    return bool(test) and re.search(rf"\bdef {re.escape(test)}\(", source) is not None


def _texts_below(root: Path) -> Iterator[tuple[str, str]]:
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not _NO_SOURCES.fullmatch(name))
        for file in (Path(folder, name) for name in sorted(files) if name.endswith(_SUFFIXES)):
            if file.is_file() and file.stat().st_size <= _MAX_BYTES:
                yield file.relative_to(root).as_posix(), file.read_text(encoding="utf-8", errors="replace")
