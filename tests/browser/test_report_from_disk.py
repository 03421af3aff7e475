"""report.html as it is handed over: opened from disk without a network, and printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

REPORT = Path(__file__).parents[2] / "docs" / "example-report.html"


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_it_opens_offline_asks_for_nothing_and_is_accessible(chromium: Browser, colours: str) -> None:
    context = chromium.new_context(offline=True, color_scheme=colours)  # type: ignore[arg-type]
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(REPORT.as_uri(), wait_until="load")
    assert [url for url in asked if not url.startswith("data:")] == [REPORT.as_uri()]
    pictures = page.evaluate("[...document.images].map(image => image.complete && image.naturalWidth)")
    assert len(pictures) >= 12
    assert all(pictures), "every picture is inside"
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    context.close()


def test_it_prints_to_a4_and_the_first_page_holds_what_matters(chromium: Browser) -> None:
    context = chromium.new_context(offline=True, viewport={"width": 718, "height": 1047})  # A4 less margins
    page = context.new_page()
    page.goto(REPORT.as_uri())
    page.emulate_media(media="print")
    heads = page.locator("h2").all_inner_texts()
    method_at = heads.index("Method and options")
    assert heads[:method_at] == ["The question", "The verdict", "The three figures", "What was not tested"]
    section = page.locator("section.page").first
    assert section.locator("h2").first.inner_text() == "Method and options", "a new sheet begins there"
    printed = page.pdf(format="A4", prefer_css_page_size=True)
    sheets = len(re.findall(rb"/Type\s*/Page\b", printed))
    assert 5 <= sheets <= 15
    context.close()
