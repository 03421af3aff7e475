"""Signing in and out, and what others cannot do with a session."""

from collections.abc import Callable

import httpx
from playwright.sync_api import BrowserContext, Page

from app.services import api_keys
from tests.browser.conftest import Watched, sign_in_path
from tests.integration.api.service import Service

COOKIE = "cleanclip_session"


def test_who_is_not_signed_in_signs_in_with_a_key_and_gets_where_she_wanted(
    stranger: Page, service: Service
) -> None:
    stranger.goto("/ui/jobs?kind=audit")
    assert "/ui/sign-in" in stranger.url
    stranger.get_by_label("Project key").fill(service.ours.key)
    stranger.get_by_role("button", name="Sign in").click()
    stranger.wait_for_url("**/ui/jobs?kind=audit")
    [cookie] = [one for one in stranger.context.cookies() if one["name"] == COOKIE]
    assert cookie["httpOnly"]
    assert (cookie["sameSite"], cookie["path"]) == ("Lax", "/ui")


def test_a_wrong_key_is_told_what_is_wrong(stranger: Page, service: Service, watched: Watched) -> None:
    stranger.goto("/ui/sign-in")
    for wrong, said in (
        ("nonsense", "not well-formed"),
        (_unknown(service.ours.key), "unknown, revoked or expired"),
    ):
        stranger.get_by_label("Project key").fill(wrong)
        stranger.get_by_role("button", name="Sign in").click()
        assert said in stranger.get_by_role("alert").inner_text()
        assert stranger.get_by_label("Project key").input_value() == "", "no key is sent back"
    watched.expect("401")


def _unknown(key: str) -> str:
    """A well-formed key that was never issued: another id, the right checksum."""
    body = key[:-6].replace(key[11:13], "00", 1)
    return body + api_keys.checksum(body)


def test_a_link_signs_in_once(
    service: Service, new_context: Callable[..., BrowserContext], watched: Watched
) -> None:
    path = sign_in_path(service)
    first, second = new_context().new_page(), new_context().new_page()
    first.goto(path)
    assert first.url.endswith("/ui/jobs")
    second.goto(path)
    assert "used before" in second.get_by_role("alert").inner_text()
    watched.expect("401")


def test_signing_out_ends_the_session_for_whoever_kept_its_cookie(page: Page, service: Service) -> None:
    page.goto("/ui/jobs")
    cookies = {one["name"]: one["value"] for one in page.context.cookies()}
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/ui/sign-in")
    answer = httpx.get(f"{service.url}/ui/jobs", cookies=cookies)
    assert answer.status_code == 303
    assert "/ui/sign-in" in answer.headers["location"]


def test_a_session_ends_by_the_clock_and_with_its_key(page: Page, service: Service) -> None:
    service.execute("UPDATE web_sessions SET expires_at = now() - interval '1 second'")
    page.goto("/ui/jobs")
    assert "/ui/sign-in" in page.url
    with service.database.unit_of_work() as unit:
        row, text = api_keys.issue(unit, project_id=service.ours.project_id, name="short")
    page.goto(sign_in_path(service, text))
    assert page.url.endswith("/ui/jobs")
    service.execute("UPDATE api_keys SET revoked_at = now() WHERE id = :id", id=row.id)
    page.reload()
    assert "/ui/sign-in" in page.url


def test_a_form_of_another_site_or_another_session_changes_nothing(page: Page, service: Service) -> None:
    page.goto("/ui/jobs")
    cookies = {one["name"]: one["value"] for one in page.context.cookies()}
    token = page.locator("input[name=form_token]").first.input_value()
    url = f"{service.url}/ui/sign-out"
    foreign = httpx.post(
        url, data={"form_token": token}, cookies=cookies, headers={"Sec-Fetch-Site": "cross-site"}
    )
    older = httpx.post(
        url, data={"form_token": token}, cookies=cookies, headers={"Origin": "https://elsewhere.example"}
    )
    no_origin = httpx.post(url, data={"form_token": token}, cookies=cookies, headers={"Origin": "https://["})
    without = httpx.post(url, cookies=cookies, headers={"Sec-Fetch-Site": "same-origin"})
    wrong = httpx.post(url, data={"form_token": "0" * 64}, cookies=cookies)
    assert [answer.status_code for answer in (foreign, older, no_origin, without, wrong)] == [403] * 5
    page.reload()
    assert page.url.endswith("/ui/jobs"), "still signed in"


def test_nobody_is_sent_elsewhere_by_a_link_to_us(stranger: Page, service: Service) -> None:
    for target in (
        "https://elsewhere.example/",
        "//elsewhere.example",
        "/ui/../v1/jobs",
        "/ui/\\elsewhere",
        "javascript:x",
    ):
        stranger.context.clear_cookies()
        stranger.goto("/ui/sign-in?next=" + target)
        stranger.get_by_label("Project key").fill(service.ours.key)
        stranger.get_by_role("button", name="Sign in").click()
        stranger.wait_for_url("**/ui/jobs")


def test_a_failure_is_a_page_with_the_requests_id(page: Page, watched: Watched) -> None:
    page.goto("/ui/nothing-here")
    text = page.inner_text("main")
    assert "nothing at this address" in text
    assert "req_" in text
    watched.expect("404")


def test_the_api_takes_no_cookie_and_its_refusals_stay_json(page: Page, service: Service) -> None:
    cookies = {one["name"]: one["value"] for one in page.context.cookies()}
    answer = httpx.get(f"{service.url}/v1/jobs", cookies=cookies)
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert httpx.put(f"{service.url}/v1/jobs", cookies=cookies).status_code == 405
