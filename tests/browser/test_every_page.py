"""What holds for every page: axe finds nothing, no sideways scrolling on a phone, a small first load.

`PICTURES=1` writes what each page looks like, light, dark and on a phone, to var/screenshots.
"""

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
from tests.browser.conftest import Session, new_session
from tests.browser.pages import NOT_A_PAGE, PAGES, World
from tests.integration.api.service import Service
from tests.suites import mostly_full

ROOT = Path(__file__).parents[2]
DESKTOP: dict[str, Any] = {"color_scheme": "light", "viewport": {"width": 1280, "height": 800}}
PHONE: dict[str, Any] = {
    "color_scheme": "light",
    "viewport": {"width": 390, "height": 844},
    "is_mobile": True,
}
ON_A_PHONE = {"sign-in", "new-job", "job-cleaned"}
"""Looked at daily in the second size: those with the widest contents."""
LISTS = {"jobs", "checkpoints", "checkpoint", "datasets", "keys", "policies", "webhooks", "trail"}
"""Of which a phone shows every column; others may be scrolled sideways in their frame."""
CUT_TABLES = """[...document.querySelectorAll('.wide')]
  .filter(one => one.scrollWidth > one.clientWidth + 1).map(one => one.textContent.trim().slice(0, 80))"""
MAX_FIRST_LOAD_BYTES = 300_000
"""A report has a hundred figures with intervals, each exactly for programs beside its rounded form."""
ROWS_WHOSE_BORDERS_DO_NOT_MEET = """[...document.querySelectorAll('tr')].filter(row => {
  const bottoms = [...row.cells].map(cell => cell.getBoundingClientRect().bottom);
  return Math.max(...bottoms) - Math.min(...bottoms) > 0.5;
}).map(row => row.textContent)"""


@pytest.fixture(scope="module")
def world(service: Service) -> World:
    """Something of everything."""
    return World.made(service, text=lambda plain: plain)


@pytest.fixture(scope="module")
def session(service: Service) -> Session:
    """One for all pages: each sign-in is a line of the trail, which is one of them."""
    return new_session(service)


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


def test_the_menu_leads_to_every_page_that_is_of_no_one_thing(
    world: World, session: Session, new_context: Callable[..., BrowserContext]
) -> None:
    page = opened("jobs", world, new_context(storage_state=session))
    links = page.get_by_role("navigation", name="Main").get_by_role("link")
    targets = {target.get_attribute("href") for target in links.all()}
    wanted = {one.route for one in PAGES.values() if one.is_signed_in and "{" not in one.route}
    assert targets == {f"/ui{route}" for route in wanted - {"/compare"}}, "jobs are chosen to be compared"


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_small_at_first_and_accessible_light_and_dark(
    name: str, world: World, session: Session, new_context: Callable[..., BrowserContext]
) -> None:
    """Dark is the same page: what differs is a media query of the style sheet, which axe reads again."""
    page = new_context(**DESKTOP, **state_for(name, session)).new_page()
    sizes = loaded_bytes(page, world.path(PAGES[name]))
    assert sum(sizes.values()) < MAX_FIRST_LOAD_BYTES, sizes
    picture(page, f"{name}-light")
    page.emulate_media(color_scheme="dark")
    picture(page, f"{name}-dark")
    open_all(page)
    assert_accessible(page)
    page.emulate_media(color_scheme="light")
    assert_accessible(page)
    assert page.evaluate(ROWS_WHOSE_BORDERS_DO_NOT_MEET) == []
    assert page.locator("h1").count() == 1
    assert page.title().endswith(" · CleanCLIP")


@pytest.mark.parametrize("name", mostly_full(PAGES, daily=ON_A_PHONE))
def test_a_page_fits_a_phone(
    name: str, world: World, session: Session, new_context: Callable[..., BrowserContext]
) -> None:
    page = opened(name, world, new_context(**PHONE, **state_for(name, session)))
    picture(page, f"{name}-phone")
    open_all(page)
    assert_accessible(page)
    width, seen = page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert width <= seen, "no sideways scrolling"
    assert name not in LISTS or page.evaluate(CUT_TABLES) == []


def state_for(name: str, session: Session) -> dict[str, Session]:
    return {"storage_state": session} if PAGES[name].is_signed_in else {}


def opened(name: str, world: World, context: BrowserContext) -> Page:
    page = context.new_page()
    answer = page.goto(world.path(PAGES[name]))
    assert isinstance(answer, Response)
    assert answer.status == 200
    return page


def open_all(page: Page) -> None:
    """What is folded is of the page, too."""
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")


def assert_accessible(page: Page) -> None:
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def picture(page: Page, name: str) -> None:
    """As a reader finds the page, nothing unfolded; only where images are asked for."""
    if os.environ.get("PICTURES"):
        folder = ROOT / "var" / "screenshots"
        folder.mkdir(parents=True, exist_ok=True)
        footer = [page.locator("footer")]  # the request's id differs every time
        path = folder / f"{name}.png"
        page.screenshot(path=path, full_page=True, mask=footer, mask_color="#888888")
        Image.open(path).convert("RGB").quantize(256).save(path, optimize=True)


def loaded_bytes(page: Page, path: str) -> dict[str, int]:
    """Bytes of every body that the page loaded, by address."""
    answers: list[Response] = []

    def note(answer: Response) -> None:
        if not answer.url.endswith("/stream"):  # it has no end, and its size would be waited for
            answers.append(answer)

    page.on("response", note)
    answer = page.goto(path, wait_until="load")
    assert isinstance(answer, Response)
    assert answer.status == 200
    return {answer.url: answer.request.sizes()["responseBodySize"] for answer in tuple(answers)}
