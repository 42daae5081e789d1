"""Lines are read with their numbers; what is no text is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from claudeprov.tools.text import read_lines
from claudeprov.tools.tool import ToolError


def write(tmp_path: Path, content: bytes) -> str:
    (tmp_path / "file").write_bytes(content)
    return str(tmp_path)


def test_a_range_is_shown_with_its_numbers_and_the_length_of_the_file(tmp_path: Path):
    root = write(tmp_path, b"one\ntwo\r\nthree\nfour\n")
    assert read_lines(root, "file", 2, 3) == "     2\ttwo\n     3\tthree\n[The file has 4 lines.]"
    assert read_lines(root, "file") == "     1\tone\n     2\ttwo\n     3\tthree\n     4\tfour"


def test_only_newlines_end_lines(tmp_path: Path):
    root = write(tmp_path, "a\x0cb\u2028c\n d".encode())
    assert read_lines(root, "file") == "     1\ta\x0cb\u2028c\n     2\t d"


def test_a_long_file_is_cut_and_goes_on_where_it_says(tmp_path: Path):
    root = write(tmp_path, b"".join(b"line %d of a long file\n" % number for number in range(1, 2001)))
    seen: list[str] = []
    start = 1
    while True:
        *lines, note = read_lines(root, "file", start).split("\n")
        if not note.startswith("[Cut: lines"):
            seen += [*lines, note]
            break
        seen += lines
        start = int(note.split("start=")[1].rstrip(".]"))
    assert [line.split("\t")[1] for line in seen] == [f"line {number} of a long file" for number in range(1, 2001)]


def test_a_long_line_is_cut_and_goes_on_by_column(tmp_path: Path):
    root = write(tmp_path, b"a" * 1000 + b"b" * 500 + b"\nshort\n")
    cut = read_lines(root, "file").split("\n")
    assert cut[0] == "     1\t" + "a" * 1000 + " …[500 more characters]"
    assert cut[-1] == "[Lines that were cut go on with column=1001.]"
    assert read_lines(root, "file", 1, 1, column=1001).startswith("     1\t" + "b" * 500 + "\n")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0", "a PNG image, 10 bytes"),
        (b"\x7fELF\0\0", "an ELF program"),
        (b"abc\0def", "not text, 7 bytes"),
    ],
)
def test_binary_files_are_told_and_not_dumped(tmp_path: Path, content: bytes, what: str):
    with pytest.raises(ToolError, match=what):
        read_lines(write(tmp_path, content), "file")


def test_bytes_that_are_not_utf_8_are_told(tmp_path: Path):
    shown = read_lines(write(tmp_path, b"one\ncaf\xe9\n"), "file")
    assert shown.split("\n")[1:] == [
        "     2\tcaf\ufffd",
        "[The file is not UTF-8: byte 0xe9 in line 2 is none of it; such bytes are shown as \ufffd.]",
    ]


def test_utf_16_and_marks_of_utf_8_are_understood(tmp_path: Path):
    assert read_lines(write(tmp_path, "grün".encode("utf-16")), "file").startswith("     1\tgrün\n[The file is UTF-16.")
    assert read_lines(write(tmp_path, b"\xef\xbb\xbfx"), "file") == "     1\tx"


@pytest.mark.parametrize(("start", "end", "column"), [(0, None, 1), (3, 2, 1), (1, None, 0)])
def test_a_range_that_is_none_is_told(tmp_path: Path, start: int, end: int | None, column: int):
    with pytest.raises(ToolError, match="count from 1"):
        read_lines(write(tmp_path, b"x\n"), "file", start, end, column)


def test_a_start_behind_the_end_is_told(tmp_path: Path):
    with pytest.raises(ToolError, match="has 1 lines"):
        read_lines(write(tmp_path, b"x\n"), "file", 2)
    assert read_lines(write(tmp_path, b""), "file") == "[The file is empty.]"
