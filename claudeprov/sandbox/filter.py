"""The system calls that code in the sandbox may not make: a filter for Linux's seccomp.

It shuts what the other means leave open: memory that is no process's own, new namespaces, other processes' memory, and
kernel interfaces that have had many holes and that no ordinary program needs. Where there are no namespaces
(``alone``) it stands in for them: no further process, no socket, no signal but to oneself.
"""

from __future__ import annotations

import errno
import platform
import struct
import sys
from collections.abc import Iterable, Sequence

OWN_PID = 0x5E1F0D1D
"""Stands in a filter for the id of the process that loads it."""

_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""For each machine its column in the tables below, and the kernel's number for it (``AUDIT_ARCH_...``)."""

# of <asm/unistd_64.h> and <asm-generic/unistd.h>
_DENIED = {
    # memory that no limit of a process counts
    **{"memfd_create": (319, 279), "memfd_secret": (447, 447)},
    **{"shmget": (29, 194), "msgget": (68, 186), "semget": (64, 190)},
    # other processes
    **{"ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271)},
    **{"pidfd_getfd": (438, 438), "kcmp": (312, 272), "process_madvise": (440, 440)},
    # namespaces and mounts
    **{"unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41)},
    **{"move_mount": (429, 429), "open_tree": (428, 428), "fsopen": (430, 430), "fsconfig": (431, 431)},
    **{"fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442), "chroot": (161, 51)},
    # what the kernel keeps for all, and interfaces that have had many holes
    **{"keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218), "syslog": (103, 116)},
    **{"bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "open_by_handle_at": (304, 265)},
}
_ABSENT = {"clone3": (435, 435), "io_uring_setup": (425, 425)}
"""Told to be missing, which programs know how to do without: a filter cannot see what these are asked for."""
_CLONE, _FORKS = (56, 220), ((57, None), (58, None))
_SOCKET, _SOCKETPAIR, _FCNTL, _IOCTL = (41, 198), (53, 199), (72, 25), (16, 29)
_PRCTL, _PRLIMIT = (157, 167), (302, 261)
_KILL, _TGKILL, _OTHER_SIGNALS = (62, 129), (234, 131), ((200, 130), (129, 138), (297, 240), (424, 424))

_NEW_NAMESPACES, _THREAD = 0x7E020000, 0x00010000  # flags of clone
_FAMILIES = (1, 2, 10, 16)  # AF_UNIX, AF_INET, AF_INET6, AF_NETLINK
_OWNER_OF_SIGNALS = (8, 10, 15)  # F_SETOWN, F_SETSIG, F_SETOWN_EX
_OWNER_OF_SOCKET = (0x8901, 0x8902)  # FIOSETOWN, SIOCSPGRP
_END_WITH_PARENT = 1  # PR_SET_PDEATHSIG

_LOAD, _IF_EQUAL, _IF_AT_LEAST, _IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _MACHINE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_ALLOW, _FAIL, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000

_Instruction = tuple[int, int, int, int]
"""Operation, how many instructions to skip if it holds, and if not, value."""


def program(*, alone: bool, threads: bool) -> bytes | None:
    """Return the filter in the kernel's form, or ``None`` where this machine's system calls are not known here.

    Args:
        alone: Further processes, sockets and signals to others are denied.
        threads: Where ``alone``, whether threads are not.
    """
    if not sys.platform.startswith("linux") or platform.machine() not in _MACHINES or struct.calcsize("P") != 8:
        return None
    column, machine = _MACHINES[platform.machine()]
    rules: list[_Instruction] = []

    def deny(numbers: Sequence[int | None], error: int, condition: Iterable[_Instruction] = ()) -> None:
        """Deny one system call; *condition* skips the denial, by one, where the call is allowed."""
        number = numbers[column]
        if number is not None:
            block = (*condition, (_RETURN, 0, 0, _FAIL | error), (_RETURN, 0, 0, _ALLOW))
            rules.extend(((_IF_EQUAL, 0, len(block), number), *block))

    for denied in _DENIED.values():
        deny(denied, errno.EPERM)
    for absent in _ABSENT.values():
        deny(absent, errno.ENOSYS)
    if alone:
        for fork in _FORKS:
            deny(fork, errno.EAGAIN)
        deny(_CLONE, errno.EAGAIN, _condition(0, (_THREAD,), denied=False, test=_IF_ANY_BIT) if threads else ())
        deny(_SOCKET, errno.EPERM)
        deny(_SOCKETPAIR, errno.EPERM)
        deny(_KILL, errno.EPERM, _condition(0, (OWN_PID, 0), denied=False))  # 0: the own process group
        deny(_TGKILL, errno.EPERM, _condition(0, (OWN_PID,), denied=False))
        for signal in _OTHER_SIGNALS:
            deny(signal, errno.EPERM)
        deny(_FCNTL, errno.EPERM, _condition(1, _OWNER_OF_SIGNALS, denied=True))
        deny(_IOCTL, errno.EPERM, _condition(1, _OWNER_OF_SOCKET, denied=True))
        deny(_PRCTL, errno.EPERM, _condition(0, (_END_WITH_PARENT,), denied=True))
        deny(_PRLIMIT, errno.EPERM, _condition(0, (0, OWN_PID), denied=False))
    else:
        deny(_CLONE, errno.EPERM, _condition(0, (_NEW_NAMESPACES,), denied=True, test=_IF_ANY_BIT))
        deny(_SOCKET, errno.EAFNOSUPPORT, _condition(0, _FAMILIES, denied=False))
    head = [(_LOAD, 0, 0, _MACHINE), (_IF_EQUAL, 1, 0, machine), (_RETURN, 0, 0, _KILL_PROCESS), (_LOAD, 0, 0, _NUMBER)]
    if column == 0:  # the numbers of x32 are another way to the same calls
        head += [(_IF_AT_LEAST, 0, 1, 0x40000000), (_RETURN, 0, 0, _KILL_PROCESS)]
    return b"".join(struct.pack("HBBI", *rule) for rule in (*head, *rules, (_RETURN, 0, 0, _ALLOW)))


def _condition(argument: int, values: Sequence[int], *, denied: bool, test: int = _IF_EQUAL) -> Iterable[_Instruction]:
    """Deny the call where the argument is one of *values*, or unless it is.

    Only the argument's lower half is looked at: all of these are ints, and the kernel drops the upper half as well.
    """
    yield _LOAD, 0, 0, _ARGUMENTS + 8 * argument
    for place, value in enumerate(values):
        yield test, len(values) - place, 0, value
    if denied:
        yield _RETURN, 0, 0, _ALLOW
