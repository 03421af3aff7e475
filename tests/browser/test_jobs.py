"""The list of jobs: what a row shows, filters, search, pages, what keeps itself up to date."""

import json
import re
from collections.abc import Callable

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from app.db.repositories.job_search import Wanted
from app.domain.states import DatasetKind, JobState
from app.web.jobs.jobs import PER_PAGE
from tests.browser.conftest import sign_in_path
from tests.browser.left_jobs import finished, forget_jobs, ordered
from tests.integration.api.service import Service

MARKUP = "<img src=x onerror=alert(1)>"


@pytest.fixture(autouse=True)
def _no_jobs(service: Service) -> None:
    forget_jobs(service)


def shown(page: Page) -> list[str]:
    """The ids of the rows, in order."""
    return [text.strip() for text in page.locator("table.jobs th[scope=row] code").all_inner_texts()]


def row(page: Page, job_id: str) -> str:
    return page.locator("tr", has_text=job_id).inner_text()


def test_a_row_says_what_came_of_its_job(page: Page, service: Service) -> None:
    cleaned = finished(service, filename="rn50.pt")
    audited = finished(service, "audit")
    failed = ordered(service)
    service.set_job(failed, JobState.FAILED, error=json.dumps({"code": "loss_not_finite"}))
    page.goto("/ui/jobs")
    assert shown(page) == [failed, audited, cleaned]
    for part in (
        "rn50.pt",
        "CleanCLIP",
        "yellow seven",
        "pass",
        "badnet: ASR 99.5 % →",
        "CA",
        "3 min 20 s",
        "UTC",
    ):
        assert part in row(page, cleaned)
    assert "sig: ASR 28.2 % → 1.0 % (inconclusive)" in row(page, cleaned)
    assert "A trigger works on this model: fail" in row(page, audited)
    assert "loss_not_finite" in row(page, failed)


@pytest.mark.full
def test_a_phone_shows_what_came_of_a_job(
    service: Service, new_context: Callable[..., BrowserContext]
) -> None:
    finished(service, filename="rn50.pt")
    page = new_context(viewport={"width": 390, "height": 844}, is_mobile=True).new_page()
    page.goto(sign_in_path(service))
    page.goto("/ui/jobs")
    box = page.locator("table.jobs td.result").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    row = page.locator("table.jobs tbody tr").bounding_box()
    assert row is not None
    assert row["height"] < 330


def test_filters_and_words_find_jobs_and_stay_in_the_form(page: Page, service: Service) -> None:
    by_file = ordered(service, filename="needle-50%_off.pt")
    by_target = ordered(service, target="needle fish")
    by_metadata = ordered(service, metadata={"ticket": "ML-42 Needle"})
    other = finished(service)
    page.goto("/ui/jobs")
    page.get_by_label("Search").fill("NEEDLE")
    page.get_by_label("Search").press("Enter")
    page.wait_for_url("**q=NEEDLE**")
    assert shown(page) == [by_metadata, by_target, by_file]
    assert page.get_by_label("Search").input_value() == "NEEDLE"
    for words, found in (
        ("50%_off", [by_file]),
        ("50%off", []),
        (other, [other]),
        (other[-8:].upper(), [other]),
        ("ticket", []),
        ("' OR 1=1 --", []),
    ):
        page.get_by_label("Search").fill(words)
        page.get_by_role("button", name="Show").click()
        page.wait_for_load_state()
        assert shown(page) == found, words
    assert "Nothing matches" in page.inner_text("main")
    page.get_by_role("link", name="Show all jobs").click()
    page.get_by_label("State").select_option("succeeded")
    page.get_by_label("Kind").select_option("sanitize")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**state=succeeded**")
    assert shown(page) == [other]
    assert page.get_by_label("State").input_value() == "succeeded"


def test_pages_go_on_and_come_back(page: Page, service: Service) -> None:
    first = ordered(service)
    ids = [first]
    for number in range(2 * PER_PAGE + 3):
        copied = f"{first[:-3]}{number // 10}{number % 10}{'y' if first[-1] == 'z' else 'z'}"
        service.execute(
            "INSERT INTO jobs SELECT (jsonb_populate_record(jobs,"
            " jsonb_build_object('id', CAST(:id AS text)))).* FROM jobs WHERE id = :of",
            id=copied,
            of=first,
        )
        ids.append(copied)
    service.execute("UPDATE jobs SET state = 'cancelled' WHERE deleted_at IS NULL")
    newest = sorted(ids, reverse=True)
    page.goto("/ui/jobs?state=cancelled")
    assert shown(page) == newest[:PER_PAGE]
    page.get_by_role("link", name="Older").click()
    page.wait_for_url("**after=**")
    assert shown(page) == newest[PER_PAGE : 2 * PER_PAGE]
    page.get_by_role("link", name="Older").click()
    page.wait_for_load_state()
    expect(page.get_by_role("link", name="Older")).to_have_count(0)
    assert shown(page) == newest[2 * PER_PAGE :]
    page.get_by_role("link", name="Newer").click()
    page.wait_for_url("**before=**")
    assert shown(page) == newest[PER_PAGE : 2 * PER_PAGE]
    page.get_by_role("link", name="Newer").click()
    page.wait_for_load_state()
    expect(page.get_by_role("link", name="Newer")).to_have_count(0)
    assert shown(page) == newest[:PER_PAGE]
    assert "state=cancelled" in (page.get_by_role("link", name="Older").get_attribute("href") or "")


def test_a_search_looks_through_so_many_jobs_and_says_where_to_go_on(service: Service) -> None:
    needles = [ordered(service, metadata={"find": "needle"}), ordered(service), ordered(service)]
    wanted = Wanted(text="needle")
    with service.database.unit_of_work() as unit:
        first = unit.job_search.page(service.ours.project_id, wanted, 10, window=2)
        assert (list(first.rows), first.older) == ([], needles[1])
        then = unit.job_search.page(service.ours.project_id, wanted, 10, after=first.older, window=2)
        assert ([job.id for job in then.rows], then.older) == ([needles[0]], None)
        back = unit.job_search.page(service.ours.project_id, wanted, 10, before=needles[0], window=1)
        assert (list(back.rows), back.newer, back.older) == ([], needles[1], needles[0])


def test_running_jobs_keep_themselves_up_to_date_and_chosen_ones_stay_chosen(
    page: Page, service: Service
) -> None:
    waiting, running = ordered(service), ordered(service)
    service.set_job(
        running, JobState.RUNNING, phase="finetune", progress=json.dumps({"fraction": 0.25, "eta_s": 80})
    )
    page.goto("/ui/jobs")
    assert "25.0 % of the job; Clean by fine-tuning: 1 min 20 s left" in row(page, running)
    page.get_by_label(f"Compare {waiting}").check()
    page.get_by_label(f"Compare {waiting}").focus()
    with page.expect_response(lambda answer: "seen=" in answer.url) as polled:
        pass
    assert polled.value.status == 204, "nothing has changed"
    service.set_job(running, JobState.RUNNING, progress=json.dumps({"fraction": 0.5}))
    expect(page.locator("tr", has_text=running)).to_contain_text("50.0 %")
    expect(page.get_by_label(f"Compare {waiting}")).to_be_checked()
    expect(page.get_by_label(f"Compare {waiting}")).to_be_focused()
    forget_jobs(service)
    expect(page.locator("#jobs-found")).to_contain_text("Nothing matches")
    assert page.locator("#jobs-found").get_attribute("hx-get") is None, "nothing is asked for any more"


def test_what_customers_wrote_is_text(page: Page, service: Service) -> None:
    job_id = ordered(service, filename=MARKUP, target=MARKUP, metadata={"note": MARKUP})
    page.goto("/ui/jobs?q=" + MARKUP)
    assert shown(page) == [job_id]
    assert row(page, job_id).count(MARKUP) == 2
    assert page.get_by_label("Search").input_value() == MARKUP
    assert page.locator("main img").count() == 0


def test_another_projects_jobs_are_not_found(page: Page, service: Service) -> None:
    theirs = service.theirs.http.post(
        "/v1/jobs",
        json={
            "kind": "audit",
            "checkpoint_id": service.checkpoint(project_id=service.theirs.project_id),
            "audit": {"dataset_id": _labelled_of_theirs(service), "target": "banana"},
        },
    ).json()["id"]
    page.goto(f"/ui/jobs?q={theirs}")
    assert "Nothing matches" in page.inner_text("main")


def _labelled_of_theirs(service: Service) -> str:
    return service.dataset(DatasetKind.LABELLED, project_id=service.theirs.project_id)


def test_jobs_are_chosen_and_compared_by_keyboard(page: Page, service: Service) -> None:
    two = [finished(service), finished(service, "undecided")]
    page.goto("/ui/jobs")
    for job_id in two:
        page.get_by_label(f"Compare {job_id}").focus()
        page.keyboard.press("Space")
    page.get_by_role("button", name="Compare the selected jobs").focus()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/ui/compare"))
    assert page.get_by_role("heading", level=1).inner_text() == "Compare 2 jobs"


def test_without_a_job_the_page_says_what_to_do_next(page: Page) -> None:
    page.goto("/ui/jobs")
    assert "There is no job yet" in page.inner_text("main")
    assert page.get_by_role("link", name="Scan a checkpoint").is_visible(), "other tests left checkpoints"


@pytest.mark.full
def test_a_phone_scrolls_the_table_and_not_the_page(
    service: Service, new_context: Callable[..., BrowserContext]
) -> None:
    finished(service, filename="a-rather-long-name-of-a-checkpoint-file-in-one-word.pt")
    page = new_context(viewport={"width": 390, "height": 844}).new_page()
    page.goto(sign_in_path(service))
    assert shown(page)
    widths = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert widths[0] <= widths[1]


@pytest.mark.parametrize("query", ["after=%00", "state=sleeping", "before=job_x", "q=" + "x" * 201])
def test_an_address_of_another_form_is_no_page(page: Page, service: Service, query: str) -> None:
    cookies = {one["name"]: one["value"] for one in page.context.cookies()}
    answer = httpx.get(f"{service.url}/ui/jobs?{query}", cookies=cookies)
    assert answer.status_code == 404
    assert httpx.get(f"{service.url}/ui/jobs?q=%00", cookies=cookies).status_code == 200
