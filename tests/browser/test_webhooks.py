"""Webhooks for an administrator: made, changed, tested, deleted; deliveries looked at and sent again."""

import dataclasses
from collections.abc import Callable, Iterator

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page, expect
from starlette.routing import Mount

from app.services import api_keys
from tests.browser.conftest import Watched, sign_in_path
from tests.integration.api.service import Service

URL = "https://example.org/hooks/cleanclip"
MARKUP = "<img src=x onerror=alert(1)>"


@pytest.fixture(autouse=True)
def _no_webhooks(service: Service) -> None:
    service.execute("DELETE FROM webhook_deliveries")
    service.execute("DELETE FROM webhooks")


@pytest.fixture
def webhook(service: Service) -> str:
    """The id of one that is told of everything."""
    answer = service.ours.http.post("/v1/webhooks", json={"url": URL})
    assert answer.status_code == 201, answer.text
    found: str = answer.json()["id"]
    return found


def queued(service: Service, webhook_id: str) -> str:
    """The id of a delivery that waits."""
    found: str = service.ours.http.post(f"/v1/webhooks/{webhook_id}/test").json()["id"]
    return found


def settle(service: Service, delivery_id: str, state: str, **values: object) -> None:
    """As a deliverer would leave it."""
    sets = "".join(f", {name} = :{name}" for name in values)
    service.execute(
        "UPDATE webhook_deliveries SET state = :state, num_tries = 10, tried_at = now(), took_ms = 12"
        f"{sets} WHERE id = :id",
        state=state,
        id=delivery_id,
        **values,
    )


def state_of(service: Service, webhook_id: str, delivery_id: str) -> str:
    answer = service.ours.http.get(f"/v1/webhooks/{webhook_id}/deliveries/{delivery_id}")
    found: str = answer.json()["state"]
    return found


def num_webhooks(service: Service) -> int:
    return len(service.ours.http.get("/v1/webhooks").json()["data"])


# ---------------------------------------------------------------- webhooks


def test_a_webhook_is_made_and_its_secret_shown_once(page: Page, service: Service) -> None:
    page.goto("/ui/webhooks")
    assert "There is no webhook yet" in page.inner_text("main")
    page.get_by_label("Address").fill(URL)
    page.get_by_label("dataset.ready").uncheck()
    page.get_by_role("button", name="Make the webhook").click()
    secret = page.get_by_label("Secret", exact=True).input_value()
    assert secret.startswith("whsec_")
    page.reload()
    assert "nothing was made or changed now" in page.get_by_role("alert").inner_text()
    assert secret not in page.content()
    assert num_webhooks(service) == 1
    page.get_by_role("link", name="Go to this webhook").click()
    page.wait_for_url("**/ui/webhooks/wh_*")
    facts = page.locator("dl.facts").inner_text()
    assert "job.succeeded" in facts
    assert "dataset.ready" not in facts
    assert secret not in page.content()


REFUSED = (
    ("http://example.org/", "does not begin with https://"),
    ("https://169.254.169.254/latest/meta-data/", "an IP address that is not public"),
    ("https://localhost/", "a name without a dot"),
    ("https://example.org:22/", "Port 22 is not allowed"),
    ("https://user:word@example.org/", "a user or a password"),
    (f"https://example.org/{MARKUP}", "has characters other than"),
)


@pytest.mark.parametrize("refused", REFUSED, ids=[url for url, _ in REFUSED])
def test_an_address_inside_is_refused_beside_its_field(
    page: Page, service: Service, webhook: str, watched: Watched, refused: tuple[str, str]
) -> None:
    url, said = refused
    for path, button in (("/ui/webhooks", "Make the webhook"), (f"/ui/webhooks/{webhook}", "Save")):
        page.goto(path)
        field = page.get_by_label("Address")
        field.fill(url)
        field.evaluate("field => { field.form.noValidate = true; }")
        page.get_by_role("button", name=button).click()
        expect(field).to_have_attribute("aria-invalid", "true")
        expect(field).to_be_focused()
        if url != f"https://example.org/{MARKUP}":
            assert field.input_value() == url, "what was filled in is kept"
        assert said in page.locator("#url-error").inner_text()
    assert num_webhooks(service) == 1
    assert page.locator("main img").count() == 0
    watched.expect("422")


def test_it_is_changed_disabled_enabled_and_its_secret_rotated(
    page: Page, service: Service, webhook: str, watched: Watched
) -> None:
    page.goto(f"/ui/webhooks/{webhook}")
    page.get_by_label("Address").fill("https://hooks.example.org/")
    for event in ("job.cancelled", "dataset.ready"):
        page.get_by_label(event).uncheck()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("https://hooks.example.org/")
    assert not page.get_by_label("job.cancelled").is_checked()
    page.get_by_role("button", name="Disable").click()
    expect(page.locator("dl.facts .badge")).to_have_text("disabled")
    assert page.get_by_role("button", name="Send a test message").count() == 0
    page.get_by_role("button", name="Enable").click()
    expect(page.locator("dl.facts .badge")).to_have_text("enabled")
    page.get_by_role("button", name="Rotate the secret").click()
    assert page.get_by_label("Secret", exact=True).input_value().startswith("whsec_")
    page.get_by_role("link", name="Go to this webhook").click()
    assert "signs beside the new one until" in page.locator("dl.facts").inner_text()
    page.get_by_role("button", name="Rotate the secret").click()
    assert "the one before it still signs" in page.get_by_role("alert").inner_text()
    watched.expect("409")


def test_deleting_asks_whether_it_is_meant(page: Page, service: Service, webhook: str) -> None:
    page.goto(f"/ui/webhooks/{webhook}")
    page.get_by_role("button", name="Delete the webhook").click()
    assert num_webhooks(service) == 1
    page.get_by_label("Delete this webhook and its deliveries").check()
    page.get_by_role("button", name="Delete the webhook").click()
    page.wait_for_url("**/ui/webhooks")
    assert num_webhooks(service) == 0


@pytest.fixture
def switched_off(service: Service) -> Iterator[None]:
    """The pages of an installation whose operator set no key."""
    [pages] = [route.app for route in service.app.routes if isinstance(route, Mount) and route.path == "/ui"]
    ports = service.ports
    rules = dataclasses.replace(ports.webhook_rules, sealer=None)
    pages.state.ports = dataclasses.replace(ports, webhook_rules=rules)  # type: ignore[attr-defined]
    yield
    pages.state.ports = ports  # type: ignore[attr-defined]


@pytest.mark.usefixtures("switched_off")
def test_without_an_encryption_key_the_page_says_what_the_operator_must_set(
    page: Page, service: Service
) -> None:
    page.goto("/ui/webhooks")
    text = page.inner_text("main")
    assert "This installation sends no webhooks" in text
    assert "CLEANCLIP_WEBHOOKS__ENCRYPTION_KEYS" in text
    assert page.get_by_role("button", name="Make the webhook").count() == 0
    token = page.locator("input[name=form_token]").first.input_value()
    cookies = {one["name"]: one["value"] for one in page.context.cookies()}
    form = {"form_token": token, "once": "x" * 24, "url": URL, "events": "job.failed"}
    answer = httpx.post(f"{service.url}/ui/webhooks", data=form, cookies=cookies)
    assert answer.status_code == 409
    assert num_webhooks(service) == 0


# ---------------------------------------------------------------- deliveries


def test_a_test_message_is_queued_and_its_end_appears_by_itself(
    page: Page, service: Service, webhook: str
) -> None:
    page.goto(f"/ui/webhooks/{webhook}")
    assert "Nothing was sent yet" in page.inner_text("main")
    page.get_by_role("button", name="Send a test message").click()
    table = page.locator("table.deliveries tbody")
    expect(table.locator("tr")).to_have_count(1)
    assert "webhook.test" in table.inner_text()
    assert "pending" in table.inner_text()
    page.reload()
    expect(table.locator("tr")).to_have_count(1)
    [delivery] = service.ours.http.get(f"/v1/webhooks/{webhook}/deliveries").json()["data"]
    settle(service, delivery["id"], "delivered", status=204)
    expect(table).to_contain_text("delivered")
    expect(table).to_contain_text("status 204")
    assert page.locator("#webhook-deliveries").get_attribute("hx-get") is None


def test_dead_letters_are_found_read_as_text_and_sent_again(
    page: Page, service: Service, webhook: str
) -> None:
    delivered, failed = queued(service, webhook), queued(service, webhook)
    settle(service, delivered, "delivered", status=200)
    settle(service, failed, "failed", status=500, error="refused", excerpt=MARKUP)
    page.goto(f"/ui/webhooks/{webhook}")
    page.get_by_label("State").select_option("failed")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**state=failed**")
    rows = page.locator("table.deliveries tbody tr")
    assert rows.count() == 1
    rows.locator("summary").click()
    assert rows.locator("pre").inner_text() == MARKUP
    assert page.locator("main img").count() == 0
    assert "status 500 refused" in " ".join(rows.inner_text().split())
    rows.get_by_role("button", name="again").focus()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/ui/webhooks/{webhook}#deliveries")
    assert state_of(service, webhook, failed) == "pending"
    page.goto(f"/ui/webhooks/{webhook}?state=failed")
    assert "No delivery is failed" in page.inner_text("main")


def test_markup_in_an_address_is_text(page: Page, service: Service, webhook: str) -> None:
    service.execute("UPDATE webhooks SET url = :url", url=f'https://x.org/"{MARKUP}')
    for path in ("/ui/webhooks", f"/ui/webhooks/{webhook}"):
        page.goto(path)
        assert MARKUP in page.inner_text("main")
        assert page.locator("main img").count() == 0


def test_a_key_without_admin_and_another_project_are_refused(
    page: Page, service: Service, webhook: str, watched: Watched
) -> None:
    with service.database.unit_of_work() as unit:
        _, reader = api_keys.issue(
            unit, project_id=service.ours.project_id, name="no admin", scopes=("read", "upload", "run")
        )
    delivery = queued(service, webhook)
    page.context.clear_cookies()
    page.goto(sign_in_path(service, reader))
    for path in ("/ui/webhooks", f"/ui/webhooks/{webhook}"):
        page.goto(path)
        assert "does not have the scope 'admin'" in page.get_by_role("alert").inner_text()
    token = page.locator("input[name=form_token]").first.input_value()
    cookies = {one["name"]: one["value"] for one in page.context.cookies()}
    here = f"{service.url}/ui/webhooks/{webhook}"
    for url in (
        f"{service.url}/ui/webhooks",
        here,
        *(f"{here}/{verb}" for verb in ("test", "enable", "disable", "rotate-secret", "delete")),
        f"{here}/deliveries/{delivery}/replay",
    ):
        answer = httpx.post(url, data={"form_token": token, "confirm": "yes"}, cookies=cookies)
        assert answer.status_code == 403, url
    watched.expect("403")
    theirs = service.theirs.http.post("/v1/webhooks", json={"url": URL}).json()["id"]
    page.context.clear_cookies()
    page.goto(sign_in_path(service))
    page.goto(f"/ui/webhooks/{theirs}")
    assert "There is no webhook" in page.get_by_role("alert").inner_text()
    watched.expect("404")


@pytest.mark.full
def test_a_phone_scrolls_the_tables_and_not_the_page(
    service: Service, webhook: str, new_context: Callable[..., BrowserContext]
) -> None:
    settle(service, queued(service, webhook), "failed", error="timed_out", excerpt="x" * 900)
    page = new_context(viewport={"width": 390, "height": 844}).new_page()
    page.goto(sign_in_path(service))
    for path in ("/ui/webhooks", f"/ui/webhooks/{webhook}"):
        page.goto(path)
        widths = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert widths[0] <= widths[1], path
