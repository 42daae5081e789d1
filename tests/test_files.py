"""Files are written whole or not at all, and take no other's place."""

from __future__ import annotations

import os
import socket
import stat
from errno import ENOSPC

import pytest

from claudeprov.errors import ConfigurationError
from claudeprov.files import replace_ours, write_whole


def is_ours(content):
    return content.startswith(b"ours")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_an_earlier_file_of_ours_gives_way_and_nothing_else_is_left(tmp_path):
    file = tmp_path / "new" / "file"
    replace_ours({file: b"ours, first"}, is_ours, "report")
    replace_ours({file: b"ours, second"}, is_ours, "report")
    assert file.read_bytes() == b"ours, second"
    assert names(file.parent) == ["file"]


def test_a_file_has_the_rights_that_every_new_file_has(tmp_path):
    plain, file = tmp_path / "plain", tmp_path / "file"
    plain.touch()
    write_whole({file: b""})
    assert stat.S_IMODE(file.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_of_several_files_none_is_written_where_one_is_not_ours(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(b"ours")
    second.write_bytes(b"mine")
    with pytest.raises(ConfigurationError, match="second is no report, and is not overwritten"):
        replace_ours({first: b"ours, new", second: b"ours, new"}, is_ours, "report")
    assert (first.read_bytes(), second.read_bytes()) == (b"ours", b"mine")
    assert names(tmp_path) == ["first", "second"]


def test_of_several_files_none_is_written_where_one_cannot_be_and_no_draft_is_left(tmp_path):
    first, second = tmp_path / "first", tmp_path / "no-folder" / "second"
    first.write_bytes(b"ours")
    second.parent.touch()
    with pytest.raises(ConfigurationError, match="cannot be"):
        replace_ours({first: b"ours, new", second: b"ours, new"}, is_ours, "report")
    assert first.read_bytes() == b"ours"
    assert names(tmp_path) == ["first", "no-folder"]


def test_a_full_disk_leaves_the_file_as_it_was_and_no_draft(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_bytes(b"ours")

    def full(draft, path):
        raise OSError(ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ConfigurationError, match="file cannot be written: No space left on device"):
        replace_ours({file: b"ours, new"}, is_ours, "report")
    assert file.read_bytes() == b"ours"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("suffix", ["", ".part"])
def test_what_a_link_points_to_is_not_touched(tmp_path, suffix):
    precious, link = tmp_path / "precious", tmp_path / f"file{suffix}"
    precious.write_bytes(b"ours")
    link.symlink_to(precious)
    if suffix:
        replace_ours({tmp_path / "file": b"ours, new"}, is_ours, "report")
    else:
        with pytest.raises(ConfigurationError, match="is a link or no regular file"):
            replace_ours({link: b"ours, new"}, is_ours, "report")
    assert precious.read_bytes() == b"ours"
    assert link.is_symlink()


def test_a_folder_a_pipe_and_a_socket_are_refused_at_once(tmp_path):
    folder, pipe, port = (tmp_path / name for name in ("folder", "pipe", "port"))
    folder.mkdir()
    os.mkfifo(pipe)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(port))
        for path in (folder, pipe, port):
            with pytest.raises(ConfigurationError, match="is a link or no regular file"):
                replace_ours({path: b"ours"}, is_ours, "report")
    assert names(tmp_path) == ["folder", "pipe", "port"]
