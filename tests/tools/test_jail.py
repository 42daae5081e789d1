"""No path leads out of the root, however it is written and whatever happens meanwhile."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from claudeprov.errors import ConfigurationError
from claudeprov.tools import jail
from claudeprov.tools.jail import ALLOWED, PathRefusedError, Root
from claudeprov.tools.tool import ToolError

SECRET = b"what is not to be read"


@pytest.fixture
def root(tmp_path: Path) -> Root:
    """A root with files and links in it, and a secret beside it."""
    (tmp_path / "secret.txt").write_bytes(SECRET)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.txt").write_bytes(SECRET)
    here = tmp_path / "root"
    (here / "src" / "deep").mkdir(parents=True)
    (here / "src" / "main.py").write_text("inside")
    (here / "docs").mkdir()
    (here / ".env").write_text("KEY=1")
    (here / ".env.example").write_text("KEY=")
    (here / ".git").mkdir()
    (here / ".git" / "config").write_text("token")
    (here / "server.PEM").write_text("key")
    for name, target in {
        "out": "..",
        "out_file": "../secret.txt",
        "out_folder": "../outside",
        "src/out": "../../secret.txt",
        "src/deep/out": "../../../outside",
        "src/winding": "deep/../../../secret.txt",
        "absolute": str(tmp_path / "secret.txt"),
        "absolute_inside": str(here / "src" / "main.py"),
        "system": "/",
        "proc": "/proc/self/root",
        "loop": "loop",
        "ring_a": "ring_b",
        "ring_b": "ring_a",
        "chained": "out_folder",
        "to_env": ".env",
        "to_git": "docs/../.git",
        "back": "../root/src/main.py",
        "good": "src/main.py",
        "src/up": "../docs",
        "good_folder": "src",
    }.items():
        (here / name).symlink_to(target)
    os.mkfifo(here / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        before = os.getcwd()
        os.chdir(here)  # the name of a socket is short
        try:
            server.bind("socket")
        finally:
            os.chdir(before)
    return Root(here)


ESCAPES = {
    # climbing
    "..": "holds ..",
    "../secret.txt": "holds ..",
    "../outside/secret.txt": "holds ..",
    "src/../../secret.txt": "holds ..",
    "src/..": "holds ..",
    "./../secret.txt": "holds ..",
    "src/deep/../../../secret.txt": "holds ..",
    "a/b/../../../secret.txt": "holds ..",
    "src//..//..//secret.txt": "holds ..",
    "..../secret.txt": "only dots and spaces",
    ".../secret.txt": "only dots and spaces",
    ".. /secret.txt": "only dots and spaces",
    " ../secret.txt": "only dots and spaces",
    ". ./secret.txt": "only dots and spaces",
    # absolute
    "/": "absolute",
    "/etc/passwd": "absolute",
    "//etc/passwd": "absolute",
    "///etc//passwd": "absolute",
    "/proc/self/environ": "absolute",
    "/proc/self/root/etc/passwd": "absolute",
    "/dev/stdin": "absolute",
    "/dev/fd/0": "absolute",
    "~": "~ is not expanded",
    "~/.ssh/id_rsa": "~ is not expanded",
    "~root/.bashrc": "~ is not expanded",
    # of other systems, and of other notations
    "..\\secret.txt": "Windows",
    "src\\..\\..\\secret.txt": "Windows",
    "C:\\Windows\\win.ini": "Windows",
    "C:/Windows/win.ini": "Windows",
    "c:secret.txt": "Windows",
    "\\\\host\\share\\secret.txt": "Windows",
    "\\\\?\\C:\\secret.txt": "Windows",
    "file:///etc/passwd": "URL",
    "file:/etc/passwd": "URL",
    "http://localhost/secret.txt": "URL",
    "%2e%2e/secret.txt": "URL-encoded",
    "..%2fsecret.txt": "URL-encoded",
    "%2E%2E%2Fsecret.txt": "URL-encoded",
    "src%5c..%5csecret.txt": "URL-encoded",
    "%252e%252e/secret.txt": "URL-encoded",
    "src/main.py%00.txt": "URL-encoded",
    # characters
    "": "empty",
    "src/main.py\0.txt": "control character",
    "\0": "control character",
    "src/main.py\n": "control character",
    "src\r/main.py": "control character",
    "src/\x1b[2Jmain.py": "control character",
    "src/\u202egpj.py": "control character",
    "src/ma\u200bin.py": "control character",
    "src/\u2028main.py": "control character",
    "src/\udce9.py": "control character",
    "..\u2215secret.txt": "looks like",
    "..\u2044secret.txt": "looks like",
    "..\uff0fsecret.txt": "looks like",
    "..\u29f8secret.txt": "looks like",
    "..\uff3csecret.txt": "looks like",
    "\uff0e\uff0e/secret.txt": "looks like",
    "\u2025/secret.txt": "looks like",
    "\u2024\u2024/secret.txt": "looks like",
    "a" * 256: "longer",
    "a/" * 2100: "longer",
    # links
    "out": "leads out",
    "out/secret.txt": "leads out",
    "out_file": "leads out",
    "out_folder/secret.txt": "leads out",
    "src/out": "leads out",
    "src/deep/out/secret.txt": "leads out",
    "src/winding": "leads out",
    "src/up/../out_file": "holds ..",
    "good_folder/out": "leads out",
    "chained/secret.txt": "leads out",
    "back": "leads out",
    "absolute": "absolute path",
    "absolute_inside": "absolute path",
    "system/etc/passwd": "absolute path",
    "proc/etc/passwd": "absolute path",
    "loop": "more than 40 symbolic links",
    "ring_a": "more than 40 symbolic links",
    # what is no file
    "fifo": "a FIFO",
    "socket": "a socket",
    "./fifo": "a FIFO",
    # secrets
    ".env": "hides",
    "./.env": "hides",
    ".git": "hides",
    ".git/config": "hides",
    "server.PEM": "hides",
    "to_env": "hides",
    "to_git/config": "hides",
    "src/../.env": "holds ..",
}


@pytest.mark.parametrize(("path", "why"), ESCAPES.items(), ids=[ascii(path)[:40] for path in ESCAPES])
def test_an_escape_is_refused_and_told_what_is_allowed(root: Root, path: str, why: str):
    for use in (root.open, root.read, root.resolve, root.scan, root.is_folder):
        with pytest.raises(PathRefusedError) as caught:
            use(path)
        assert why in str(caught.value)
        assert ALLOWED in str(caught.value)


def test_there_are_at_least_forty_escapes():
    assert len(ESCAPES) >= 40


@pytest.mark.parametrize(
    "path", ["src/main.py", "./src/main.py", "src//main.py", "good", "good_folder/main.py", "src/./main.py"]
)
def test_a_path_inside_is_read_and_links_inside_are_followed(root: Root, path: str):
    assert root.read(path) == b"inside"
    assert root.resolve(path) == "src/main.py"


def test_a_link_may_climb_as_long_as_it_stays_inside(root: Root):
    assert root.resolve("src/up") == "docs"
    assert root.is_folder("src/up")


@pytest.mark.parametrize(
    "path", ["$HOME/.bashrc", "${HOME}", "src/*", "`id`", "$(id)", "CON", "-rf", "src/main.py:stream"]
)
def test_nothing_in_a_path_is_expanded(root: Root, path: str):
    with pytest.raises(ToolError, match=r"There is no"):
        root.read(path)


@pytest.mark.parametrize("path", ["null", "zero", "random", "tty"])
def test_a_device_is_not_opened(path: str):
    with pytest.raises(PathRefusedError, match="a character device"):
        Root("/dev").read(path)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has these")
@pytest.mark.parametrize("path", ["proc/self/environ", "proc/self/root/etc/passwd", "proc/1/mem", "dev/null"])
def test_another_file_system_is_not_entered(path: str):
    with pytest.raises(PathRefusedError, match="another file system is mounted"):
        Root("/").read(path)


def test_a_file_that_is_a_folder_on_the_way_is_told(root: Root):
    with pytest.raises(ToolError, match=r"'src/main.py' is a file, so there is no"):
        root.read("src/main.py/secret.txt")


def test_a_missing_file_is_told_with_the_nearest_names_but_no_hidden_ones(root: Root):
    with pytest.raises(ToolError, match=r"holds no 'mian.py', but 'main.py'"):
        root.read("src/mian.py")
    with pytest.raises(ToolError, match=r"There is no '.evn'") as caught:
        root.read(".evn")
    assert "'.env'" not in str(caught.value)


def exchange_after_look(monkeypatch: pytest.MonkeyPatch, name: str, exchange) -> None:
    """Have somebody exchange *name* right after the jail looked at it."""
    look = os.stat

    def stat(path, *arguments, **keywords):
        status = look(path, *arguments, **keywords)
        if path == name and "dir_fd" in keywords:
            exchange()
        return status

    monkeypatch.setattr(os, "stat", stat)


def test_a_folder_exchanged_for_a_link_meanwhile_leads_nowhere(root: Root, monkeypatch: pytest.MonkeyPatch):
    deep = root.path / "src" / "deep"

    def exchange() -> None:
        if not deep.is_symlink():
            (deep / "out").unlink()
            deep.rmdir()
            deep.symlink_to("../../outside")

    exchange_after_look(monkeypatch, "deep", exchange)
    with pytest.raises(ToolError, match="changed while it was opened"):
        root.read("src/deep/secret.txt")


def test_a_link_exchanged_for_a_file_meanwhile_is_told_as_such(root: Root, monkeypatch: pytest.MonkeyPatch):
    link = root.path / "src" / "link.py"
    link.symlink_to("main.py")

    def exchange() -> None:
        if link.is_symlink():
            link.unlink()
            link.write_text("else")

    exchange_after_look(monkeypatch, "link.py", exchange)
    with pytest.raises(ToolError, match="changed while it was opened"):
        root.read("src/link.py")


def test_a_file_exchanged_for_a_link_meanwhile_is_not_read(root: Root, monkeypatch: pytest.MonkeyPatch):
    file = root.path / "src" / "main.py"

    def exchange() -> None:
        if not file.is_symlink():
            file.unlink()
            file.symlink_to("../../secret.txt")

    exchange_after_look(monkeypatch, "main.py", exchange)
    with pytest.raises(ToolError, match="changed while it was opened"):
        root.read("src/main.py")


def test_a_file_exchanged_for_a_fifo_meanwhile_is_refused_and_waits_for_nobody(
    root: Root, monkeypatch: pytest.MonkeyPatch
):
    file = root.path / "src" / "main.py"

    def exchange() -> None:
        if not file.is_fifo():
            file.unlink()
            os.mkfifo(file)

    exchange_after_look(monkeypatch, "main.py", exchange)
    with pytest.raises(PathRefusedError, match="a FIFO"):
        root.read("src/main.py")


def test_a_folder_moved_out_meanwhile_does_not_take_the_jail_along(root: Root, monkeypatch: pytest.MonkeyPatch):
    (root.path / "src" / "climber").symlink_to("deep/../../../secret.txt")

    def exchange() -> None:
        if (root.path / "src").exists():
            (root.path / "src").rename(root.path.parent / "moved")

    exchange_after_look(monkeypatch, "deep", exchange)
    with pytest.raises(PathRefusedError, match="leads out"):
        root.read("src/climber")


def test_a_file_that_is_too_long_is_told_with_the_limit(tmp_path: Path):
    (tmp_path / "long.txt").write_bytes(b"x" * 11)
    assert Root(tmp_path, max_bytes=11).read("long.txt") == b"x" * 11
    with pytest.raises(ToolError, match=r"has 11 bytes; files of at most 10 bytes are read"):
        Root(tmp_path, max_bytes=10).read("long.txt")


def test_a_file_that_grows_while_it_is_read_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "log.txt"
    file.write_bytes(b"x")
    fdopen = os.fdopen

    def growing(descriptor, mode):
        file.write_bytes(b"x" * 100)
        return fdopen(descriptor, mode)

    monkeypatch.setattr(os, "fdopen", growing)
    with pytest.raises(ToolError, match="grew over 10 bytes"):
        Root(tmp_path, max_bytes=10).read("log.txt")


def test_a_folder_is_listed_by_name_without_what_is_hidden(root: Root):
    found = root.scan(".")
    kinds = {entry.path: entry.kind for entry in found.entries}
    assert kinds["src"] == "folder"
    assert kinds["fifo"] == "other"
    assert kinds["out"] == "link"
    assert kinds[".env.example"] == "file"
    assert list(kinds) == sorted(kinds)
    assert not {".env", ".git", "server.PEM"} & kinds.keys()
    assert found.unseen == 3


def test_names_that_no_path_may_hold_are_counted_and_not_shown(tmp_path: Path):
    (tmp_path / "good.txt").touch()
    (tmp_path / "bad\nname.txt").touch()
    (tmp_path / "up\u2215there").touch()
    os.close(os.open(os.fsencode(tmp_path) + b"/latin-\xe9", os.O_CREAT | os.O_WRONLY))
    found = Root(tmp_path).scan()
    assert [entry.path for entry in found.entries] == ["good.txt"]
    assert found.unseen == 3


def test_a_name_that_is_not_utf_8_stands_in_nobodys_way(tmp_path: Path):
    (tmp_path / "good.txt").write_bytes(b"x")
    os.mkdir(os.fsencode(tmp_path) + b"/latin-\xe9")
    os.symlink(b"latin-\xe9/../good.txt", os.fsencode(tmp_path) + b"/link")
    assert Root(tmp_path).read("link") == b"x"
    with pytest.raises(ToolError, match="There is no 'latin'"):
        Root(tmp_path).read("latin")


def test_a_folder_with_too_many_entries_is_told(tmp_path: Path):
    for number in range(4):
        (tmp_path / str(number)).touch()
    with pytest.raises(ToolError, match="more than 3 entries"):
        Root(tmp_path, max_entries=3).scan()


def test_folders_and_files_are_told_apart(root: Root):
    with pytest.raises(ToolError, match="is a folder"):
        root.read("src")
    with pytest.raises(ToolError, match="is a file"):
        root.scan("src/main.py")


def test_what_is_hidden_can_be_configured(root: Root):
    open_root = Root.of({"path": str(root.path), "hidden": ["docs/"]})
    assert open_root.read(".env") == b"KEY=1"
    with pytest.raises(PathRefusedError, match="hides"):
        open_root.scan("docs")
    assert "docs" not in {entry.path for entry in open_root.scan().entries}


def test_a_root_that_is_no_folder_is_a_fault_of_the_configuration(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="is no folder"):
        Root(tmp_path / "nothing")


def test_no_descriptor_is_left_open(root: Root):
    before = os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []
    for path in ESCAPES:
        with pytest.raises(PathRefusedError):
            root.read(path)
    root.read("good")
    root.scan("src")
    assert len(os.listdir("/proc/self/fd") if before else []) == len(before)


def test_few_names_are_compared_with_a_missing_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for number in range(jail._NEAR + 100):
        (tmp_path / f"file_{number}").touch()
    (tmp_path / ("f" * 200)).touch()
    compared: list[list[str]] = []

    def near(part: str, known: list[str], n: int) -> list[str]:
        compared.append(known)
        return known[:n]

    monkeypatch.setattr(jail, "get_close_matches", near)
    with pytest.raises(ToolError, match="holds no 'file'"):
        Root(tmp_path).resolve("file")
    with pytest.raises(ToolError, match="holds no 'ffff"):
        Root(tmp_path).resolve("f" * 100)
    assert [jail._NEAR - 1 <= len(known) <= jail._NEAR for known in compared] == [True]
    assert max(map(len, compared[0])) <= jail._NEAR_LENGTH
