"""Whatever a customer wrote is shown as text: every field that a page shows holds markup, on every page."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from tests.browser.pages import PAGES, World
from tests.integration.api.service import Service

INJECTED = "img[src='x'], script:not([src]), [onfocus], [onerror], main b"
MARKS = "<img src=x onerror=owned=1><script>owned=1</script>\"' onfocus=owned=1 autofocus {{7*7}} &lt;b&gt;"


@pytest.fixture(scope="module")
def world(service: Service) -> World:
    return World.made(service, text=lambda plain: plain + MARKS)


def test_markup_in_any_field_is_text_on_every_page(page: Page, world: World) -> None:
    shown = 0
    for name, one in PAGES.items():
        if not one.is_signed_in:
            continue
        page.goto(world.path(one))
        assert page.locator("h1").count() == 1, name
        assert page.evaluate("window.owned === undefined"), name
        assert page.locator("img[src='x'], script:not([src]), [onfocus], [onerror], main b").count() == 0, (
            name
        )
        content = page.content()
        assert "49" not in _around(content), f"{name}: what was written was a template"
        shown += "onerror=owned" in page.inner_text("body")
    assert shown >= 10, "the world's texts are on the pages"


def _around(content: str) -> str:
    """What stands where the template's mark would have been."""
    places = content.split("autofocus ")[1:]
    return "".join(place[:9] for place in places)
