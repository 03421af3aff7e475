"""Keys, quotas and the trail for an administrator; what a key without that scope sees of them."""

import re
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from app.services import api_keys
from app.web.project.trail import ACTIONS
from tests.browser.conftest import Watched, sign_in_path
from tests.browser.left_jobs import ordered
from tests.integration.api.service import Service

MARKUP = "<img src=x onerror=alert(1)>"
PREFIX = "cclip_live_"


@pytest.fixture(autouse=True)
def _one_key(service: Service) -> Iterator[None]:
    """The tenant's own stays; what a test made is revoked."""
    yield
    own = api_keys.read_key(service.ours.key).key_id
    service.execute(
        "UPDATE api_keys SET revoked_at = now() WHERE id <> :own AND project_id = :project",
        own=own,
        project=service.ours.project_id,
    )


def key_with(service: Service, *scopes: str, name: str = "other") -> tuple[str, str]:
    """Id and text of another key of the project."""
    with service.database.unit_of_work() as unit:
        row, text = api_keys.issue(unit, project_id=service.ours.project_id, name=name, scopes=scopes)
    return row.id, text


def make(page: Page, name: str, *scopes: str) -> None:
    page.goto("/ui/keys")
    page.get_by_label("Name").fill(name)
    for scope in scopes:
        page.get_by_role("checkbox", name=f"{scope}:").check()
    page.get_by_role("button", name="Make the key").click()


def num_keys(service: Service) -> int:
    return len(service.ours.http.get("/v1/keys", params={"limit": 100}).json()["data"])


def status_with(service: Service, key: str) -> int:
    return httpx.get(service.url + "/v1/jobs", headers={"Authorization": f"Bearer {key}"}).status_code


# ---------------------------------------------------------------- keys


def test_a_key_is_made_shown_once_and_works(page: Page, service: Service) -> None:
    name = f"nightly {uuid.uuid4()}"
    make(page, name, "run")
    text = page.get_by_label("Key", exact=True).input_value()
    assert text.startswith(PREFIX)
    assert "this page shows it once" in page.inner_text("main")
    assert status_with(service, text) == 200
    page.get_by_role("link", name="Go to all keys").click()
    page.wait_for_url("**/ui/keys")
    row = page.locator("tr", has_text=name).inner_text()
    assert "read, run" in row
    assert "active" in row
    assert text[:37] in row
    assert text not in page.content()


def test_the_answer_with_the_key_is_not_cached_and_the_button_copies_it(
    service: Service, new_context: Callable[..., BrowserContext]
) -> None:
    context = new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(sign_in_path(service))
    page.goto("/ui/keys")
    page.get_by_label("Name").fill("copied")
    with page.expect_response(lambda answer: answer.request.method == "POST") as made:
        page.get_by_role("button", name="Make the key").click()
    assert made.value.status == 201
    assert made.value.headers["cache-control"] == "no-store"
    page.get_by_role("button", name="Copy").press("Enter")
    expect(page.get_by_role("status")).to_have_text("Copied.")
    text = page.get_by_label("Key", exact=True).input_value()
    assert page.evaluate("navigator.clipboard.readText()") == text


def test_reloading_the_answer_or_going_back_makes_no_second_key(page: Page, service: Service) -> None:
    make(page, "only one")
    text = page.get_by_label("Key", exact=True).input_value()
    after_one = num_keys(service)
    page.reload()
    assert "No second one was made" in page.get_by_role("alert").inner_text()
    assert text not in page.content()
    assert num_keys(service) == after_one
    page.go_back()
    page.wait_for_load_state()
    assert page.get_by_label("Name").input_value() == ""
    assert text not in page.content()
    assert num_keys(service) == after_one


def test_a_form_sent_twice_at_once_makes_one_key(page: Page, service: Service) -> None:
    page.goto("/ui/keys")
    cookies = {one["name"]: one["value"] for one in page.context.cookies()}
    form = {
        field: page.locator(f"form[data-once] input[name={field}]").input_value()
        for field in ("form_token", "once")
    }
    before = num_keys(service)
    for _ in range(2):
        httpx.post(
            f"{service.url}/ui/keys", data={**form, "name": "twice", "scopes": "read"}, cookies=cookies
        )
    assert num_keys(service) == before + 1
    whole = httpx.post(
        f"{service.url}/ui/keys",
        data={"form_token": form["form_token"], "name": "x", "scopes": "read"},
        cookies=cookies,
    )
    assert whole.status_code == 422, "a form without its one-time id"


def test_what_cannot_be_used_is_said_beside_its_field_and_the_rest_is_kept(
    page: Page, service: Service, watched: Watched
) -> None:
    page.goto("/ui/keys")
    page.get_by_label("Name").fill("kept")
    page.get_by_role("checkbox", name="read:").uncheck()
    page.get_by_role("button", name="Make the key").click()
    assert "A key needs a scope" in page.locator("#scopes-error").inner_text()
    assert page.get_by_label("Name").input_value() == "kept"
    page.get_by_role("checkbox", name="upload:").check()
    yesterday = (datetime.now(UTC) - timedelta(days=2)).date().isoformat()
    page.locator("form[data-once]").evaluate("form => { form.noValidate = true; }")
    page.get_by_label("Last day").fill(yesterday)
    page.get_by_role("button", name="Make the key").click()
    field = page.get_by_label("Last day")
    expect(field).to_be_focused()
    assert field.get_attribute("aria-invalid") == "true"
    described = field.get_attribute("aria-describedby") or ""
    assert "in the past" in page.locator(f"#{described.split()[0]}").inner_text()
    assert page.get_by_role("checkbox", name="upload:").is_checked()
    watched.expect("422")


def test_a_rotated_key_stays_valid_for_the_overlap_that_was_chosen(
    page: Page, service: Service, watched: Watched
) -> None:
    key_id, old = key_with(service, "read", name="rotating")
    page.goto(f"/ui/keys/{key_id}")
    page.get_by_label("This key stays valid for").select_option("3600")
    page.get_by_role("button", name="Rotate the key").click()
    new = page.get_by_label("Key", exact=True).input_value()
    assert "stays valid until" in page.inner_text("main")
    assert [status_with(service, key) for key in (old, new)] == [200, 200]
    page.reload()
    assert "No second one was made" in page.get_by_role("alert").inner_text()
    page.goto(f"/ui/keys/{key_id}")
    page.get_by_role("button", name="Rotate the key").click()
    assert "both it and its successor are active" in page.get_by_role("alert").inner_text()
    watched.expect("409")


def test_revoking_asks_whether_it_is_meant(page: Page, service: Service, watched: Watched) -> None:
    key_id, text = key_with(service, "read")
    page.goto(f"/ui/keys/{key_id}")
    revoke = page.get_by_role("button", name="Revoke the key")
    revoke.click()
    assert page.url.endswith(key_id), "the browser asks for the box"
    assert status_with(service, text) == 200
    page.get_by_label("Nobody needs this key any more").check()
    revoke.click()
    expect(page.locator("dl.facts .badge")).to_have_text("revoked")
    assert status_with(service, text) == 401
    page.go_back()
    page.reload()
    assert page.get_by_role("button", name="Revoke the key").count() == 0
    assert watched.errors == []


def test_no_key_locks_its_project_out(page: Page, service: Service, watched: Watched) -> None:
    own = api_keys.read_key(service.ours.key).key_id
    page.goto(f"/ui/keys/{own}")
    assert "your session ends with it" in page.inner_text("main")
    page.get_by_label("Nobody needs this key any more").check()
    page.get_by_role("button", name="Revoke the key").click()
    assert "nobody could then manage the keys" in page.get_by_role("alert").inner_text()
    assert status_with(service, service.ours.key) == 200
    watched.expect("409")


def test_a_reader_sees_no_admin_page_and_is_refused_and_noted(
    service: Service, new_context: Callable[..., BrowserContext], watched: Watched
) -> None:
    key_id, text = key_with(service, "read")
    page = new_context().new_page()
    page.goto(sign_in_path(service, text))
    menu = page.get_by_role("navigation", name="Main").inner_text()
    assert "Use" in menu
    for noun in ("Keys", "Webhooks", "Trail"):
        assert noun not in menu
    for path in ("/ui/keys", f"/ui/keys/{key_id}", "/ui/trail", "/ui/webhooks"):
        page.goto(path)
        assert "does not have the scope 'admin'" in page.get_by_role("alert").inner_text(), path
    token = page.locator("input[name=form_token]").first.input_value()
    cookies = {one["name"]: one["value"] for one in page.context.cookies()}
    before = num_keys(service)
    for path in ("/ui/keys", f"/ui/keys/{key_id}/rotate", f"/ui/keys/{key_id}/revoke"):
        answer = httpx.post(service.url + path, data={"form_token": token}, cookies=cookies)
        assert answer.status_code == 403, path
    assert num_keys(service) == before
    noted = service.ours.http.get("/v1/trail", params={"key_id": key_id}).json()["data"]
    refused = {entry["action"] for entry in noted if entry["reason"] == "scope_missing"}
    assert refused == {"key.create", "key.rotate", "key.revoke"}
    watched.expect("403")


def test_a_key_is_renamed_and_the_log_shows_the_name_it_has_now(page: Page, service: Service) -> None:
    key_id, text = key_with(service, "run")
    headers = {"Authorization": f"Bearer {text}"}
    order = httpx.post(f"{service.url}/v1/jobs", json=service.sanitize_order(), headers=headers)
    page.goto(f"/ui/keys/{key_id}")
    page.locator("#rename summary").click()
    page.get_by_label("Name").fill("Ada's laptop")
    page.get_by_role("button", name="Save the name").click()
    expect(page.locator("h1")).to_have_text("Ada's laptop")
    page.goto(f"/ui/trail?target_id={order.json()['id']}")
    assert f"Ada's laptop {key_id}" in " ".join(page.inner_text("table.trail tbody").split())


def test_markup_in_a_keys_name_is_text(page: Page, service: Service) -> None:
    make(page, MARKUP)
    page.goto("/ui/keys")
    page.get_by_role("link", name=MARKUP).first.click()
    assert page.get_by_role("heading", level=1).inner_text() == MARKUP
    assert page.locator("main img").count() == 0


def test_another_projects_key_is_not_there(page: Page, service: Service, watched: Watched) -> None:
    theirs = api_keys.read_key(service.theirs.key).key_id
    page.goto(f"/ui/keys/{theirs}")
    assert "There is no key" in page.get_by_role("alert").inner_text()
    page.goto("/ui/keys")
    assert service.theirs.key[:37] not in page.content()
    watched.expect("404")


@pytest.mark.full
def test_keys_are_made_without_a_mouse_and_on_a_phone(
    service: Service, new_context: Callable[..., BrowserContext]
) -> None:
    page = new_context(viewport={"width": 390, "height": 844}).new_page()
    page.goto(sign_in_path(service))
    page.goto("/ui/keys")
    widths = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert widths[0] <= widths[1]
    page.get_by_label("Name").focus()
    page.keyboard.type("by keyboard")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Your new key")
    expect(page.get_by_label("Key", exact=True)).to_be_focused()


# ---------------------------------------------------------------- use


def test_each_quota_shows_what_is_used_and_what_frees_it(page: Page, service: Service) -> None:
    ordered(service)
    page.goto("/ui/usage")
    usage = service.ours.http.get("/v1/usage").json()
    waiting = page.locator("li", has=page.get_by_role("heading", name="Waiting jobs"))
    limit = usage["waiting_jobs"]["limit"]
    assert f"{usage['waiting_jobs']['current']} of {limit:,}" in waiting.inner_text()
    meter = waiting.get_by_role("meter", name="Waiting jobs")
    assert float(meter.get_attribute("max") or 0) == limit
    assert float(meter.get_attribute("value") or 0) == usage["waiting_jobs"]["current"] > 0
    assert page.get_by_role("meter").count() == 7
    stored = page.locator("li", has=page.get_by_role("heading", name="Stored bytes"))
    assert "Deleting frees them" in stored.inner_text()
    assert stored.get_by_role("link", name="Delete checkpoints").is_visible()


def test_a_quota_that_is_used_up_says_so_in_words(page: Page, service: Service) -> None:
    ordered(service)
    service.execute(
        "INSERT INTO project_quotas (project_id, waiting_jobs) VALUES (:project, 1)",
        project=service.ours.project_id,
    )
    page.goto("/ui/usage")
    waiting = page.locator("li", has=page.get_by_role("heading", name="Waiting jobs"))
    assert "used up" in waiting.inner_text()
    service.execute("DELETE FROM project_quotas")


# ---------------------------------------------------------------- the trail


def test_the_log_is_filtered_by_action_outcome_and_target(page: Page, service: Service) -> None:
    job_id = ordered(service)
    service.ours.http.post(f"/v1/jobs/{job_id}/cancel")
    own = api_keys.read_key(service.ours.key).key_id
    service.ours.http.post(f"/v1/keys/{own}/revoke")
    page.goto("/ui/trail")
    page.get_by_label("Target").fill(job_id)
    page.get_by_label("Target").press("Enter")
    page.wait_for_url("**target_id=job_**")
    assert page.locator("table.trail tbody tr td:nth-child(2)").all_inner_texts() == [
        "job.cancel",
        "job.create",
    ]
    page.get_by_label("Action").select_option("job.create")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**action=job.create**")
    assert page.locator("table.trail tbody tr").count() == 1
    page.goto("/ui/trail?outcome=refused")
    outcomes = page.locator("table.trail tbody tr td:nth-child(3)").all_inner_texts()
    assert all(text.startswith("refused") for text in outcomes)
    assert any("last_admin_key" in text for text in outcomes)
    page.goto("/ui/trail?target_id=nothing")
    assert "Nothing matches" in page.inner_text("main")


def test_the_log_goes_on_to_older_pages(page: Page, service: Service) -> None:
    with service.database.unit_of_work() as unit:
        for number in range(60):
            unit.trail.add(
                project_id=service.ours.project_id,
                actor="op@host",
                action="quota.set",
                target_id=f"n{number}",
            )
    page.goto("/ui/trail?action=quota.set")
    assert page.locator("table.trail tbody tr").count() == 50
    page.get_by_role("link", name="Older").click()
    page.wait_for_url("**after=**")
    assert "n9" in page.locator("table.trail tbody tr").first.inner_text()
    page.get_by_role("link", name="Newest").click()
    page.wait_for_url("**/ui/trail?action=quota.set")


@pytest.mark.full
def test_a_phone_shows_an_entry_whole_and_in_few_lines(
    service: Service, new_context: Callable[..., BrowserContext]
) -> None:
    ordered(service)
    page = new_context(viewport={"width": 390, "height": 844}, is_mobile=True).new_page()
    page.goto(sign_in_path(service))
    page.goto("/ui/trail")
    row = page.locator("table.trail tbody tr").first
    rights = row.locator("td").evaluate_all("cells => cells.map(one => one.getBoundingClientRect().right)")
    assert max(rights) <= 390
    assert row.evaluate("row => row.getBoundingClientRect().height") < 200


def test_markup_in_an_entry_is_text(page: Page, service: Service) -> None:
    with service.database.unit_of_work() as unit:
        unit.trail.add(project_id=service.ours.project_id, actor=MARKUP, action="quota.set", target_id=MARKUP)
    page.goto("/ui/trail")
    assert page.locator("table.trail tbody tr").first.inner_text().count(MARKUP) == 2
    assert page.locator("main img").count() == 0


def test_every_action_that_is_noted_can_be_chosen() -> None:
    root = Path(__file__).parents[2]
    noted = re.compile(r"""\bnote\(\s*[\w.]+,\s*[\w.()=]+,\s*"([a-z_]+\.[a-z_]+)\"""")
    found = {
        action
        for folder in ("app", "worker")
        for path in (root / folder).rglob("*.py")
        for action in noted.findall(path.read_text())
    }
    assert len(found) > 20
    assert found <= set(ACTIONS)
