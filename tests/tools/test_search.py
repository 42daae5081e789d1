"""Text is found with what stands around it, in bounded time and bounded answers."""

from __future__ import annotations

from pathlib import Path

import pytest
import re2

from claudeprov.tools import search
from claudeprov.tools.jail import Root
from claudeprov.tools.search import search_text
from claudeprov.tools.tool import ToolError


@pytest.fixture
def root(tmp_path: Path) -> str:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.py").write_text("import os\n\ndef one():\n    return 1\n\ndef two():\n    return 'Grün.x'\n")
    (tmp_path / "src" / "b.ts").write_text("function one() {}\r\n")
    (tmp_path / "image.png").write_bytes(b"\x89PNG\0one")
    return str(tmp_path)


def test_matches_stand_under_their_files_with_their_lines(root: str):
    assert search_text(root, r"def (one|two)|function \w+").split("\n") == [
        "3 matching lines in 2 of 2 files; 1 files not searched (binary, too large or unreadable)",
        "src/a.py",
        "3:def one():",
        "6:def two():",
        "src/b.ts",
        "1:function one() {}",
    ]


def test_lines_around_are_shown_and_overlaps_joined(root: str):
    shown = search_text(root, r"^def", "src/a.py", context=1).split("\n")
    assert shown[2:] == ["2-", "3:def one():", "4-    return 1", "5-", "6:def two():", "7-    return 'Grün.x'"]
    assert search_text(root, "import", "src", context=3).split("\n")[2:] == [
        "1:import os",
        "2-",
        "3-def one():",
        "4-    return 1",
    ]


def test_a_literal_is_taken_as_it_is(root: str):
    assert search_text(root, "Grün.x", literal=True).startswith("1 matching lines")
    assert search_text(root, "Gr.n.x").startswith("1 matching lines")
    assert search_text(root, "Gr.n", literal=True).startswith("0 matching lines")


def test_case_and_globs_are_options(root: str):
    assert search_text(root, "DEF").startswith("0 matching lines")
    assert search_text(root, "DEF", ignore_case=True).startswith("2 matching lines")
    assert search_text(root, "one", globs=["*.ts"]).startswith("1 matching lines in 1 of 1 files")


@pytest.mark.parametrize("pattern", [r"(a)\1", r"(?<=x)y", r"a(?=b)", "(", "[z-a]", "(a{1000}){1000}", r"\p{Nothing}"])
def test_a_pattern_that_re2_does_not_know_is_told(root: str, pattern: str):
    with pytest.raises(ToolError, match=r"no regular expression of RE2.*literal=true"):
        search_text(root, pattern)


@pytest.mark.parametrize("pattern", ["", "x" * 1001])
def test_the_length_of_a_pattern_is_bounded(root: str, pattern: str):
    with pytest.raises(ToolError, match="1 to 1,000 characters"):
        search_text(root, pattern)


@pytest.mark.parametrize("pattern", [r"(a|aa)+$", r"(a+)+b", r"(.*)*x", r"(a?){40}a{40}$", r"(x+x+)+y"])
def test_no_pattern_runs_for_ever(tmp_path: Path, pattern: str):
    (tmp_path / "evil.txt").write_text(("a" * 5000 + "!\n" + "x" * 5000 + "\n") * 4)
    assert "matching lines in" in search_text(str(tmp_path), pattern)


def test_a_search_stops_at_its_time_and_says_so(root: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(search, "MAX_SECONDS", -1)
    assert "stopped after -1 s: name a folder or globs" in search_text(root, "one")


def test_a_search_stops_at_its_bound_and_pages_through_what_it_found(tmp_path: Path):
    (tmp_path / "many.txt").write_text("".join(f"found {number} of very many lines\n" for number in range(3000)))
    shown = search_text(str(tmp_path), "found")
    assert "2,000 matching lines" in shown
    assert "stopped after 2,000 lines" in shown
    offset = int(shown.rsplit("offset=", 1)[1].rstrip(".]"))
    assert (
        search_text(str(tmp_path), "found", offset=offset).split("\n")[2]
        == f"{offset + 1}:found {offset} of very many lines"
    )


def test_long_lines_are_clipped(tmp_path: Path):
    (tmp_path / "min.js").write_text("x" * 10_000)
    assert search_text(str(tmp_path), "x").endswith("x …[9,700 more characters]")


def test_a_match_of_nothing_is_each_line_and_no_line_behind_the_last(tmp_path: Path):
    (tmp_path / "a.txt").write_text("one\n\ntwo\n")
    assert search_text(str(tmp_path), "^").split("\n")[2:] == ["1:one", "2:", "3:two"]


def test_files_too_large_are_counted(tmp_path: Path):
    (tmp_path / "a.txt").write_text("one\n" * 10)
    shown = search_text({"path": str(tmp_path), "max_bytes": 10}, "one")
    assert shown == "0 matching lines in 0 of 0 files; 1 files not searched (binary, too large or unreadable)"


def test_many_matches_with_lines_around_them_are_bounded_too(tmp_path: Path):
    (tmp_path / "many.txt").write_text("found\n" * 2000)
    shown = search_text(str(tmp_path), "found", context=5)
    assert len(shown) < 20_200
    assert "[Cut: places 1 to " in shown


def test_a_file_too_large_that_is_named_is_counted_too(tmp_path: Path):
    (tmp_path / "a.txt").write_text("one\n" * 10)
    assert "1 files not searched" in search_text(Root(tmp_path, max_bytes=10), "one", "a.txt")


class Counted:
    """An expression that keeps what was searched."""

    def __init__(self, pattern: str) -> None:
        self.expression = re2.compile(pattern)
        self.searched: list[tuple[int, int]] = []

    def search(self, content: bytes, begin: int, end: int):
        self.searched.append((begin, end))
        return self.expression.search(content, begin, end)


def test_a_line_that_matched_is_not_searched_again():
    content = b"x" * 10 * search._PIECE
    expression = Counted("x*y|x")
    assert list(search._matching_lines(expression, content, float("inf"))) == [1]
    assert [end - begin for begin, end in expression.searched] == [search._PIECE] * 10


def test_a_match_is_looked_for_in_one_piece_of_whole_lines():
    content = b"x\n" * search._PIECE
    expression = Counted("[^y]*y|x")
    assert len(list(search._matching_lines(expression, content, float("inf")))) == search._PIECE
    assert max(end - begin for begin, end in expression.searched) == search._PIECE
    assert all(content[end - 1 : end] == b"\n" for _, end in expression.searched)


def test_no_line_is_searched_once_the_time_is_over():
    expression = Counted("x")
    assert list(search._matching_lines(expression, b"x\n" * 10, float("-inf"))) == []
    assert expression.searched == []


def test_matches_over_lines_are_found_where_they_begin(tmp_path: Path):
    (tmp_path / "a.txt").write_text("\n\n  foo\nbar foo\nbar\n")
    assert search_text(str(tmp_path), r"foo\nbar").split("\n")[2:] == ["3:  foo", "4:bar foo"]
    assert search_text(str(tmp_path), r"\s+foo").split("\n")[2:] == ["1:", "4:bar foo"]


def test_a_pattern_whose_program_is_large_is_told(root: str):
    with pytest.raises(ToolError, match="pattern too large"):
        search_text(root, r"(?:\pL{50}x){3}")
