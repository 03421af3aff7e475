"""Whatever stands in an address or in the field of a form, a page of ours answers, never with a fault."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import quote, urlencode

import httpx
import pytest
from fastapi.routing import APIRoute

from app.domain.ids import new_id
from app.web.application import MODULES, PREFIX
from app.web.data.declared import FIELDS
from app.web.data.declared import PREFIX as DECLARED
from tests.browser.conftest import sign_in_path
from tests.browser.pages import PAGES, World
from tests.integration.api.service import Service
from tests.suites import mostly_full

ODD = ("%00", "%ED%A0%80", "x" * 10_000)
"""As they are sent: NUL, half of a character that takes two, a text that is far too long."""


@pytest.fixture(scope="module")
def world(service: Service) -> World:
    return World.made(service, text=lambda plain: plain)


@pytest.fixture(scope="module")
def browser(service: Service) -> Iterator[httpx.Client]:
    headers = {"Sec-Fetch-Site": "same-origin"}
    with httpx.Client(base_url=service.url, headers=headers, timeout=60) as client:
        client.get(sign_in_path(service))
        yield client


def routes(method: str) -> list[APIRoute]:
    return [
        route
        for module in MODULES
        for route in module.router.routes
        if isinstance(route, APIRoute) and method in route.methods
    ]


def path_of(route: APIRoute, world: World, **odd: str) -> str:
    """With ids of the world, of nothing where it has none, and with those that are odd."""
    ids = {
        "artifact_id": new_id("art"),
        "upload_id": new_id("upl"),
        "delivery_id": new_id("whd"),
        **world.ids,
        **odd,
    }
    path = PREFIX + route.path.replace("{name:path}", "{name}" if "name" in odd else "style.css")
    return path.format(**ids)


def wrong(answer: httpx.Response) -> str | None:
    """What is not as it must be, if anything: never a fault, always ours."""
    asked = f"{answer.request.method} {str(answer.request.url)[:120]} {answer.request.content[-80:]!r}"
    is_scripts = "/ui/uploads" in str(answer.request.url)
    kinds = ("text/html", "text/css", "application/json") if is_scripts else ("text/html", "text/css")
    is_kind = answer.headers.get("content-type", "").startswith(kinds)
    is_ours = answer.headers.get("x-request-id") and "script-src" in answer.headers["content-security-policy"]
    is_led_on = answer.status_code == 303 and answer.headers["location"].startswith("/ui/")
    if answer.status_code < 500 and is_ours and (is_kind or is_led_on or answer.status_code == 204):
        return None
    return f"{asked}: {answer.status_code} {answer.text[:80]}"


def test_odd_values_in_addresses_of_pages(world: World, browser: httpx.Client) -> None:
    asked, found = 0, list[str | None]()
    for route in routes("GET"):
        for odd in ODD:
            for parameter in route.dependant.path_params:
                found.append(wrong(browser.get(path_of(route, world, **{parameter.alias: odd}))))
            for parameter in route.dependant.query_params:
                query = f"{quote(parameter.alias)}={odd}"
                found.append(wrong(browser.get(f"{path_of(route, world)}?{query}")))
                if route.path == "/jobs/new":  # which leads on without its form's id
                    found.append(wrong(browser.get(f"{path_of(route, world)}?form={'0' * 32}&{query}")))
        asked += len(route.dependant.path_params) + len(route.dependant.query_params)
    assert asked > 40
    assert [one for one in found if one] == []


@dataclass
class SentForm:
    """A form of a page, as a browser would send it."""

    fields: dict[str, str] = field(default_factory=dict)
    actions: set[str] = field(default_factory=set)


class Forms(HTMLParser):
    """The forms of a page that are posted."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[SentForm] = []
        self._form: SentForm | None = None
        self._select: str | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._form = (
                SentForm(actions={given.get("action", "")}) if given.get("method") == "post" else None
            )
            if self._form:
                self.found.append(self._form)
        if self._form is None:
            return
        if "formaction" in given:
            self._form.actions.add(given["formaction"])
        if tag in ("input", "textarea", "select") and "name" in given:
            is_chosen = given.get("type") not in ("radio", "checkbox") or "checked" in given
            self._form.fields.setdefault(given["name"], "")
            if is_chosen:
                self._form.fields[given["name"]] = given.get("value", "")
        if tag == "select":
            self._select = given.get("name")
        if tag == "option" and self._select and ("selected" in given or not self._form.fields[self._select]):
            self._form.fields[self._select] = given.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None
        if tag == "select":
            self._select = None


def forms(service: Service, world: World, browser: httpx.Client) -> dict[str, Mapping[str, str]]:
    """The fields that are sent to each route that takes a form, those of the uploading script too."""
    pages = [
        browser.get(world.path(one), follow_redirects=True) for one in PAGES.values() if one.is_signed_in
    ]
    pages.append(httpx.get(f"{service.url}/ui/sign-in"))
    upload = service.ours.http.post("/v1/uploads", json={"filename": "x.pt", "size_bytes": 10}).json()["id"]
    known = [one for page in pages for one in Forms(page.text).found]
    token = next(one.fields["form_token"] for one in known if "form_token" in one.fields)
    for action, fields in (
        ("", {"filename": "x.pt", "size_bytes": "10", **{DECLARED + one.name: "" for one in FIELDS}}),
        (f"/{upload}/parts", {"numbers": "1"}),
        (f"/{upload}/complete", {"sha256": "0" * 64}),
        (f"/{upload}/cancel", {}),
    ):
        known.append(SentForm(fields={"form_token": token, **fields}, actions={f"/ui/uploads{action}"}))
    found: dict[str, Mapping[str, str]] = {}
    for route in routes("POST"):
        for form in known:
            for action in form.actions:
                if route.path_regex.match(action.removeprefix(PREFIX)):
                    found.setdefault(route.path, {**form.fields, "": action})
    return found


@pytest.mark.parametrize("is_whole", mostly_full([False, True], daily=[False]), ids=["one", "each"])
def test_odd_values_in_fields_of_forms(
    service: Service, world: World, browser: httpx.Client, is_whole: bool
) -> None:
    """Daily one of them in each field, in turn."""
    known = forms(service, world, browser)
    paths = {one.path for one in routes("POST")}
    unseen = {"/jobs/{job_id}/resume", "/jobs/{job_id}/retry", "/webhooks/{webhook_id}/enable"}
    assert paths - set(known) <= unseen, "forms of no field but the session's"
    filled = {"key": service.ours.key, "target": "banana", "policy": "given", "suite": "list"}
    found = list[str | None]()
    for fields in known.values():
        action = fields[""]
        for name in fields.keys() - {""}:
            others = {one: filled.get(one) or text for one, text in fields.items() if one not in ("", name)}
            for odd in ODD if is_whole else [ODD[len(found) % len(ODD)]]:
                body = f"{urlencode(others)}&{quote(name)}={odd}"
                headers = {"Content-Type": "application/x-www-form-urlencoded"}
                found.append(wrong(browser.post(action, content=body, headers=headers)))
    assert len(found) > (400 if is_whole else 130)
    assert [one for one in found if one] == []


def test_odd_values_in_addresses_that_forms_are_sent_to(world: World, browser: httpx.Client) -> None:
    [token, *_] = [one.fields["form_token"] for one in Forms(browser.get("/ui/jobs").text).found]
    found = list[str | None]()
    for route in routes("POST"):
        for parameter in route.dependant.path_params:
            for odd in ODD:
                path = path_of(route, world, **{parameter.alias: odd})
                answer = browser.post(path, data={"form_token": token})
                found += [wrong(answer), None if answer.status_code == 404 else f"{path[:80]} is taken"]
    assert len(found) > 50
    assert [one for one in found if one] == []
