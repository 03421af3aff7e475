"""What goes wrong is said by a page of ours: a form too large, a session that ended, a fault of ours."""

import io
import json
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.sync_api import Page, expect

from app.domain.ids import new_id
from app.domain.states import CheckpointState
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
    expect(page.get_by_role("alert")).to_contain_text("The form is larger than this page accepts.")
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
    reported = [one for one in lines if one.get("request_id") == answer.headers["x-request-id"]]
    assert [(one["event"], one["route"]) for one in reported] == [
        ("request_failed", "/ui/usage"),
        ("request", "/ui/usage"),
    ]
    assert "nobody expected this" in reported[0]["exception"]
    assert reported[1]["status"] == 500
    assert not [one for one in lines if "ASGI" in one["event"]], "the server heard of none: connections go on"


def test_a_lists_filter_that_nobody_changed_shows_the_list(page: Page, service: Service) -> None:
    service.checkpoint()
    service.ours.http.post("/v1/jobs", json=service.sanitize_order())
    hook = service.ours.http.post("/v1/webhooks", json={"url": "https://example.org/hook"}).json()["id"]
    service.ours.http.post(f"/v1/webhooks/{hook}/test")
    for path in ("/ui/jobs", "/ui/checkpoints", "/ui/datasets", "/ui/trail", f"/ui/webhooks/{hook}"):
        page.goto(path)
        heading = page.locator("h1").inner_text()
        with page.expect_navigation() as navigated:
            page.locator("form.filter button, form.filters button").click()
        assert navigated.value.status == 200, path
        expect(page.locator("h1")).to_have_text(heading)


def end_sessions(service: Service) -> None:
    service.execute("UPDATE web_sessions SET expires_at = now() - interval '1 second'")


def sign_in_again(page: Page, service: Service) -> None:
    page.get_by_label("Project key").fill(service.ours.key)
    page.get_by_role("button", name="Sign in").click()


def test_a_form_of_a_session_that_ended_says_that_nothing_was_sent_and_comes_back_to_it(
    page: Page, service: Service
) -> None:
    checkpoint = service.checkpoint()
    page.goto(f"/ui/jobs/new?checkpoint={checkpoint}")
    form = page.url
    end_sessions(service)
    with service.nothing_left_behind():
        page.locator("#order").get_by_role("button", name="Order the job").click()
        expect(page.get_by_role("alert")).to_contain_text("Your session has ended, and nothing was sent")
    sign_in_again(page, service)
    page.wait_for_url(form)
    expect(page.get_by_label("Checkpoint", exact=True)).to_have_value(checkpoint)
    page.goto(f"/ui/checkpoints/{checkpoint}")
    page.get_by_text("Delete this checkpoint…").click()
    end_sessions(service)
    page.get_by_role("button", name="Delete clip.pt").click()
    expect(page.get_by_role("alert")).to_contain_text("nothing was sent")
    sign_in_again(page, service)
    page.wait_for_url(f"**/ui/checkpoints/{checkpoint}")


def test_a_part_of_a_session_that_ended_leads_back_to_the_page_that_was_watched(
    page: Page, service: Service, watched: Watched
) -> None:
    checkpoint = service.checkpoint(CheckpointState.QUARANTINED)
    page.goto(f"/ui/checkpoints/{checkpoint}")
    end_sessions(service)
    expect(page.get_by_role("alert")).to_contain_text("Your session has ended.")
    sign_in_again(page, service)
    page.wait_for_url(f"**/ui/checkpoints/{checkpoint}")
    watched.expect("401")


def test_a_page_of_a_session_that_ended_says_so_and_the_first_visit_does_not(
    page: Page, stranger: Page, service: Service
) -> None:
    page.goto("/ui/policies")  # which asks nothing by itself
    end_sessions(service)
    page.goto("/ui/datasets?kind=pairs")
    expect(page.get_by_role("alert")).to_contain_text("Your session has ended.")
    stranger.goto("/ui/datasets?kind=pairs")
    expect(stranger.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(stranger.get_by_role("alert")).to_have_count(0)
    stranger.goto("/ui/sign-in?why=Your+key+was+stolen")
    expect(stranger.get_by_role("alert")).to_have_count(0)


@pytest.mark.parametrize(
    ("reported", "back"),
    [
        ("{url}/ui/keys?after=x", "/ui/keys?after=x"),
        ("{url}/ui/keys/key_x/rotate", "/ui/keys/key_x"),
        ("{url}/ui/sign-in", "/ui/jobs"),
        ("{url}/ui/../v1/jobs", "/ui/jobs"),
        ("{url}//elsewhere.example", "/ui/jobs"),
        ("{url}/v1/jobs", "/ui/jobs"),
        ("https://elsewhere.example/ui/keys", "/ui/jobs"),
        ("//elsewhere.example/ui/keys", "/ui/jobs"),
        ("https://[", "/ui/jobs"),
        ("nonsense", "/ui/jobs"),
        ("", "/ui/jobs"),
    ],
)
def test_one_comes_back_to_pages_of_ours_only(service: Service, reported: str, back: str) -> None:
    address = reported.format(url=service.url)
    part = httpx.get(f"{service.url}/ui/jobs", headers={"HX-Request": "true", "HX-Current-URL": address})
    assert (part.status_code, next_of(part.headers["hx-redirect"])) == (401, back)
    form = httpx.post(f"{service.url}/ui/policies", headers={"Referer": address})
    assert (form.status_code, next_of(form.headers["location"])) == (303, back)


def test_a_stream_without_a_session_is_refused_and_led_nowhere(service: Service) -> None:
    """An EventSource goes where a redirect leads, and says of the page there that it holds no events."""
    stream = f"{service.url}/ui/jobs/{new_id('job')}/stream"
    assert httpx.get(stream, headers={"Accept": "text/event-stream"}).status_code == 401
    assert httpx.get(stream).status_code == 303, "somebody typed it"


def next_of(target: str) -> str:
    parts = urlsplit(target)
    assert (parts.netloc, parts.path) == ("", "/ui/sign-in")
    return parse_qs(parts.query)["next"][0]
