"""Run the code of one answer within hard limits, and say what its expressions give.

A script for a process of its own (``python -I -S -B harness.py JOB``), started by :mod:`claudeprov.bench.grade`, which
also says what the limits are worth. It knows the questions and not the right answers, so the code that it runs has
nothing to forge. It writes JSON lines: ``{"refused": why}``, and nothing is run, or ``{}``; then one for loading the
code and one for each expression, either ``{"value": repr}`` or ``{"raised": [class names], "message": text}``.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import struct
import sys
import types
from typing import Any

NOBODY = 65534
OUT_OF_MEMORY = b'{"raised": ["MemoryError", "Exception", "BaseException"], "message": "out of memory"}\n'


def leave_root() -> None:
    """Become the user nobody where this is root, who may write anywhere and whom no limit on processes binds.

    A container may have no such user, or not let root become it; then nothing changes.
    """
    if os.geteuid() != 0:
        return
    if sys.platform == "linux":  # the standard library may lie where nobody cannot go, such as /root
        sys.path[:] = [f"/proc/self/fd/{os.open(path, os.O_PATH)}" for path in sys.path if os.path.isdir(path)]
    try:
        os.chown(".", NOBODY, NOBODY)
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    except OSError:
        return


def set_limits(limits: dict[str, int]) -> None:
    """Set the limits for good: soft and hard alike, but for a last second of CPU time after the signal."""
    hard = {
        "RLIMIT_CORE": 0,
        "RLIMIT_NPROC": 0,
        "RLIMIT_NOFILE": 32,
        "RLIMIT_FSIZE": limits["file_bytes"],
    }
    if sys.platform != "darwin":  # whose kernel has no such limit
        hard["RLIMIT_AS"] = limits["memory_bytes"]
    for name, value in hard.items():
        resource.setrlimit(getattr(resource, name), (value, value))
    resource.setrlimit(resource.RLIMIT_CPU, (limits["cpu_seconds"], limits["cpu_seconds"] + 1))


def can_fork() -> bool:
    """Try it: some systems accept the limit on processes and ignore it."""
    try:
        child = os.fork()
    except BlockingIOError:
        return False
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return True


def filter_system_calls() -> None:
    """Have Linux refuse new processes and threads by a filter of system calls, which binds root as well."""
    numbers = {"x86_64": (56, 57, 58, 435), "aarch64": (220, 435)}.get(os.uname().machine, ())  # clone, fork ...
    if sys.platform != "linux" or not numbers:
        return
    import ctypes

    load_number, jump_if_equal, answer = 0x20, 0x15, 0x06
    allow, fail = 0x7FFF0000, 0x00050000 | errno.EAGAIN
    rules = [(load_number, 0, 0, 0)]
    rules += [(jump_if_equal, len(numbers) - place, 0, number) for place, number in enumerate(numbers)]
    rules += [(answer, 0, 0, allow), (answer, 0, 0, fail)]
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *rule) for rule in rules))
    header = ctypes.create_string_buffer(struct.pack("HP", len(rules), ctypes.addressof(program)))
    libc = ctypes.CDLL(None)
    set_no_new_privileges, set_seccomp, mode_filter = 38, 22, 2
    libc.prctl(set_no_new_privileges, 1, 0, 0, 0)
    libc.prctl(set_seccomp, mode_filter, header)


def main(job_file: str) -> None:
    with open(job_file, encoding="utf-8") as file:
        job = json.load(file)
    os.unlink(job_file)
    report = open(os.dup(1), "wb", buffering=0)  # noqa: SIM115
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)

    def tell(**outcome: Any) -> None:
        report.write(json.dumps(outcome).encode() + b"\n")

    os.environ.clear()  # where the interpreter itself put LC_CTYPE
    leave_root()
    set_limits(job["limits"])
    if can_fork():
        filter_system_calls()
        if can_fork():
            return tell(refused="the limit on processes does not hold on this system")
    tell()

    answer = types.ModuleType("answer")
    sys.modules["answer"] = answer

    def attempt(source: str, mode: str) -> Any:
        code = compile(source, "<answer>", mode, dont_inherit=True)
        return eval(code, answer.__dict__)  # noqa: S307

    for source, mode in [(job["code"], "exec"), *((call, "eval") for call in job["calls"])]:
        try:
            tell(value=repr(attempt(source, mode)))
        except MemoryError:
            report.write(OUT_OF_MEMORY)
            return None
        except BaseException as error:
            message = str(error).encode(errors="backslashreplace").decode()
            tell(raised=[kind.__name__ for kind in type(error).__mro__], message=message)
    return None


if __name__ == "__main__":
    main(sys.argv[1])
    os._exit(0)  # whatever the code left to run at exit does not run
