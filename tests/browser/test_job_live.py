"""A job's page while it is watched: it follows without a reload, survives what breaks, ends when all is done.

The worker is us, through the repositories it uses; where the service stops and starts it is a process.
"""

import re
import time
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from app.db.roles import Role
from app.db.session import Database, build_engine
from app.domain.states import JobPhase
from app.local.processes import free_ports
from app.services import api_keys, sessions
from app.settings import Settings
from app.storage.s3 import S3Store
from tests.browser import left_jobs as left
from tests.browser.conftest import PATIENCE_MS, Watched
from tests.fixtures.kept_reports import document
from tests.integration.api.live import Live, Process
from tests.integration.api.service import Service
from tests.integration.cleanclip.served import Served, new_key

LOST = "Connection lost, trying again"


@pytest.fixture(autouse=True)
def patience() -> None:
    expect.set_options(timeout=PATIENCE_MS)


def running(service: Service) -> tuple[str, int]:
    job_id = left.ordered(service)
    return job_id, left.taken_up(service, job_id)


def marked(page: Page, job_id: str) -> Page:
    """The page, with a mark that a reload would wipe."""
    page.goto(f"/ui/jobs/{job_id}")
    page.evaluate("window.isStillHere = true")
    return page


def is_still_here(page: Page) -> bool:
    return bool(page.evaluate("window.isStillHere === true"))


def test_the_page_follows_from_the_queue_to_the_result_without_a_reload(page: Page, service: Service) -> None:
    job_id = left.ordered(service)
    marked(page, job_id)
    attempt = left.taken_up(service, job_id)
    expect(page.locator("#job-standing")).to_contain_text("A worker started it.")
    left.beat(service, job_id, attempt, JobPhase.BASELINE_AUDIT, fraction=0.1)
    expect(page.locator("#job-standing")).to_contain_text("Running: Audit before cleaning.")
    left.trains(service, job_id, attempt, step=100)
    expect(page.locator("#job-progress")).to_contain_text("step 100 of 500")
    left.trains(service, job_id, attempt, step=200)
    expect(page.locator("#job-loss figcaption")).to_contain_text("at step 200")
    left.noted(service, job_id, attempt, "Half of it is done.")
    expect(page.locator("#job-lines")).to_contain_text("Half of it is done.")
    left.succeeds(service, job_id, attempt, document("cleaned"))
    expect(page.locator("#job-verdict h2")).to_have_text("Cleaned, as far as tested: pass.")
    expect(page).to_have_title(re.compile("^succeeded: Cleaning of clip.pt"))
    assert page.locator("#job-progress").count() == 0
    assert is_still_here(page)


def test_it_asks_once_a_second_at_most_and_no_more_at_the_end(page: Page, service: Service) -> None:
    job_id, attempt = running(service)
    asked: list[float] = []
    page.on("request", lambda one: asked.append(time.monotonic()) if "/live" in one.url else None)
    began = time.monotonic()
    marked(page, job_id)
    for step in range(1, 36):
        left.trains(service, job_id, attempt, step=5 * step)
        page.wait_for_timeout(100)
    left.succeeds(service, job_id, attempt, document("cleaned"))
    expect(page.locator("#job-files")).to_be_visible()
    assert 3 <= len(asked) <= time.monotonic() - began + 1, "at once, then once a second; not once a change"
    asked.clear()
    page.wait_for_timeout(1500)
    assert asked == []


def test_what_the_reader_opened_and_where_she_is_stay_while_other_parts_change(
    page: Page, service: Service
) -> None:
    job_id, attempt = running(service)
    marked(page, job_id)
    page.locator("#order-curl summary").click()
    page.locator("#confirm-cancel summary").click()
    page.get_by_role("button", name="Yes, cancel this job").focus()
    left.trains(service, job_id, attempt, step=50)
    expect(page.locator("#job-progress")).to_contain_text("step 50 of 500")
    assert page.locator("#order-curl[open], #confirm-cancel[open]").count() == 2
    assert page.evaluate("document.activeElement.textContent") == "Yes, cancel this job"
    left.succeeds(service, job_id, attempt, document("cleaned"))
    expect(page.locator("#job-verdict")).to_be_visible()
    assert page.locator("#order-curl[open]").count() == 1
    assert page.evaluate("document.activeElement.tagName") == "H1", "the button is gone; focus is not lost"


@pytest.mark.full
def test_several_tabs_follow_and_one_sees_what_the_other_did(page: Page, service: Service) -> None:
    job_id, attempt = running(service)
    tabs = [marked(page.context.new_page(), job_id) for _ in range(3)]
    tabs[0].get_by_role("button", name="Pause").click()
    for tab in tabs[1:]:
        expect(tab.get_by_role("button", name="Keep it running")).to_be_visible()
    left.succeeds(service, job_id, attempt, document("audit"))
    for tab in tabs:
        expect(tab.locator(".badge.succeeded").first).to_be_visible()


def test_a_tab_that_nobody_sees_holds_no_stream_and_catches_up_when_it_is_seen(
    page: Page, service: Service
) -> None:
    job_id, attempt = running(service)
    marked(page, job_id)
    _wait_for_streams(page, service, 1)
    _hide(page, hidden=True)
    _wait_for_streams(page, service, 0)
    left.trains(service, job_id, attempt, step=300)
    _hide(page, hidden=False)
    expect(page.locator("#job-progress")).to_contain_text("step 300 of 500")
    _wait_for_streams(page, service, 1)


def _hide(page: Page, *, hidden: bool) -> None:
    page.evaluate(
        "hidden => { Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});"
        " document.dispatchEvent(new Event('visibilitychange')); }",
        hidden,
    )


def _wait_for_streams(page: Page, service: Service, expected: int) -> None:
    for _ in range(300):
        answer = service.ours.http.get("/metrics").text
        found = re.search(r"^cleanclip_event_streams (\S+)$", answer, re.M)
        assert found is not None
        if int(float(found[1])) == expected:
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"{found[1]} streams are open, not {expected}")


@pytest.mark.full
def test_where_a_stream_is_refused_the_page_asks_by_itself(
    page: Page, service: Service, watched: Watched
) -> None:
    job_id, attempt = running(service)
    page.route("**/stream", lambda route: route.fulfill(status=429, body="no"))
    marked(page, job_id)
    left.trains(service, job_id, attempt, step=70)
    expect(page.locator("#job-progress")).to_contain_text("step 70 of 500")
    left.succeeds(service, job_id, attempt, document("audit"))
    expect(page.locator("#job-verdict")).to_be_visible()
    assert is_still_here(page)
    watched.expect("429")


@pytest.mark.full
def test_a_page_told_to_ask_later_does_so_though_the_stream_has_ended(
    page: Page, service: Service, watched: Watched
) -> None:
    job_id = left.ordered(service)
    marked(page, job_id)
    _wait_for_streams(page, service, 1)
    reported: list[str] = []

    def answer(route: Route) -> None:
        if len(reported) < 3:
            reported.append(route.request.url)
            route.fulfill(status=429, headers={"Retry-After": "1"}, body="later")
        else:
            route.continue_()

    page.route("**/live", answer)
    service.ours.http.post(f"/v1/jobs/{job_id}/cancel").raise_for_status()
    expect(page.locator(".badge.cancelled").first).to_be_visible()
    assert len(reported) == 3
    assert is_still_here(page)
    watched.expect("429")


def test_a_lost_connection_is_said_and_the_page_goes_on_when_it_is_back(
    page: Page, service: Service, watched: Watched
) -> None:
    job_id, attempt = running(service)
    marked(page, job_id)
    page.context.set_offline(True)
    left.trains(service, job_id, attempt, step=90)
    page.route("**/live", lambda route: route.abort("connectionfailed"))
    expect(page.get_by_text(LOST)).to_be_visible()
    page.unroute("**/live")
    page.context.set_offline(False)
    expect(page.locator("#job-progress")).to_contain_text("step 90 of 500")
    expect(page.get_by_text(LOST)).to_be_hidden()
    assert is_still_here(page)
    watched.errors = [error for error in watched.errors if "net::ERR_" not in error]


@pytest.mark.full
def test_an_answer_that_is_a_failure_is_a_lost_connection_not_the_pages_content(
    page: Page, service: Service, watched: Watched
) -> None:
    job_id, attempt = running(service)
    marked(page, job_id)
    broken = {"is": True}

    def answer(route: Route) -> None:
        if broken["is"]:
            route.fulfill(status=502, body="<h1>Bad gateway</h1>")
        else:
            route.continue_()

    page.route("**/live", answer)
    left.trains(service, job_id, attempt, step=110)
    expect(page.get_by_text(LOST)).to_be_visible()
    assert page.get_by_text("Bad gateway").count() == 0
    broken["is"] = False
    expect(page.locator("#job-progress")).to_contain_text("step 110 of 500")
    watched.expect("502")


def test_a_job_that_is_deleted_while_it_is_watched_is_said_once_and_asked_for_no_more(
    page: Page, service: Service, watched: Watched
) -> None:
    job_id, _ = running(service)
    marked(page, job_id)
    _wait_for_streams(page, service, 1)
    service.execute("UPDATE jobs SET deleted_at = now(), version = version + 1 WHERE id = :id", id=job_id)
    expect(page.get_by_role("alert")).to_contain_text("has been deleted")
    asked: list[str] = []
    page.on("request", lambda one: asked.append(one.url))
    page.wait_for_timeout(2500)
    assert asked == []
    assert page.get_by_role("link", name="Go to the jobs").is_visible()
    assert is_still_here(page)
    watched.expect("404")


def test_a_session_that_ended_leads_to_the_sign_in_and_back_to_the_job(
    page: Page, service: Service, watched: Watched
) -> None:
    job_id, attempt = running(service)
    marked(page, job_id)
    service.execute("UPDATE web_sessions SET expires_at = now() - interval '1 second'")
    left.trains(service, job_id, attempt)
    page.wait_for_url("**/ui/sign-in?next=*")
    page.get_by_label("Project key").fill(service.ours.key)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"**/ui/jobs/{job_id}")
    watched.expect("401")


@pytest.mark.full
def test_a_job_tried_again_elsewhere_is_followed_once_the_tab_is_seen(page: Page, service: Service) -> None:
    job_id, attempt = running(service)
    left.fails(service, job_id, attempt)
    marked(page, job_id)
    service.ours.http.post(f"/v1/jobs/{job_id}/retry").raise_for_status()
    _hide(page, hidden=False)
    expect(page.locator(".badge.queued")).to_be_visible()
    left.taken_up(service, job_id)
    expect(page.locator("#job-standing")).to_contain_text("A worker started it.")
    assert is_still_here(page)


# ---------------------------------------------------------------- the service stops and starts


@pytest.fixture
def live(
    service_settings: Settings,
    service_environment: dict[str, str],
    object_store: S3Store,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Live]:
    """The API as a process on a port of its own."""
    (port,) = free_ports(1)
    process = Process(
        f"http://127.0.0.1:{port}",
        service_environment | {"CLEANCLIP_API__PORT": str(port)},
        tmp_path_factory.mktemp("live") / "log",
    )
    database = Database(build_engine(service_settings.database.url, role=Role.OPERATOR))
    project_id, key = new_key(database, "restarted")
    served = Served(url=process.url, database=database, store=object_store, project_id=project_id, key=key)
    process.start()
    yield Live(process, served, key)
    process.stop()
    database.dispose()


@pytest.mark.full
def test_a_restart_of_the_service_is_survived(
    live: Live, new_context: Callable[..., BrowserContext], watched: Watched
) -> None:
    watched.allowed_hosts.add(live.process.url.removeprefix("http://"))
    with live.ours.database.unit_of_work() as unit:
        token = sessions.make_link(unit, live.ours.project_id, api_keys.read_key(live.ours.key), lasts_s=60)
    page = new_context().new_page()
    page.goto(f"{live.process.url}/ui/sign-in/once?token={token}")
    job_id = live.job()
    with live.ours.database.unit_of_work() as unit:
        claimed = unit.attempts.claim(job_id, owner="tests", lease_s=60)
    assert claimed is not None
    page.goto(f"{live.process.url}/ui/jobs/{job_id}")
    page.evaluate("window.isStillHere = true")
    expect(page.locator("#job-standing")).to_contain_text("A worker started it.")
    live.process.stop()
    expect(page.get_by_text(LOST)).to_be_visible()
    live.note(job_id, claimed.attempt, level="info", message="Said while the service was away.")
    live.process.start()
    expect(page.locator("#job-lines")).to_contain_text("Said while the service was away.")
    expect(page.get_by_text(LOST)).to_be_hidden()
    live.note(job_id, claimed.attempt, level="info", message="Said after.")
    expect(page.locator("#job-lines")).to_contain_text("Said after.")
    live.finish(job_id, claimed.attempt)
    expect(page.locator(".badge.succeeded").first).to_be_visible()
    assert is_still_here(page)
    watched.errors = [error for error in watched.errors if "net::ERR_" not in error]
