"""What holds for every page: axe finds nothing, no sideways scrolling on a phone, a small first load.

`PICTURES=1` writes what each page looks like to docs/screenshots: light, dark and on a phone.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from fastapi.routing import APIRoute
from PIL import Image
from playwright.sync_api import BrowserContext, Page, Response

from app.web.application import MODULES
from tests.browser.conftest import sign_in_path
from tests.browser.pages import NOT_A_PAGE, PAGES, World
from tests.integration.api.service import Service

PICTURES = Path(__file__).parents[2] / "docs" / "screenshots"
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light", "viewport": {"width": 1280, "height": 800}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 800}},
    "phone": {"color_scheme": "light", "viewport": {"width": 390, "height": 844}, "is_mobile": True},
}
MAX_FIRST_LOAD_BYTES = 200_000


@pytest.fixture(scope="module")
def world(service: Service) -> World:
    """Something of everything."""
    return World.made(service, text=lambda plain: plain)


def test_every_page_is_looked_at() -> None:
    """A new page fails here until it is placed."""
    routes = {
        route.path
        for module in MODULES
        for route in module.router.routes
        if isinstance(route, APIRoute) and "GET" in route.methods
    }
    assert routes - NOT_A_PAGE.keys() == {page.route for page in PAGES.values()}
    assert NOT_A_PAGE.keys() <= routes


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_accessible_in_every_look(
    name: str, look: str, world: World, service: Service, new_context: Callable[..., BrowserContext]
) -> None:
    page = new_context(**LOOKS[look]).new_page()
    if PAGES[name].is_signed_in:
        page.goto(sign_in_path(service))
    answer = page.goto(world.path(PAGES[name]))
    assert isinstance(answer, Response)
    assert answer.status == 200
    assert page.locator("h1").count() == 1
    assert page.title().endswith(" · CleanCLIP")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    if os.environ.get("PICTURES"):
        PICTURES.mkdir(parents=True, exist_ok=True)
        footer = [page.locator("footer")]  # the request's id differs every time
        path = PICTURES / f"{name}-{look}.png"
        page.screenshot(path=path, full_page=True, mask=footer, mask_color="#888888")
        Image.open(path).convert("RGB").quantize(256).save(path, optimize=True)


@pytest.mark.parametrize("name", PAGES)
def test_a_first_load_is_small(
    name: str, world: World, service: Service, new_context: Callable[..., BrowserContext]
) -> None:
    page = new_context().new_page()
    if PAGES[name].is_signed_in:
        page.goto(sign_in_path(service))
    sizes = loaded_bytes(page, world.path(PAGES[name]))
    assert sum(sizes.values()) < MAX_FIRST_LOAD_BYTES, sizes


def loaded_bytes(page: Page, path: str) -> dict[str, int]:
    """Bytes of every body that the page loaded, by address."""
    answers: list[Response] = []

    def note(answer: Response) -> None:
        answers.append(answer)

    page.on("response", note)
    page.goto(path, wait_until="load")
    return {answer.url: answer.request.sizes()["responseBodySize"] for answer in tuple(answers)}
