"""One run of a command at one level of the sandbox."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from claudeprov.errors import SandboxUnavailableError
from claudeprov.sandbox import root
from claudeprov.sandbox.filter import OWN_PID, program
from claudeprov.settings.sandbox import LevelName, Limits

EndedBy = Literal["itself", "time", "cpu_time", "memory", "disk", "output"]
"""What ended a run: the command itself, or the limit that it ran into."""

_GUARD = Path(__file__).with_name("guard.py").read_text(encoding="utf-8")
_GRACE_SECONDS = 5.0
"""How long the guard may take beyond the command's time to start, and to clear up."""
_USERS = range(61184, 65520)
"""Ids that systemd keeps for services without a user of their own; a container has them too."""
_numbers = count(secrets.randbelow(len(_USERS)))


@dataclass(frozen=True, slots=True)
class Finished:
    """How a run ended."""

    exit_code: int | None
    """Negative: the signal that ended the command. ``None``: it was ended at a limit."""
    ended_by: EndedBy
    stdout: bytes
    stderr: bytes
    cut: bool
    """Whether one of the two is not all that was said."""
    seconds: float
    peak_memory: int
    """Bytes, as seen every 50 ms, and at least what the largest process used."""
    level: LevelName
    """Where it ran."""


async def execute(
    level: LevelName, files: Mapping[str, str | bytes], command: Sequence[str], *, stdin: bytes, limits: Limits
) -> Finished:
    """Run *command* at *level* in a folder with *files*; nothing that it started is left afterwards.

    Raises:
        SandboxUnavailableError: The level cannot be had on this machine, or broke down.
    """
    async with contextlib.nullcontext("") if level == "bubblewrap" else _folder() as folder:
        job = _job(level, files, command, limits, folder)
        around = _bubblewrap(limits) if level == "bubblewrap" else []
        ours, theirs = socket.socketpair()
        with theirs:
            said, leash = await asyncio.open_connection(sock=ours)
            try:
                process = await _start(around, theirs.fileno(), leash)
            except BaseException as error:
                leash.close()
                if isinstance(error, OSError):
                    raise SandboxUnavailableError(f"{level}: cannot be started: {error}") from error
                raise
        return await _attend(level, process, said, leash, job, stdin, limits)


async def _start(around: Sequence[str], descriptor: int, leash: asyncio.StreamWriter) -> asyncio.subprocess.Process:
    """Start the guard; if that is cancelled, the guard has ended when this raises."""
    starting = asyncio.create_task(
        asyncio.create_subprocess_exec(
            *around,
            *(root.PYTHON, "-I", "-S", "-B", "-c", _GUARD, str(descriptor)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=(descriptor,),
            cwd="/",
            env={},
            start_new_session=True,
        )
    )
    try:
        return await asyncio.shield(starting)  # Python 3.11 waits for ever if it is cancelled before it has its pipes
    except asyncio.CancelledError:
        while not starting.done():
            with contextlib.suppress(asyncio.CancelledError):  # a second one; it takes some milliseconds
                await asyncio.wait([starting])
        if starting.exception() is None:
            await _end(starting.result(), leash)
        raise


async def _attend(
    level: LevelName,
    process: asyncio.subprocess.Process,
    said: asyncio.StreamReader,
    leash: asyncio.StreamWriter,
    job: Mapping[str, Any],
    stdin: bytes,
    limits: Limits,
) -> Finished:
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    leash.write(json.dumps(job).encode() + b"\n")
    report: dict[str, Any] = {}
    most = limits.output_kib * 1024
    outputs = [_Output(stream, most, leash) for stream in (process.stdout, process.stderr)]
    try:
        async with asyncio.timeout(limits.seconds + _GRACE_SECONDS):
            await asyncio.gather(_feed(process.stdin, stdin), *(output.read() for output in outputs))
            with contextlib.suppress(ConnectionError):  # it ended without a word
                report = json.loads((await said.readline()) or b"{}")
    except TimeoutError:
        report = {"refused": "it did not end in time"}
    finally:
        await _end(process, leash)
    stdout, stderr = (bytes(output.kept) for output in outputs)
    if "ended_by" not in report:
        why = report.get("refused") or stderr.decode(errors="replace").strip()
        raise SandboxUnavailableError(f"{level}: {why or f'ended with status {process.returncode}'}")
    if report["ended_by"] == "caller":
        report["ended_by"] = "output"
    cut = any(output.cut for output in outputs)
    return Finished(**report, stdout=stdout, stderr=stderr, cut=cut, level=level)


async def _end(process: asyncio.subprocess.Process, leash: asyncio.StreamWriter) -> None:
    """Have the guard end, which ends the command, and wait for that."""
    assert process.stdin is not None
    leash.close()
    process.stdin.close()
    try:
        async with asyncio.timeout(_GRACE_SECONDS):
            await process.communicate()
    except TimeoutError:
        process.kill()
        await process.communicate()


@dataclass(slots=True)
class _Output:
    """What the command says on one of its streams: so much is kept, and with the next byte the run is ended."""

    stream: asyncio.StreamReader
    most: int
    leash: asyncio.StreamWriter
    kept: bytearray = field(default_factory=bytearray)
    cut: bool = False

    async def read(self) -> None:
        while data := await self.stream.read(2**16):
            room = self.most - len(self.kept)
            self.kept += data[:room]
            if len(data) > room and not self.cut:
                self.cut = True
                self.leash.write_eof()


async def _feed(stream: asyncio.StreamWriter, data: bytes) -> None:
    with contextlib.suppress(ConnectionError):  # the command may read none of it
        stream.write(data)
        await stream.drain()
    stream.close()


def _job(
    level: LevelName, files: Mapping[str, str | bytes], command: Sequence[str], limits: Limits, folder: str
) -> dict[str, Any]:
    """Return what the guard is told."""
    alone = level == "limits"
    filtered = program(alone=alone, threads=limits.processes > 1)
    home = folder if alone else root.FOLDER
    return {
        "alone": alone,
        "mount_point": folder if level == "namespaces" else None,
        "binds": root.binds(),
        "links": root.links(),
        "folder": home,
        "files": {_checked(name): _base64(content) for name, content in files.items()},
        "command": list(command),
        "environment": {
            "PATH": f"{os.path.dirname(sys.executable)}:/usr/bin:/bin",
            "HOME": home,
            "TMPDIR": home,
            "LANG": "C.UTF-8",
        },
        "user": _USERS[next(_numbers) % len(_USERS)] if os.geteuid() == 0 else None,
        "filter": filtered and _base64(filtered),
        "own_pid": OWN_PID,
        "rlimits": _rlimits(level, limits),
        "seconds": limits.seconds,
        "memory": limits.memory_mib * 2**20,
        "disk": limits.disk_mib * 2**20,
        "files_most": limits.disk_mib * 2**20 // 4096,
    }


def _rlimits(level: LevelName, limits: Limits) -> dict[str, tuple[int, int]]:
    most = {
        "RLIMIT_CORE": 0,
        "RLIMIT_FSIZE": limits.file_mib * 2**20,
        "RLIMIT_NOFILE": limits.open_files,
    }
    if sys.platform != "darwin":  # whose kernel has no such limit
        most["RLIMIT_AS"] = limits.memory_mib * 2**20
    if not sys.platform.startswith("linux"):
        most["RLIMIT_NPROC"] = 0
    elif level != "limits":
        # counted for each user of a namespace: root gives the command a user of its own, else the guard's count too
        guards = 0 if os.geteuid() == 0 else 2 if level == "namespaces" else 1
        most["RLIMIT_NPROC"] = limits.processes + guards
    cpu = {"RLIMIT_CPU": (limits.cpu_seconds, limits.cpu_seconds + 1)}  # a last second after the signal
    return {name: (value, value) for name, value in most.items()} | cpu


def _bubblewrap(limits: Limits) -> list[str]:
    """Return the command that starts the guard as process 1 of new namespaces, in a root of its own."""
    program = shutil.which("bwrap")
    if program is None:
        raise SandboxUnavailableError("bubblewrap: the program bwrap is not installed")
    words = [program, "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    if os.geteuid() == 0:  # the guard makes the command another user's, with these rights, and looks at its memory
        words += [
            "--cap-drop",
            "ALL",
            "--cap-add",
            "CAP_SETUID",
            "--cap-add",
            "CAP_SETGID",
            "--cap-add",
            "CAP_SYS_PTRACE",
        ]
    else:
        words += ["--unshare-user"]
    words += ["--die-with-parent", "--as-pid-1", "--new-session", "--clearenv", "--proc", "/proc"]
    words += ["--perms", "1777", "--size", str(limits.disk_mib * 2**20), "--tmpfs", "/tmp"]  # noqa: S108
    for folder in root.parents():  # which bubblewrap itself would shut to others
        words += ["--perms", "0755", "--dir", folder]
    for path, source in root.binds().items():
        words += ["--dev-bind" if path.startswith("/dev/") else "--ro-bind", source, path]
    for path, target in root.links().items():
        words += ["--symlink", target, path]
    return [*words, "--remount-ro", "/", "--"]


def _checked(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.name or "\0" in name:
        raise ValueError(f"{name!r} is no path below the folder in which the command starts")
    return name


def _base64(content: str | bytes) -> str:
    return base64.b64encode(content.encode() if isinstance(content, str) else content).decode()


@contextlib.asynccontextmanager
async def _folder() -> AsyncIterator[str]:
    """Yield a new folder, and remove it with whatever is in it then."""
    folder = tempfile.mkdtemp(prefix="claudeprov-")
    try:
        yield folder
    finally:
        try:
            os.rmdir(folder)
        except OSError:
            await asyncio.to_thread(_remove, folder)  # other calls are being timed meanwhile


def _remove(folder: str) -> None:
    # not shutil.rmtree, which gives up on folders nested a thousand deep
    for command in (["chmod", "-R", "u+rwX"], ["rm", "-rf"]):
        subprocess.run([*command, folder], check=False, stderr=subprocess.DEVNULL)  # noqa: S603
