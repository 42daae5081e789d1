"""What code in a root of its own finds there: the interpreter, the system's programs and libraries, nothing else."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import PurePath

PYTHON = os.path.realpath(sys.executable)
"""The interpreter, without the packages of a virtual environment; with them it is ``sys.executable``."""
FOLDER = "/tmp/run"  # noqa: S108
"""Where a command starts: an empty folder, on the only file system that it can write to."""

_SYSTEM = ("/usr/bin", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libexec", "/bin", "/lib", "/lib32", "/lib64")
_OTHERS = ("/etc/ld.so.cache", "/etc/alternatives")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_LINKS = {
    **{"/dev/fd": "/proc/self/fd", "/dev/shm": "/tmp"},  # noqa: S108
    **{"/dev/stdin": "/proc/self/fd/0", "/dev/stdout": "/proc/self/fd/1", "/dev/stderr": "/proc/self/fd/2"},
}


@cache
def binds() -> dict[str, str]:
    """Return what is shown read-only: path there, and what it is here; devices too."""
    shown = {
        path: path for path in (*_SYSTEM, *_OTHERS, *_DEVICES) if os.path.exists(path) and not os.path.islink(path)
    }
    for path, source in _interpreter():
        if not any(path == folder or path.startswith(f"{folder}/") for folder in shown):
            shown[path] = source
    return shown


@cache
def links() -> dict[str, str]:
    """Return symbolic links: path there, and where it leads."""
    return {path: os.readlink(path) for path in _SYSTEM if os.path.islink(path)} | _LINKS


@cache
def parents() -> list[str]:
    """Return the folders that all of these are in, outer ones first."""
    folders = {str(folder) for path in (*binds(), *links()) for folder in PurePath(path).parents}
    return sorted(folders - {"/", "/tmp"})  # noqa: S108


def _interpreter() -> Iterator[tuple[str, str]]:
    """Yield the interpreter's files, its base installation's first."""
    lib = os.path.join(sys.base_prefix, "lib")
    folders = [lib, *map(sysconfig.get_path, ("stdlib", "platstdlib", "purelib", "platlib"))]
    for folder in sorted({folder for folder in folders if os.path.isdir(folder)}):
        yield folder, os.path.realpath(folder)
    yield PYTHON, PYTHON
    for file in (sys.executable, os.path.join(sys.prefix, "pyvenv.cfg")):
        if os.path.isfile(file):
            yield file, os.path.realpath(file)
