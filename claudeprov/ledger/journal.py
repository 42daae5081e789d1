"""Journals: files in which rows wait for the database, and which outlive the process that writes them.

A line is the CRC-32 of its text in eight hexadecimal digits, a space, the text, and a line feed. It is written by one
``write(2)``: what is in the kernel survives the process, and a line that is torn all the same is known by its sum.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
from glob import escape
from pathlib import Path
from threading import Lock
from typing import Self
from zlib import crc32

_log = logging.getLogger(__name__)

_READ = 4 * 2**20
"""Bytes that are read at a time; a line that is longer is none of ours."""


class Journal:
    """A file of lines that one process has locked. Use :meth:`create` or :meth:`adopt`.

    One thread may append while another reads and drops.
    """

    def __init__(self, path: Path, file: int) -> None:
        self.path = path
        self._file = file
        self._read = 0
        self._next = 0
        self._torn = False
        self._lock = Lock()

    @classmethod
    def create(cls, base: Path) -> Self:
        """Make a journal beside *base* whose name begins like it.

        Raises:
            OSError: It cannot be written.
        """
        while True:
            path = base.with_name(f"{base.name}.outbox-{secrets.token_hex(4)}")
            file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC, 0o666)
            if _lock(file, path):
                return cls(path, file)
            os.close(file)  # another process took the new file for one that a dead process left

    @classmethod
    def adopt(cls, path: Path) -> Self | None:
        """Take over what a dead process left; ``None`` where one that lives holds it, or another has taken it.

        Raises:
            OSError: It cannot be opened.
        """
        try:
            file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        if _lock(file, path):
            return cls(path, file)
        os.close(file)
        return None

    def append(self, text: bytes) -> None:
        """Hand a line to the operating system.

        Raises:
            OSError: The disk is full, or the like; nothing of the line counts.
        """
        line = b"%08x %s\n" % (crc32(text), text)
        with self._lock:
            if self._torn:
                line = b"\n" + line
            self._torn = True
            left = memoryview(line)
            while left:
                left = left[os.write(self._file, left) :]
            self._torn = False

    def read(self) -> list[bytes] | None:
        """Return the next lines, but for torn ones, or ``None`` at the end; the same again until :meth:`drop`."""
        data = os.pread(self._file, _READ, self._read)
        end = data.rfind(b"\n") + 1
        if not end and len(data) == _READ:
            end = _READ
        self._next = self._read + end
        if not end:
            return None
        return [line[9:] for line in data[:end].split(b"\n") if line and self._is_whole(line)]

    def drop(self) -> None:
        """Forget what was read last: it is in the database."""
        self._read = self._next
        with self._lock:
            if self._read and self._read == os.fstat(self._file).st_size:
                os.ftruncate(self._file, 0)
                self._read = self._next = 0

    def sync(self) -> None:
        """Have the disk hold what was appended so far."""
        os.fsync(self._file)

    def close(self) -> None:
        """Let go of the file; it is removed if no line is left in it."""
        if self.read() is None:
            self.path.unlink(missing_ok=True)
        os.close(self._file)

    def _is_whole(self, line: bytes) -> bool:
        if line[:9] == b"%08x " % crc32(line[9:]):
            return True
        _log.warning("%s: a torn line of %d bytes was left out: %.40r", self.path, len(line), line)
        return False


def journals(base: Path) -> list[Path]:
    """Return where the journals beside *base* are, whoever holds them."""
    return sorted(base.parent.glob(f"{escape(base.name)}.outbox-*"))


def _lock(file: int, path: Path) -> bool:
    """Take the file for this process, unless another holds it or has removed it meanwhile."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.fstat(file).st_ino == os.stat(path).st_ino
    except (BlockingIOError, FileNotFoundError):
        return False
