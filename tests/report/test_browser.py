"""A page in a real Chromium: no connection, no complaint, sorting, both schemes, a phone, and names for every part."""

from __future__ import annotations

import os
import shutil
from io import BytesIO

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import sync_playwright

from claudeprov.report.page import page_of
from claudeprov.report.period import report_of as of_period
from claudeprov.report.runs import report_of as of_runs
from tests.ledger.rows import ledger, row
from tests.report.made import HOSTILE, NOW, failed, result, task

CHROMIUM = shutil.which("chromium")
if not CHROMIUM and not os.environ.get("SERVERS_REQUIRED"):
    pytest.skip("chromium is not installed", allow_module_level=True)

CONTRAST = """() => {
  const luminance = (color) => {
    const [r, g, b] = color.match(/[\\d.]+/g).slice(0, 3).map((part) => {
      const value = part / 255;
      return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => {
    const [dark, light] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (light + 0.05) / (dark + 0.05);
  };
  const ground = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if (color !== "rgba(0, 0, 0, 0)") return color;
    }
  };
  const least = (selector, property) => {
    const nodes = [...document.querySelectorAll(selector)];
    return Math.min(...nodes.map((node) => contrast(getComputedStyle(node)[property], ground(node))));
  };
  const marks = ["series", "good", "bad", "fair", "mild"].map((name) => `.chart path[fill^="var(--${name}"]`);
  return {
    text: least("h1, h2, p, dt, dd, small, th, td, caption, summary, button, figcaption, .arrow", "color"),
    drawn: least(".chart text", "fill"),
    marks: least(marks.join(), "fill"),
  };
}"""


CUT = "all => all.filter((one) => one.scrollWidth > one.clientWidth).map((one) => one.ariaLabel)"


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as driver:
        started = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        yield started
        started.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A page of a run, of hostile runs, and of a time."""
    folder = tmp_path_factory.mktemp("pages")
    run = [task("a", output_tokens=9), task("b", output_tokens=100, verdict="failed", detail="raised"), failed("c")]
    harm = [task(f"{number} {name}", model=name, detail=name, text=name) for number, name in enumerate(HOSTILE)]
    harm += [failed(f"f{number}", code=name, message=name) for number, name in enumerate(HOSTILE)]
    calls = (
        row(
            after=-3600.0 * number,
            usd=f"0.0{number % 9 + 1}",
            total=1.0 + number % 5,
            first_chunk=0.3,
            input_tokens=900,
            output_tokens=40 + number,
            served=f"model-{number % 7}",
            run=HOSTILE[number % 10][:900].replace("\0", ""),
            **({"error": "overloaded", "end": "failed"} if number % 9 == 0 else {}),
        )
        for number in range(200)
    )
    store = ledger(folder / "ledger.db", calls)
    reports = {
        "run": of_runs([result(*run)], NOW, answers=True),
        "hostile": of_runs(
            [result(*harm, name=name, model=name, source=name) for name in HOSTILE[:2]], NOW, answers=True
        ),
        "sweep": of_runs(
            [
                result(
                    *(run[:2] if number == 797 else run),
                    task("d", input_tokens=number, cost_usd=None, cost_reason="a local model has no list price"),
                    model=model,
                    timing="recorded",
                    settings={"model": {"id": model}, "x": "y" * 300},
                )
                for model, number in (
                    ("claude-sonnet-4-5", 1461),
                    ("claude-haiku-4-5", 797),
                    ("claude-opus-4-8", 11800),
                )
            ],
            NOW,
        ),
        "period": of_period(store, "30d", "2026-10-01T00:00:00.000000Z", NOW),
    }
    store.close()
    for name, report in reports.items():
        (folder / f"{name}.html").write_text(page_of(report), encoding="utf-8")
    return folder


@pytest.fixture
def opened(browser, files):
    """Open a page of that name; whatever it asks for or complains of is in its ``heard``."""
    contexts = []

    def open_page(name, scheme="light", width=1200):
        context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 800})
        contexts.append(context)
        page = context.new_page()
        page.heard = []
        page.on("request", lambda request: page.heard.append(request.url))
        page.on("console", lambda message: page.heard.append(message.text))
        page.on("pageerror", lambda error: page.heard.append(str(error)))
        page.goto((files / f"{name}.html").as_uri())
        assert page.heard.pop(0) == page.url
        return page

    yield open_page
    for context in contexts:
        context.close()


EVERY = pytest.mark.parametrize("name", ["run", "hostile", "period"])
SCHEMES = pytest.mark.parametrize("scheme", ["light", "dark"])


@EVERY
def test_a_page_asks_for_nothing_complains_of_nothing_and_runs_nothing_of_others(opened, name):
    page = opened(name)
    page.locator("details").evaluate_all("all => all.forEach(one => one.open = true)")
    page.locator("th button").first.click()
    assert page.heard == []
    assert page.evaluate("window.harm") is None


def test_the_policy_lets_nothing_out_even_where_a_script_tries(opened):
    page = opened("run")
    blocked = page.evaluate(
        """() => new Promise((resolve) => {
          document.addEventListener("securitypolicyviolation", (event) => resolve(event.effectiveDirective));
          document.body.append(Object.assign(new Image(), { src: "http://127.0.0.1:9/x.png" }));
        })"""
    )
    assert blocked == "img-src"
    assert page.evaluate("fetch('http://127.0.0.1:9/').then(() => 'out', () => 'kept')") == "kept"


def column(page, number):
    return page.get_by_role("table", name="Each task").locator(f"tbody td:nth-child({number})").all_inner_texts()


def test_a_click_sorts_a_column_as_numbers_and_again_the_other_way_with_what_is_unknown_last(opened):
    page = opened("run")
    header = page.get_by_role("table", name="Each task").get_by_role("columnheader", name="output")
    number = header.evaluate("header => header.cellIndex + 1")
    assert column(page, number) == ["9", "100", "—"]
    header.get_by_role("button").click()
    assert (column(page, number), header.get_attribute("aria-sort")) == (["9", "100", "—"], "ascending")
    header.get_by_role("button").click()
    assert (column(page, number), header.get_attribute("aria-sort")) == (["100", "9", "—"], "descending")


def test_the_runs_of_a_sweep_are_sorted_by_their_numbers(opened):
    page = opened("sweep")
    table = page.get_by_role("table", name="Runs")
    header = table.get_by_role("columnheader", name="tokens in/out")
    header.get_by_role("button").click()
    cells = table.locator(f"tbody td:nth-child({header.evaluate('header => header.cellIndex + 1')})")
    assert cells.all_inner_texts() == ["997 / 139", "1,761 / 139", "12,100 / 139"]


@pytest.mark.parametrize("name", ["run", "sweep", "period"])
def test_no_table_is_cut_on_a_screen(opened, name):
    page = opened(name)
    assert page.locator("section > .scroll").evaluate_all(CUT) == []


@pytest.mark.parametrize("name", ["run", "hostile", "sweep", "period"])
def test_no_table_is_cut_on_paper(opened, name):
    page = opened(name, width=718)  # A4 within Chromium's margins
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") == 718
    assert page.locator("section > .scroll").evaluate_all(CUT) == []


@pytest.mark.parametrize("name", ["run", "hostile", "sweep", "period"])
def test_no_label_leaves_its_card(opened, name):
    leaving = """all => all.filter((chart) => {
      const card = chart.closest("figure").getBoundingClientRect(), box = chart.getBoundingClientRect();
      return box.left < card.left || box.right > card.right || getComputedStyle(chart).overflow !== "hidden";
    }).length"""
    assert opened(name).locator(".chart svg").evaluate_all(leaving) == 0


def test_a_shadow_tells_that_a_table_goes_on(opened):
    page = opened("run", width=360)
    box = page.get_by_role("region", name="Each task")
    assert box.evaluate("box => box.scrollWidth > box.clientWidth")
    assert shade(box, 4) < shade(box, 40)
    box.evaluate("box => box.scrollLeft = box.scrollWidth")
    assert shade(box, 4) == shade(box, 40)


def shade(box, distance):
    """How light a box is that far from its right edge, just below its heading's first line."""
    picture = Image.open(BytesIO(box.screenshot())).convert("L")
    return picture.getpixel((picture.width - distance, 2))


def test_the_keyboard_sorts_too_and_what_was_done_is_told(opened):
    page = opened("run")
    table = page.get_by_role("table", name="Each task")
    table.get_by_role("columnheader", name="output").get_by_role("button").focus()
    page.keyboard.press("Enter")
    table.get_by_role("columnheader", name="outcome").get_by_role("button").focus()
    page.keyboard.press("Space")
    assert column(page, 3) == ["failed", "overloaded", "passed"]
    assert page.locator("[aria-sort]").count() == 1
    assert page.get_by_role("status").inner_text() == "Each task: ascending by outcome"


@EVERY
@SCHEMES
def test_every_text_stands_out_from_what_is_behind_it(opened, name, scheme):
    found = opened(name, scheme).evaluate(CONTRAST)
    assert found["text"] >= 4.5
    assert found["drawn"] >= 4.5
    assert found["marks"] >= 3


@EVERY
@SCHEMES
def test_axe_finds_nothing_that_would_shut_somebody_out(opened, name, scheme):
    page = opened(name, scheme)
    page.locator("details").evaluate_all("all => all.forEach(one => one.open = true)")
    found = Axe().run(page, options={"resultTypes": ["violations"]})
    assert [(one["id"], one["nodes"][0]["html"][:200]) for one in found.response["violations"]] == []


@EVERY
def test_a_phone_shows_a_page_without_scrolling_sideways(opened, name):
    page = opened(name, width=360)
    page.locator("details").evaluate_all("all => all.forEach(one => one.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") == 360


@EVERY
def test_every_chart_and_every_table_has_a_name_and_a_chart_its_numbers(opened, name):
    page = opened(name)
    page.locator("details").evaluate_all("all => all.forEach(one => one.open = true)")
    pictures = page.get_by_role("img")
    assert pictures.count() == page.locator("figure").count() > 2
    assert all(len(label) > 15 for label in pictures.evaluate_all("all => all.map(one => one.ariaLabel)"))
    assert page.locator("figure table").count() == pictures.count()
    for part in page.get_by_role("table").all():
        assert part.evaluate("table => table.caption?.textContent || table.ariaLabel")


def test_the_button_changes_the_scheme_and_says_to_which(opened):
    page = opened("run", "dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    page.get_by_role("button", name="Light scheme").click()
    assert page.evaluate(ground) != dark
    page.get_by_role("button", name="Dark scheme").click()
    assert page.evaluate(ground) == dark


def test_paper_is_light(opened):
    page = opened("run", "dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(251, 251, 250)"
    assert not page.get_by_role("button", name="Light scheme").is_visible()
