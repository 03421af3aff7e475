"""What goes wrong is said by a page of ours: a form too large, a session that ended, a fault of ours."""

from __future__ import annotations

import io
import json

import httpx
import pytest
from playwright.sync_api import Page, expect

from app.services import quotas
from tests.browser.conftest import Watched
from tests.integration.api.service import MIB, Service


@pytest.mark.parametrize("num_bytes", [3 * MIB, 12 * MIB])
def test_a_form_that_is_too_large_is_refused_by_a_page(
    page: Page, service: Service, watched: Watched, num_bytes: int
) -> None:
    page.goto("/ui/jobs/new")
    page.evaluate(
        "n => { const field = document.createElement('input');"
        " Object.assign(field, {type: 'hidden', name: 'metadata', value: 'x'.repeat(n)});"
        " document.getElementById('metadata').replaceWith(field); }",
        num_bytes,
    )
    with service.nothing_left_behind(), page.expect_navigation() as navigated:
        page.locator("#order").get_by_role("button", name="Order the job").click()
    answer = navigated.value
    assert answer.status == 413
    assert "script-src 'self'" in (answer.header_value("content-security-policy") or "")
    expect(page.get_by_role("alert")).to_contain_text("The form is larger than this page takes.")
    expect(page.locator("main")).to_contain_text("req_")
    expect(page.get_by_role("navigation", name="Main")).to_be_visible()
    watched.expect("413")


def test_what_nobody_expected_is_a_page_and_logged_once(
    page: Page, service: Service, service_log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("nobody expected this")

    monkeypatch.setattr(quotas, "usage_of", fail)
    begins = len(service_log.getvalue())
    cookies = {one["name"]: one["value"] for one in page.context.cookies()}
    with httpx.Client(base_url=service.url, cookies=cookies) as browser:
        answer = browser.get("/ui/usage")
        part = browser.get("/ui/usage", headers={"HX-Request": "true"})
        script = browser.get("/ui/usage", headers={"Accept": "application/json"})
        after = browser.get("/ui/jobs", headers={"Connection": "close"})
    assert [one.status_code for one in (answer, part, script, after)] == [500, 500, 500, 200]
    assert "The service failed to answer" in answer.text
    assert answer.headers["x-request-id"] in answer.text
    assert "/ui/sign-out" in answer.text, "the menu is there"
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert "<html" not in part.text
    assert script.json()["code"] == "internal_error"
    lines = [json.loads(line) for line in service_log.getvalue()[begins:].splitlines()]
    told = [one for one in lines if one.get("request_id") == answer.headers["x-request-id"]]
    assert [(one["event"], one["route"]) for one in told] == [
        ("request_failed", "/ui/usage"),
        ("request", "/ui/usage"),
    ]
    assert "nobody expected this" in told[0]["exception"]
    assert told[1]["status"] == 500
    assert not [one for one in lines if "ASGI" in one["event"]], "the server heard of none: connections go on"


def test_a_lists_filter_that_nobody_changed_shows_the_list(page: Page, service: Service) -> None:
    service.checkpoint()
    service.ours.http.post("/v1/jobs", json=service.sanitize_order())
    hook = service.ours.http.post("/v1/webhooks", json={"url": "https://example.org/hook"}).json()["id"]
    service.ours.http.post(f"/v1/webhooks/{hook}/test")
    for path in ("/ui/jobs", "/ui/checkpoints", "/ui/datasets", "/ui/audit", f"/ui/webhooks/{hook}"):
        page.goto(path)
        heading = page.locator("h1").inner_text()
        with page.expect_navigation() as navigated:
            page.locator("form.filter button, form.filters button").click()
        assert navigated.value.status == 200, path
        expect(page.locator("h1")).to_have_text(heading)
