"""A real Chromium on the pages of a real server, with its database and its object store.

Browser and server are one for the folder; each module has projects of its own. Rows are written as a worker
would have left them (`Service`); the journey with a worker is in tests/end_to_end/test_browser_journey.py.
Every page of every test is watched: an error on the console, an answer that the content security policy
blocked, or a request to another host fails the test at its end.
"""

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect

from app.local.stack import Stack
from app.services import api_keys, sessions
from tests.conftest import empty_broker, settings_of
from tests.fixtures.buckets import own_bucket
from tests.fixtures.chromium import launched
from tests.fixtures.databases import own_database
from tests.integration.api.conftest import logged, served, tenants
from tests.integration.api.service import Service

Session = dict[str, Any]
"""The state of a browser that is signed in, as Playwright's `new_context` takes it."""

PATIENCE_MS = 30_000
expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="package")
def service_log() -> Iterator[io.StringIO]:
    with logged() as stream:
        yield stream


@pytest.fixture(scope="package")
def folders_service(
    stack: Stack,
    template_database: str,
    service_log: io.StringIO,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Service]:
    base = stack.settings()
    with (
        own_database(base.database.url, "browser", template=template_database) as database_url,
        own_bucket(base.storage, "browser") as store,
    ):
        work_dir = tmp_path_factory.mktemp("work")
        with served(settings_of(stack, database_url, empty_broker(stack), store, work_dir), store) as service:
            yield service


@pytest.fixture(scope="module")
def service(folders_service: Service) -> Iterator[Service]:
    """With two projects that only this module uses; of others it has rows, too."""
    folders_service.execute("UPDATE projects SET name = id")  # of others; a name is given once
    with tenants(folders_service.database, folders_service.url) as (ours, theirs):
        yield replace(folders_service, ours=ours, theirs=theirs)


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


class Watched:
    """What went wrong on the pages of a test; expected failures are taken out by the test itself."""

    def __init__(self, allowed_hosts: set[str]) -> None:
        self.allowed_hosts = allowed_hosts
        self.errors: list[str] = []

    def watch(self, page: Page) -> None:
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.errors.append(f"script: {error}"))
        page.on("request", self._on_request)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(f"console: {message.text}")

    def _on_request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in ("http", "https") and parts.netloc not in self.allowed_hosts:
            self.errors.append(f"request to another host: {request.url}")

    def expect(self, *parts: str) -> None:
        """Take out the errors that contain one of these; each must be there."""
        for part in parts:
            assert any(part in error for error in self.errors), (part, self.errors)
        self.errors = [error for error in self.errors if not any(part in error for part in parts)]


@pytest.fixture
def watched(service: Service) -> Iterator[Watched]:
    store = urlsplit(service.ports.settings.storage.endpoint_url or "")
    watched = Watched({urlsplit(service.url).netloc, store.netloc})
    yield watched
    assert watched.errors == []


@pytest.fixture
def new_context(
    chromium: Browser, service: Service, watched: Watched
) -> Iterator[Callable[..., BrowserContext]]:
    """Browsers without a past; options as of Playwright's `new_context`."""
    made: list[BrowserContext] = []

    def new(**options: object) -> BrowserContext:
        context = chromium.new_context(base_url=service.url, **options)  # type: ignore[arg-type]
        context.set_default_timeout(PATIENCE_MS)
        context.on("page", watched.watch)
        made.append(context)
        return context

    yield new
    for context in made:
        context.close()


@pytest.fixture
def stranger(new_context: Callable[..., BrowserContext]) -> Page:
    """A browser that is not signed in."""
    return new_context().new_page()


@pytest.fixture
def page(service: Service, new_context: Callable[..., BrowserContext]) -> Page:
    """A browser that is signed in and shows nothing yet."""
    return new_context(storage_state=new_session(service)).new_page()


def new_session(service: Service) -> Session:
    """Of our tenant's key, which may do everything; made without a page."""
    answer = httpx.get(service.url + sign_in_path(service))
    ((name, value),) = answer.cookies.items()
    cookie = {"name": name, "value": value, "domain": "127.0.0.1", "path": "/ui"}
    kept = {"expires": -1, "httpOnly": True, "secure": False, "sameSite": "Lax"}
    return {"cookies": [cookie | kept], "origins": []}


def sign_in_path(service: Service, key: str | None = None) -> str:
    """A link that signs in once."""
    presented = api_keys.read_key(key or service.ours.key)
    with service.database.unit_of_work() as unit:
        token = sessions.make_link(unit, service.ours.project_id, presented, lasts_s=60)
    return f"/ui/sign-in/once?token={token}"
