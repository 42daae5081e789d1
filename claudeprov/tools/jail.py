"""The jail of the file tools: every path a model names is followed from one root, and none leads out of it.

A path is checked as text, then walked one component at a time through open folders (``openat`` with ``O_NOFOLLOW``), so
that a folder or a link that is exchanged meanwhile leads nowhere else. Links are read and followed here, never by the
kernel; one that stays within the root works, one that is absolute or climbs over the root is refused.

What it does not stop: a hard link to a file outside is that file, and whoever may write in the root may put one there.
"""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Literal

from claudeprov.errors import ConfigurationError
from claudeprov.tools.patterns import Patterns
from claudeprov.tools.tool import ToolError

HIDDEN = (
    ".git",
    ".hg",
    ".svn",
    ".env",
    ".env.*",
    "!.env.example",
    "!.env.sample",
    "!.env.template",
    ".envrc",
    ".netrc",
    ".npmrc",
    ".pypirc",
    ".git-credentials",
    ".htpasswd",
    ".aws",
    ".azure",
    ".docker/config.json",
    ".gnupg",
    ".kube",
    ".ssh",
    "id_rsa*",
    "id_ed25519*",
    "id_ecdsa*",
    "*.pem",
    "*.key",
    "*.p12",
    "*.pfx",
    "*.jks",
    "*.keystore",
    "*.kdbx",
)
"""What no tool shows unless the configuration says otherwise: files of secrets, and the insides of version control."""

ALLOWED = "Allowed: a path relative to the root, with / between its parts, such as src/main.py, or . for the root."

_LOOKALIKES = frozenset("\u2044\u2215\u2216\u29f5\u29f8\u29f9\uff0f\uff3c\ufe68\u2024\u2025\uff0e\ufe52")
_ENCODED = re.compile(r"%(?:25)*(?:2e|2f|5c|00)", re.IGNORECASE)
_DRIVE = re.compile(r"[A-Za-z]:")
_NEAR = 500  # names among which those near a missing one are looked for, and most characters of such a name
_NEAR_LENGTH = 80
_LINKS = 40  # as the kernel allows on the way to one file
_KINDS = {
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
}


class PathRefusedError(ToolError):
    """A path that the jail does not follow; the message says why, and what is allowed."""

    def __init__(self, path: str, why: str) -> None:
        shown = path if len(path) <= 200 else path[:200] + "…"
        super().__init__(f"The path {shown!r} is refused: {why}. {ALLOWED}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing in a folder: ``path`` from the root, ``size`` in bytes (0 for all but files)."""

    path: str
    kind: Literal["file", "folder", "link", "other"]
    size: int = 0


@dataclass(frozen=True, slots=True)
class Folder:
    """What is in one folder, by name; ``unseen`` counts what is hidden or has a name that no path may hold."""

    entries: tuple[Entry, ...]
    unseen: int


class Root:
    """The one folder that a file tool may read.

    Args:
        path: The folder; relative to the current one.
        hidden: Patterns as in .gitignore of what is neither shown nor read; letter case does not matter.
        max_bytes: The longest file that is read.
        max_entries: The most entries of one folder that are looked at.
    Raises:
        ConfigurationError: The folder does not exist.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] = ".",
        *,
        hidden: Iterable[str] = HIDDEN,
        max_bytes: int = 4 * 1024 * 1024,
        max_entries: int = 20_000,
    ) -> None:
        self.path = Path(path).expanduser().resolve()
        if not self.path.is_dir():
            raise ConfigurationError(f"tools: the root {str(path)!r} is no folder; give one that exists")
        self.max_bytes = max_bytes
        self.max_entries = max_entries
        self._hidden = Patterns([pattern.casefold() for pattern in hidden])

    @classmethod
    def of(cls, root: Root | str | Mapping[str, Any]) -> Root:
        """Return the root that a configuration names: by its path alone, or by the arguments of this class."""
        if isinstance(root, Root):
            return root
        return cls(**root) if isinstance(root, Mapping) else cls(root)

    def resolve(self, path: str) -> str:
        """Return the path from the root with its links followed (``.`` for the root itself).

        Raises:
            PathRefusedError: The path, or a link in it, leads out, is hidden, or is neither file nor folder.
            ToolError: There is nothing there.
        """
        with self._descend(path) as descent:
            return "/".join(descent.place) or "."

    def is_folder(self, path: str) -> bool:
        """Tell a folder from a file; raises as ``resolve`` does."""
        with self._descend(path) as descent:
            return descent.file is None

    def open(self, path: str) -> BinaryIO:
        """Open a file to read its bytes; raises as ``resolve`` does, and for a folder or a file over ``max_bytes``."""
        with self._descend(path) as descent:
            if descent.file is None:
                raise ToolError(f"{path!r} is a folder; name a file in it, or list it.")
            # Should a FIFO have taken the file's place just now, opening it must not wait for a writer.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            descriptor = descent.open(descent.file, flags)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise PathRefusedError(path, f"it is {_kind(status.st_mode)}")
            if status.st_size > self.max_bytes:
                raise ToolError(
                    f"{path!r} has {status.st_size:,} bytes; files of at most {self.max_bytes:,} bytes are read."
                )
        except BaseException:
            os.close(descriptor)
            raise
        return os.fdopen(descriptor, "rb")

    def read(self, path: str) -> bytes:
        """Return a file's bytes; raises as ``open`` does."""
        with self.open(path) as file:
            content = file.read(self.max_bytes + 1)
        if len(content) > self.max_bytes:
            raise ToolError(
                f"{path!r} grew over {self.max_bytes:,} bytes while it was read; longer files are not read."
            )
        return content

    def scan(self, path: str = ".") -> Folder:
        """List one folder by name, links as links; raises as ``resolve`` does, and for a file."""
        entries: list[Entry] = []
        unseen = 0
        with self._descend(path) as descent:
            if descent.file is not None:
                raise ToolError(f"{path!r} is a file; name a folder.")
            with os.scandir(descent.folder) as found:
                for count, item in enumerate(found):
                    place = "/".join((*descent.place, item.name))
                    if count >= self.max_entries:
                        raise ToolError(
                            f"{path!r} holds more than {self.max_entries:,} entries; name a folder below it."
                        )
                    entry = _entry(place, item)
                    if _fault(item.name) or self.hides(place, folder=entry.kind == "folder"):
                        unseen += 1
                    else:
                        entries.append(entry)
        return Folder(tuple(sorted(entries, key=lambda entry: entry.path)), unseen)

    def hides(self, place: str, *, folder: bool = False) -> bool:
        """Whether the configuration hides the file or folder at this path from the root."""
        text = place.encode("utf-8", "replace").decode()  # a name on the disk need not be UTF-8
        return self._hidden.match(text.casefold() + "/" * folder) is True

    @contextmanager
    def _descend(self, path: str) -> Iterator[_Descent]:
        if why := _fault(path):
            raise PathRefusedError(path, why)
        descent = _Descent(self, path)
        try:
            descent.follow(path.split("/"))
            yield descent
        finally:
            descent.close()


class _Descent:
    """The way from the root to one place, each folder held open, so that ``..`` in a link goes back the way it came."""

    def __init__(self, root: Root, path: str) -> None:
        self.root = root
        self.path = path
        self.place: list[str] = []
        self.file: str | None = None
        self._folders = [os.open(root.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)]
        self._device = os.fstat(self.folder).st_dev

    @property
    def folder(self) -> int:
        return self._folders[-1]

    def close(self) -> None:
        while self._folders:
            os.close(self._folders.pop())

    def follow(self, parts: Sequence[str]) -> None:
        ahead = list(reversed(parts))
        links = 0
        while ahead:
            part = ahead.pop()
            if part in ("", "."):
                continue
            if self.file is not None:
                raise ToolError(f"{'/'.join(self.place)!r} is a file, so there is no {self.path!r}.")
            if part == "..":  # of a link: a model's own path has none
                self._climb()
                continue
            mode = self._look(part)
            if stat.S_ISLNK(mode):
                links += 1
                ahead.extend(reversed(self._target(part, links)))
                continue
            self.place.append(part)
            if self.root.hides("/".join(self.place), folder=stat.S_ISDIR(mode)):
                raise PathRefusedError(self.path, "the configuration hides it, as it may hold secrets")
            if stat.S_ISDIR(mode):
                self._enter(part)
            elif stat.S_ISREG(mode):
                self.file = part
            else:
                raise PathRefusedError(self.path, f"it is {_kind(mode)}")

    def open(self, name: str, flags: int) -> int:
        try:
            return os.open(name, flags, dir_fd=self.folder)
        except PermissionError:
            raise ToolError(f"{self.path!r} may not be read by this process.") from None
        except OSError as error:
            raise self._changed(error) from None

    def _changed(self, error: OSError) -> ToolError:
        return ToolError(f"{self.path!r} changed while it was opened ({os.strerror(error.errno or 0)}).")

    def _look(self, part: str) -> int:
        try:
            return os.stat(part, dir_fd=self.folder, follow_symlinks=False).st_mode
        except FileNotFoundError:
            raise ToolError(self._missing(part)) from None
        except OSError as error:
            raise ToolError(f"{self.path!r} cannot be read: {os.strerror(error.errno or 0)}.") from None

    def _missing(self, part: str) -> str:
        place = "/".join(self.place) or "."
        with os.scandir(self.folder) as found:
            known = [
                item.name
                for item in islice(found, _NEAR)
                if len(item.name) <= _NEAR_LENGTH
                and not self.root.hides("/".join((*self.place, item.name)), folder=item.is_dir(follow_symlinks=False))
            ]
        near = get_close_matches(part, known, n=3) if len(part) <= _NEAR_LENGTH else []
        return f"There is no {self.path!r}: {place!r} holds no {part!r}" + (
            f", but {', '.join(map(repr, near))}." if near else f". {ALLOWED}"
        )

    def _target(self, part: str, links: int) -> list[str]:
        try:
            target = os.readlink(part, dir_fd=self.folder)
        except OSError as error:  # something else has taken its place
            raise self._changed(error) from None
        if links > _LINKS:
            raise PathRefusedError(self.path, f"it goes through more than {_LINKS} symbolic links")
        if target.startswith("/"):
            raise PathRefusedError(self.path, f"{part!r} is a symbolic link to an absolute path")
        return target.split("/")

    def _climb(self) -> None:
        if not self.place:
            raise PathRefusedError(self.path, "a symbolic link in it leads out of the root")
        self.place.pop()
        os.close(self._folders.pop())

    def _enter(self, part: str) -> None:
        folder = self.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._folders.append(folder)
        if os.fstat(folder).st_dev != self._device:  # /proc, /sys, a network share
            raise PathRefusedError(self.path, f"another file system is mounted at {part!r}")


def _fault(path: str) -> str | None:
    """Say why no path may be written like this, or None."""
    parts = path.split("/")
    if not path:
        return "it is empty"
    if len(path) > 4096 or any(len(part.encode("utf-8", "surrogatepass")) > 255 for part in parts):
        return "it is longer than a path may be"
    for character in path:
        if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}:
            return f"it holds the control character U+{ord(character):04X}"
        if character in _LOOKALIKES:
            return f"it holds U+{ord(character):04X}, which looks like a separator or a dot"
    if path.startswith("/"):
        return "it is absolute"
    if "\\" in path or _DRIVE.match(path):
        return "it is written as on Windows"
    if path.startswith("~"):
        return "~ is not expanded"
    if "://" in path or path.startswith("file:"):
        return "it is a URL"
    if _ENCODED.search(path):
        return "it holds a URL-encoded separator or dot"
    if ".." in parts:
        return "it holds .."
    if any(part not in ("", ".") and not part.strip(" .") for part in parts):
        return "one of its parts is only dots and spaces"
    return None


def _entry(place: str, item: os.DirEntry[str]) -> Entry:
    try:
        if item.is_symlink():
            return Entry(place, "link")
        if item.is_dir(follow_symlinks=False):
            return Entry(place, "folder")
        if item.is_file(follow_symlinks=False):
            return Entry(place, "file", item.stat(follow_symlinks=False).st_size)
    except FileNotFoundError:
        pass  # gone since the folder was read
    return Entry(place, "other")


def _kind(mode: int) -> str:
    return _KINDS.get(stat.S_IFMT(mode), "neither file nor folder")
