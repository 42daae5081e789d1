"""Try to break out of the sandbox, and say what came of it.

A script for a process in the sandbox (``python -I -S -B -c PROBE JOB``), started by :mod:`claudeprov.sandbox.level`. It
writes a JSON list of the guarantees that do not hold. What it is told of is real: a file and a listening socket of
the machine's, and the process that made them.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import socket
import struct
import sys
from collections.abc import Iterator
from typing import Any

FIOSETOWN = 0x8901


def read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def broken(job: dict[str, Any]) -> Iterator[str]:
    if read(job["file"]) == job["content"].encode():
        yield "read"
    with contextlib.suppress(OSError), open(job["file"], "r+b"):
        yield "write"
    process = job["process"]
    environment = read(f"/proc/{process}/environ")
    if environment and hashlib.sha256(environment).hexdigest() == job["environment"]:
        yield "environment"
    for signals in (may_kill, may_own):
        if signals(process) and start_of(process) == job["start"]:  # a namespace may have another with that number
            yield from ("neighbours", "processes")  # what can end the guard outlives it
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", job["port"]), timeout=1):
        yield "network"
    with contextlib.suppress(OSError):
        if os.fork() == 0:
            os._exit(0)
        yield "processes"
    with contextlib.suppress(MemoryError):
        bytearray(job["memory"])
        yield "memory"
    of = os.statvfs(".")
    if of.f_blocks * of.f_frsize > job["disk"]:
        yield "disk"


def may_kill(process: int) -> bool:
    with contextlib.suppress(OSError):
        os.kill(process, 0)
        return True
    return False


def may_own(process: int) -> bool:
    """Return whether a socket can be made a process's, who is then sent signals by what happens to that socket."""
    owner = struct.pack("i", process)
    with contextlib.suppress(OSError):
        fcntl.ioctl(0, FIOSETOWN, owner)
        return True
    with contextlib.suppress(OSError):
        fcntl.ioctl(socket.socketpair()[0], FIOSETOWN, owner)
        return True
    return False


def start_of(process: int) -> str:
    """Return when a process was started, in the kernel's ticks; "" where the system has no such file."""
    words = read(f"/proc/{process}/stat").decode(errors="replace").rpartition(")")[2].split()
    return words[19] if words else ""


if __name__ == "__main__":
    sys.stdout.write(json.dumps(list(broken(json.loads(sys.argv[1])))))
