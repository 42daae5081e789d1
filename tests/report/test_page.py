"""A page: one file, nothing but text in it that others wrote, and no other file lost to it."""

from __future__ import annotations

import re
from datetime import timedelta
from html.parser import HTMLParser

import pytest

from claudeprov.errors import ConfigurationError
from claudeprov.report.charts import draw
from claudeprov.report.content import Chart, Point, shown
from claudeprov.report.page import page_of, save
from claudeprov.report.runs import report_of
from tests.report.made import HOSTILE, NOW, failed, result, task


class Elements(HTMLParser):
    """The names and attributes of a page's elements."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def hostile():
    """Two runs in which every name, text and key means harm."""
    rows = [task(name, verdict="failed", detail=name, model=name, stop_reason=name, text=name) for name in HOSTILE]
    rows += [failed(f"f{number}", code=name, message=name) for number, name in enumerate(HOSTILE)]
    return [
        result(*rows, name=name, model=name, source=name, suite=name, settings={name: name}, versions={name: name})
        for name in HOSTILE[:2]
    ]


def test_names_and_texts_of_others_are_text_and_nothing_else():
    tame = [result(task("a"), failed("b")), result(task("a"), failed("b"), model="x", settings={"k": "v"})]
    plain = {tag for tag, _ in Elements(page_of(report_of(tame, NOW, answers=True))).found}
    found = Elements(page_of(report_of(hostile(), NOW, answers=True))).found
    assert {tag for tag, _ in found} == plain
    assert [tag for tag, _ in found].count("script") == 1
    assert not {
        name for _, attrs in found for name in attrs if name.startswith("on") or name in ("src", "href", "style")
    }


def test_nothing_in_a_page_is_fetched_from_elsewhere():
    page = page_of(report_of(hostile(), NOW))
    policy = next(attrs for tag, attrs in Elements(page).found if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy["content"].startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy["content"]
    assert not re.search(r"url\(|@import", page)


def test_texts_are_cut_and_hold_nothing_that_turns_or_hides_what_is_around_them():
    assert shown("x" * 10_000) == "x" * 199 + "…"
    assert shown("a\u202eb\0c\x1bd\ud800") == "a\ufffdb\ufffdc\ufffdd\ufffd"
    assert shown("🧑\u200d💻 مرحبا") == "🧑\u200d💻 مرحبا"
    assert len(page_of(report_of(hostile(), NOW))) < 400_000


@pytest.mark.parametrize("form", ["bars", "dots", "stacks", "lines"])
def test_a_chart_is_drawn_of_any_names(form):
    points = [Point(NOW if form in ("stacks", "lines") else name, name, 1.0) for name in HOSTILE]
    drawn = draw(Chart("title", "summary", form, "count", points, HOSTILE, 60.0))
    assert drawn.startswith("<svg")
    assert "<script" not in drawn


def test_a_chart_takes_its_colours_from_the_page():
    drawn = draw(
        Chart("title", "summary", "bars", "count", [Point("a", "passed", 3), Point("a", "p50", 1)], ["passed", "p50"])
    )
    colours = set(re.findall(r'(?:fill|stroke)="([^"]+)"', drawn)) - {"none", "transparent"}
    assert {"var(--good)", "var(--series-1)", "var(--soft)"} <= colours
    assert all(colour.startswith("var(--") for colour in colours)


def test_a_page_is_written_over_an_earlier_one_but_over_nothing_else(tmp_path):
    file, other = tmp_path / "report.html", tmp_path / "notes.html"
    page = page_of(report_of([result(task("a"))], NOW))
    save(page, file)
    save(page.replace("a-run", "b-run"), file)
    assert "b-run" in file.read_text()
    other.write_text("<!doctype html><p>mine")
    with pytest.raises(ConfigurationError, match="is no report, and is not overwritten"):
        save(page, other)
    assert other.read_text() == "<!doctype html><p>mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.html", "report.html"]


def test_a_place_that_cannot_be_written_to_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"cannot be .*Not a directory"):
        save("", tmp_path / "file/report.html")


def test_what_has_the_name_of_a_draft_is_not_touched(tmp_path):
    precious, file = tmp_path / "precious", tmp_path / "report.html"
    precious.write_text("mine")
    file.with_name("report.html.part").symlink_to(precious)
    save(page_of(report_of([result(task("a"))], NOW)), file)
    assert precious.read_text() == "mine"


def ticks(chart):
    """What is written at the axes and beside them."""
    return re.findall(r"<text[^>]*>([^<]*)</text>", draw(chart))


@pytest.mark.parametrize(
    ("unit", "value", "last"),
    [
        ("dollars", 12, "$12"),
        ("dollars", 2500, "$2,500"),
        ("dollars", 0.0004, "$0.0004"),
        ("seconds", 0.3, "0.3"),
        ("seconds", 12, "12"),
        ("count", 2, "2"),
        ("count", 1000, "1,000"),
        ("count", 3_000_000, "3M"),
        ("count", 1e308, "1.0e+308"),
    ],
)
def test_numbers_at_an_axis_are_written_as_people_write_them(unit, value, last):
    told = [tick for tick in ticks(Chart("t", "s", "bars", unit, [Point("a", "x", value)], ["x"])) if tick != "seconds"]
    assert told[0] in ("0", "$0")
    assert told[-2:] == [last, "a"]
    assert "e+" not in "".join(told) or value == 1e308


def test_a_count_has_no_halves():
    assert "0.5" not in ticks(Chart("t", "s", "stacks", "count", [Point(NOW, "x", 1)], ["x"], 60))


@pytest.mark.parametrize("step", [60, 3600, 86400, 7 * 86400, 224 * 86400])
@pytest.mark.parametrize("number", [1, 3, 26, 47])
def test_no_time_is_told_twice_at_an_axis(step, number):
    points = [Point(NOW - timedelta(seconds=step * one), "x", None) for one in range(number)]
    told = ticks(Chart("t", "s", "lines", "seconds", [*points, Point(NOW, "x", 1)], ["x"], step))
    assert len(told) == len(set(told))


def test_no_line_leads_over_a_time_without_calls():
    points = [Point(NOW + timedelta(hours=hour), "x", 1 + hour) for hour in (0, 1, 4, 5)]
    [line] = [
        path
        for path in re.findall(r' d="([^"]*)"', draw(Chart("t", "s", "lines", "seconds", points, ["x"], 3600)))
        if path.startswith("M0,1")
    ]
    assert line.count("M") == 2
