"""Start one command locked in, watch over it, and leave nothing of it behind.

A script for a process of its own (``python -I -S -B -c GUARD FD``), started by :mod:`claudeprov.sandbox.run`. Through
the socket FD comes the job, a line of JSON; when the socket is shut, the command is ended. Into it goes one line
before the guard itself ends: ``{"refused": why}``, and nothing was run, or how the command ended.

Where the command has a process namespace the guard is its process 1, which nothing inside can stop, and with which all
of the namespace ends. Without one the command can start no other process (see :mod:`claudeprov.sandbox.filter`).
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import fcntl
import json
import os
import resource
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterator
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
CLONE_NEWUSER = 0x10000000
CLONE_NEWALL = 0x20000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x20000000 | 0x40000000  # but user and time
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE, MNT_DETACH = 2, 4, 8, 4096, 16384, 1 << 18, 2
SYS_MOUNT_SETATTR, AT_FDCWD, AT_RECURSIVE, MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID = 442, -100, 0x8000, 1, 2
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
TMP = "/tmp"  # noqa: S108
LOOK_SECONDS = 0.05
"""How often memory and files are looked at."""


def call(function: str, *arguments: Any) -> None:
    """Call a function of the C library that gives -1 for an error."""
    if getattr(LIBC, function)(*arguments) == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{function}: {os.strerror(number)}")


def mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    call("mount", source.encode(), target.encode(), kind and kind.encode(), flags, options and options.encode())


def enter_namespaces(job: dict[str, Any]) -> None:
    """Return as process 1 of new namespaces, in a root of its own; the process that was stays outside and waits."""
    user, group = os.getuid(), os.getgid()
    call("unshare", CLONE_NEWALL | (0 if user == 0 else CLONE_NEWUSER))
    if user != 0:
        for file, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            with open(f"/proc/self/{file}", "w") as told:
                told.write(text)
    first = os.fork()
    if first != 0:
        os.close(job["socket"])
        os._exit(os.waitstatus_to_exitcode(os.waitpid(first, 0)[1]) & 0xFF)
    call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    make_root(job)


def make_root(job: dict[str, Any]) -> None:
    """Leave the machine's files for a root that holds what :mod:`claudeprov.sandbox.root` lists, and /proc and /tmp."""
    root = job["mount_point"]
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
    os.mkdir(f"{root}/proc")
    os.mkdir(root + TMP)
    mount("proc", f"{root}/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount("tmpfs", root + TMP, "tmpfs", MS_NOSUID | MS_NODEV, f"mode=1777,size={job['disk']}")
    for path, source in job["binds"].items():
        target = root + path
        os.makedirs(target if os.path.isdir(source) else os.path.dirname(target), exist_ok=True)
        if not os.path.isdir(source):
            open(target, "w").close()
        mount(source, target, None, MS_BIND | MS_REC)
    for path, target in job["links"].items():
        os.symlink(target, root + path)
    set_attributes(root, AT_RECURSIVE, (MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID, 0))
    set_attributes(root + TMP, 0, (0, MOUNT_ATTR_RDONLY))
    os.chdir(root)
    call("pivot_root", b".", b".")
    call("umount2", b".", MNT_DETACH)
    bring_up_loopback()


def set_attributes(path: str, flags: int, change: tuple[int, int]) -> None:
    """Set and clear attributes of a mount."""
    attributes = struct.pack("QQQQ", *change, 0, 0)
    call("syscall", SYS_MOUNT_SETATTR, AT_FDCWD, path.encode(), flags, attributes, len(attributes))


def bring_up_loopback() -> None:
    """As bubblewrap does: programs may talk to themselves."""
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))


def start(job: dict[str, Any]) -> int:
    """Start the command in a process and a session of its own, and return its id."""
    guard = os.getpid()
    child = os.fork()
    if child != 0:
        return child
    try:
        os.setsid()
        leave_root(job)
        if job["alone"] and sys.platform == "linux":
            call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # after leave_root, which would undo it
            if os.getppid() != guard:
                os._exit(1)
        os.makedirs(job["folder"], exist_ok=True)
        os.chdir(job["folder"])
        for name, content in job["files"].items():
            os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
            with open(name, "xb") as file:
                file.write(base64.b64decode(content))
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # which Python ignores
            signal.signal(number, signal.SIG_DFL)
        for name, most in job["rlimits"].items():
            limit = getattr(resource, name)
            _, hard = resource.getrlimit(limit)
            soft, hard = (value if hard == resource.RLIM_INFINITY else min(value, hard) for value in most)
            resource.setrlimit(limit, (soft, hard))
        if job["filter"] is not None:
            stand_in, own = (struct.pack("I", number) for number in (job["own_pid"], os.getpid()))
            load_filter(base64.b64decode(job["filter"]).replace(stand_in, own))
        try:
            os.execvpe(job["command"][0], job["command"], job["environment"])  # noqa: S606
        except OSError as error:
            os.write(2, f"{job['command'][0]}: {error.strerror}\n".encode())
            os._exit(127)
    except BaseException as error:
        tell(job, refused=str(error))
    os._exit(1)


def leave_root(job: dict[str, Any]) -> None:
    """Where this is root, become a user who is nobody else, and give it the folder."""
    user = job["user"]
    if user is None:
        return
    if os.path.isdir(job["folder"]):
        os.chown(job["folder"], user, user)
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def load_filter(program: bytes) -> None:
    held = ctypes.create_string_buffer(program)
    call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    call("prctl", PR_SET_SECCOMP, 2, struct.pack("HP", len(program) // 8, ctypes.addressof(held)))


def watch(job: dict[str, Any], child: int) -> dict[str, Any]:
    """Wait for the command's end, or end it at a limit, and tell how it ended."""
    began, peak_memory = time.monotonic(), 0
    exit_code = ended_by = None
    poll = select.poll()
    poll.register(job["socket"], select.POLLIN)
    with contextlib.suppress(AttributeError, OSError):  # without it the end is noticed at the next look
        poll.register(os.pidfd_open(child), select.POLLIN)
    while ended_by is None:
        left = began + job["seconds"] - time.monotonic()
        ready = poll.poll(max(0, min(left, LOOK_SECONDS)) * 1000)
        memory = sum(memory_of(process) for process in processes(job, child))
        peak_memory = max(peak_memory, memory)
        if any(descriptor == job["socket"] for descriptor, _ in ready):
            ended_by = "caller"
        elif left <= 0:
            ended_by = "time"
        elif memory > job["memory"]:
            ended_by = "memory"
        elif not job["alone"] and files_in(TMP) > job["files_most"]:
            ended_by = "disk"
        for process, status, usage in ended_children():
            peak_memory = max(peak_memory, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))
            if process == child:
                exit_code = os.waitstatus_to_exitcode(status)
                used_up = usage.ru_utime + usage.ru_stime >= job["rlimits"]["RLIMIT_CPU"][0]
                out_of_time = exit_code == -signal.SIGXCPU or (exit_code == -signal.SIGKILL and used_up)
                ended_by = "cpu_time" if out_of_time else "itself"
    return {
        "exit_code": exit_code,
        "ended_by": ended_by,
        "seconds": time.monotonic() - began,
        "peak_memory": peak_memory,
    }


def ended_children() -> Iterator[tuple[int, int, resource.struct_rusage]]:
    """Yield the children that have ended, those that process 1 inherited included."""
    with contextlib.suppress(ChildProcessError):
        while (ended := os.wait4(-1, os.WNOHANG))[0] != 0:
            yield ended


def processes(job: dict[str, Any], child: int) -> list[int]:
    """Return the ids of the command's processes."""
    if job["alone"]:
        return [child]
    return [int(name) for name in os.listdir("/proc") if name.isdecimal() and int(name) != os.getpid()]


def memory_of(process: int) -> int:
    """Return the bytes of memory a process uses, with its part of what it shares; 0 where that is not told."""
    with contextlib.suppress(OSError):
        try:
            with open(f"/proc/{process}/smaps_rollup") as file:
                return next((int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:")), 0)
        except PermissionError:  # it hides; then what it shares counts wholly
            with open(f"/proc/{process}/statm") as file:
                return int(file.read().split()[1]) * resource.getpagesize()
    return 0


def files_in(folder: str) -> int:
    of = os.statvfs(folder)
    return of.f_files - of.f_ffree


def tell(job: dict[str, Any], **said: Any) -> None:
    with contextlib.suppress(OSError):  # nobody listens any more
        os.write(job["socket"], json.dumps(said).encode() + b"\n")


def main(descriptor: int) -> None:
    os.set_inheritable(descriptor, False)
    line = b""
    while not line.endswith(b"\n"):
        more = os.read(descriptor, 2**16)
        if not more:
            return None
        line += more
    job: dict[str, Any] = {**json.loads(line), "socket": descriptor}
    try:
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")  # if the machine has no memory left, this is what it ends first
        if job["mount_point"] is not None:
            enter_namespaces(job)
        if sys.platform == "linux":
            call("prctl", PR_SET_DUMPABLE, 0, 0, 0, 0)  # the command cannot reach into this process
        child = start(job)
        end = watch(job, child)
    except OSError as error:
        return tell(job, refused=str(error))
    if job["alone"]:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        if end["exit_code"] is None:
            os.kill(child, signal.SIGKILL)  # it may not have had the time to make its session
            os.waitpid(child, 0)
    tell(job, **end)
    return None


if __name__ == "__main__":
    main(int(sys.argv[1]))
    os._exit(0)
