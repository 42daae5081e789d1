"""A result is bounded, whatever its parts are, and says how to ask for what it left out."""

from __future__ import annotations

import pytest

from claudeprov.tools.paging import MAX_CHARS, clipped, page


def test_all_that_fits_is_shown_without_a_note():
    assert page(["a", "b"], 0, "things", head="two") == "two\na\nb"
    assert page([], 0, "things", head="none") == "none"


def test_a_heading_is_said_once_for_blocks_that_follow_each_other():
    blocks, headings = ["1", "2", "3", "4"], ["x", "x", "y", "x"]
    assert page(blocks, 0, "things", headings=headings) == "x\n1\n2\ny\n3\nx\n4"
    assert page(blocks, 1, "things", headings=headings) == "x\n2\ny\n3\nx\n4"


@pytest.mark.parametrize(
    ("blocks", "headings"),
    [
        (["x" * 100] * 1000, []),
        (["x" * 100] * 1000, [f"{number:0500}" for number in range(1000)]),
        (["x" * 100_000], []),
        (["line\n" * 10_000] * 3, []),
    ],
)
def test_no_result_is_longer_than_its_bound(blocks: list[str], headings: list[str]):
    assert len(page(blocks, 0, "things", headings=headings)) < MAX_CHARS + 200


def test_every_block_is_reached_by_following_the_notes():
    blocks = [f"{number} " + "x" * (number % 700) for number in range(500)]
    seen: list[str] = []
    offset = 0
    while True:
        lines = page(blocks, offset, "things").split("\n")
        cut = lines[-1].startswith("[Cut: things")
        seen += lines[:-1] if cut else lines
        if not cut:
            break
        offset = int(lines[-1].split("offset=")[1].rstrip(".]"))
    assert seen == blocks


def test_an_offset_that_is_none_is_told_or_the_first():
    assert "There are only 2 things" in page(["a", "b"], 2, "things")
    assert page(["a"], -5, "things") == "a"


def test_a_long_line_is_clipped_with_a_count():
    assert clipped("x" * 12, 10) == "x" * 10 + " …[2 more characters]"
    assert clipped("x" * 10, 10) == "x" * 10
