"""Makes docs/pictures/report.png of a page that `claudeprov report` wrote: wide and light, beside it a phone in dark.

From the checkout: .venv/bin/python tools/picture/report.py PAGE
"""

from __future__ import annotations

import argparse
import shutil
from io import BytesIO
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

_HEIGHT, _GAP = 1240, 16
"""Pixels of the whole, and between the two."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/pictures/report.png"))
    args = parser.parse_args()
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        parts = [_shot(browser, args.page, 1180, "light", "h1"), _shot(browser, args.page, 360, "dark", "h2 >> nth=1")]
        browser.close()
    whole = Image.new("RGB", (sum(part.width for part in parts) + _GAP, _HEIGHT), "#c9ccd2")
    whole.paste(parts[0], (0, 0))
    whole.paste(parts[1], (parts[0].width + _GAP, 0))
    whole.quantize(128, dither=Image.Dither.NONE).save(args.out, "PNG", optimize=True)


def _shot(browser: Browser, page: Path, width: int, scheme: Literal["light", "dark"], start: str) -> Image.Image:
    """The page from a heading on."""
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": _HEIGHT})
    opened = context.new_page()
    opened.goto(page.resolve().as_uri())
    opened.locator(start).evaluate("heading => scrollTo(0, heading.getBoundingClientRect().top - 24)")
    return Image.open(BytesIO(opened.screenshot())).convert("RGB")


if __name__ == "__main__":
    main()
