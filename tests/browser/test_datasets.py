"""Datasets in a browser: register, watch, see counts and samples, what was skipped and why, delete."""

import json
from collections.abc import Callable

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page, expect

from app.domain.ids import new_id
from app.domain.states import DatasetKind, DatasetState, JobState
from app.services import api_keys
from tests.browser.conftest import Watched, sign_in_path
from tests.integration.api.service import Service, tenant
from tests.integration.api.validated import give_samples, sample, validation_of

HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "'-alert(1)-'",
    "{{ 7 * 7 }} ${7*7} <%= 7 %>",
    "</textarea></title><b>bold</b>",
    "javascript:alert(1)",
    "&lt;b&gt; & &amp;",
)


def upload_of_shards(api: httpx.Client) -> str:
    announced = {"filename": "pairs.tar", "size_bytes": 1024, "purpose": "dataset"}
    upload = str(api.post("/v1/uploads", json=announced).json()["id"])
    api.put(f"/v1/uploads/{upload}/content", content=bytes(1024)).raise_for_status()
    api.post(f"/v1/uploads/{upload}/complete").raise_for_status()
    return upload


def open_form(page: Page) -> None:
    page.goto("/ui/datasets")
    if not page.get_by_label("Reference").is_visible():
        page.get_by_text("Register a dataset").click()


def test_a_project_without_data_is_told_what_to_do(stranger: Page, service: Service) -> None:
    fresh = tenant(service.database, service.url, "fresh")
    stranger.goto("/ui/sign-in?next=/ui/datasets")
    stranger.get_by_label("Project key").fill(fresh.key)
    stranger.get_by_role("button", name="Sign in").click()
    stranger.wait_for_url("**/ui/datasets")
    assert "A cleaning needs clean pairs" in stranger.inner_text("main")
    assert stranger.get_by_label("Reference").is_visible(), "the form is open"


def test_a_reference_is_registered_and_its_validation_followed_to_the_samples(
    page: Page, service: Service
) -> None:
    service.store.put_bytes("allowed/pairs/0.tar", bytes(1024))
    open_form(page)
    own = f"s3://{service.store.bucket}/of/{service.ours.project_id}/"
    assert own in page.locator("#uri-help").inner_text()
    page.get_by_label("Pairs").check()
    page.get_by_label("Reference").fill(f"s3://{service.store.bucket}/allowed/pairs/")
    page.get_by_role("button", name="Register and validate").click()
    page.wait_for_url("**/ui/datasets/ds_*")
    dataset = page.url.rpartition("/")[2]
    expect(page.locator("#dataset")).to_contain_text("It waits for a worker")

    [job] = [job_id for job_id, kind in service.publisher.sent if kind == "validate"]
    progress = '{"fraction": 0.4, "step": 1234, "total_steps": 3000, "rate": 310.4, "eta_s": 5.7}'
    service.set_job(job, JobState.RUNNING, phase="validate", progress=progress)
    expect(page.locator("#dataset")).to_contain_text("1,234 of 3,000 samples, 310 samples/s, about 6 s left.")
    expect(page.get_by_label("Validated")).to_have_attribute("value", "0.4")
    assert Axe().run(page).violations_count == 0

    give_samples(service, dataset, *[sample(index) for index in range(0, 36, 3)])
    service.execute(
        "UPDATE datasets SET state = 'ready', summary = (SELECT summary FROM datasets WHERE id = :ready)"
        " WHERE id = :id",
        id=dataset,
        ready=service.dataset(DatasetKind.PAIRS),
    )
    expect(page.locator(".samples li")).to_have_count(12)
    expect(page.locator("#announcement")).to_have_text("The dataset is ready.")
    assert page.locator("#dataset").get_attribute("hx-get") is None, "nobody asks on"


def test_a_ready_set_shows_counts_samples_and_what_was_skipped_and_why(page: Page, service: Service) -> None:
    dataset = service.dataset(DatasetKind.LABELLED)
    service.execute(
        "UPDATE datasets SET summary = summary || "
        """'{"skipped_reasons": {"newer": 1}, "skipped_examples": ["00000017: newer"]}' WHERE id = :id""",
        id=dataset,
    )
    give_samples(
        service, dataset, sample(5, label=1, class_name="one"), sample(70, label=2, class_name="banana")
    )
    page.goto(f"/ui/datasets/{dataset}")
    text = page.inner_text("main")
    for said in (
        "100 good, in 2 shards",
        "1 (1.0 %; tolerated are 1.0 %)",
        "1" * 64,
        "00000017: newer",
    ):
        assert said in text
    row = page.get_by_role("row", name="newer")
    assert "does not know" in row.inner_text(), "a reason of a newer worker"
    classes = page.get_by_role("table").filter(has_text="In the order of the labels")
    assert classes.locator("tbody tr").all_inner_texts() == ["0\tzero\t34", "1\tone\t33", "2\tbanana\t33"]
    pictures = page.locator(".samples img")
    for index in range(2):
        assert pictures.nth(index).evaluate("image => [image.complete, image.naturalWidth]") == [True, 60]
    assert "banana (label 2)" in page.locator(".samples").inner_text()
    target = page.get_by_role("link", name="New job with this data").get_attribute("href")
    assert target == f"/ui/jobs/new?dataset={dataset}"


def test_each_reason_of_a_skip_says_what_it_means(page: Page, service: Service) -> None:
    dataset = service.dataset(DatasetKind.PAIRS)
    service.execute(
        "UPDATE datasets SET summary = summary || "
        """'{"num_skipped": 3, "skipped_reasons": {"no_caption": 2, "image_damaged": 1}}' WHERE id = :id""",
        id=dataset,
    )
    page.goto(f"/ui/datasets/{dataset}")
    assert "needs a .txt" in page.get_by_role("row", name="no_caption 2").inner_text()
    assert "corrupt" in page.get_by_role("row", name="image_damaged 1").inner_text()


@pytest.mark.parametrize("kind", list(DatasetKind))
def test_strangers_words_stay_words(page: Page, service: Service, kind: DatasetKind) -> None:
    names = HOSTILE if kind is DatasetKind.LABELLED else ()
    dataset = service.dataset(kind, class_names=HOSTILE)
    texts = [
        sample(index, key=text, label=index, class_name=text)
        if names
        else sample(index, key=text, caption=text)
        for index, text in enumerate(HOSTILE)
    ]
    give_samples(service, dataset, *texts)
    nasty = HOSTILE[0] + HOSTILE[2]
    changed = {"skipped_examples": [nasty], "skipped_reasons": {nasty: 1}, "templates": [f"{nasty} {{c}}"]}
    service.execute(
        "UPDATE datasets SET uri = :uri, summary = summary || CAST(:changed AS jsonb) WHERE id = :id",
        id=dataset,
        uri=nasty,
        changed=json.dumps(changed),
    )
    page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
    page.goto(f"/ui/datasets/{dataset}")
    shown = page.locator(".samples").inner_text()
    for text in HOSTILE:
        assert shown.count(text) == 2, text
    assert page.locator("main script, main svg, main b, main img:not([width])").count() == 0
    page.goto("/ui/datasets")
    assert HOSTILE[0] in page.inner_text("main")


def test_a_set_is_given_a_name_that_lists_and_the_order_form_show(page: Page, service: Service) -> None:
    dataset_id = service.dataset(DatasetKind.PAIRS)
    page.goto(f"/ui/datasets/{dataset_id}")
    page.get_by_text("Give it a name").click()
    page.get_by_label("Name").fill("Clean pairs, November")
    page.get_by_role("button", name="Save the name").click()
    assert page.inner_text("h1") == "Clean pairs, November"
    page.goto("/ui/datasets?kind=pairs")
    assert "Clean pairs, November" in page.locator("tbody tr").first.inner_text()
    page.goto("/ui/jobs/new")
    assert "Clean pairs, November · " in page.locator(f"#dataset_id option[value={dataset_id}]").inner_text()


def test_a_set_of_before_there_were_samples_says_so(page: Page, service: Service) -> None:
    dataset = service.dataset(DatasetKind.PAIRS)
    validation_of(service, dataset, state="succeeded")
    page.goto(f"/ui/datasets/{dataset}")
    assert "validated before samples were kept" in page.inner_text("main")
    assert page.locator(".samples").count() == 0


def test_samples_that_cannot_be_read_now_cost_the_page_nothing_else(page: Page, service: Service) -> None:
    dataset = service.dataset(DatasetKind.PAIRS)
    service.store.delete(give_samples(service, dataset, sample(1))["key"])
    page.goto(f"/ui/datasets/{dataset}")
    text = page.inner_text("main")
    assert "does not answer at the moment" in text
    assert "100 good" in text


def test_a_rejected_set_says_why_and_what_to_do(page: Page, service: Service) -> None:
    dataset = service.dataset(DatasetKind.PAIRS, DatasetState.REJECTED)
    error = (
        '{"code": "no_captions", "message": "No <b>caption</b>.", "remedy": "Give some.", "where": "0001"}'
    )
    service.execute("UPDATE datasets SET error = :error WHERE id = :id", id=dataset, error=error)
    page.goto(f"/ui/datasets/{dataset}")
    text = page.inner_text(".notice.bad")
    for said in ("No <b>caption</b>.", "Give some.", "no_captions", "0001"):
        assert said in text
    assert page.get_by_role("link", name="New job").count() == 1, "in the menu only"
    assert Axe().run(page).violations_count == 0


def test_jobs_that_used_it_are_named_with_what_for(page: Page, service: Service) -> None:
    order = service.sanitize_order()
    job = service.ours.http.post("/v1/jobs", json=order).json()["id"]
    for dataset, role in ((order["dataset_id"], "training"), (order["audit"]["dataset_id"], "audit")):
        page.goto(f"/ui/datasets/{dataset}")
        row = page.get_by_role("row", name=job)
        assert row.locator("td").all_inner_texts()[1:4] == ["sanitize", role, "queued"]


def test_what_is_wrong_stands_beside_its_field_and_what_was_filled_in_stays(
    page: Page, service: Service, watched: Watched
) -> None:
    open_form(page)
    before = service.state()
    page.get_by_label("Labelled images").check()
    page.get_by_label("Reference").fill("s3://elsewhere/x/")
    page.get_by_label("Class names").fill("<b>cat</b>\ncat\ncat")
    page.get_by_role("button", name="Register and validate").click()
    expect(page.locator("#class_names-error")).to_have_text("Each class name may appear once.")
    field = page.get_by_label("Class names")
    expect(field).to_be_focused()
    assert field.get_attribute("aria-invalid") == "true"
    assert "class_names-error" in (field.get_attribute("aria-describedby") or "")
    assert field.input_value() == "<b>cat</b>\ncat\ncat"
    assert page.get_by_label("Labelled images").is_checked()
    field.fill("cat\ndog")
    page.get_by_role("button", name="Register and validate").click()
    expect(page.locator("#uri-error")).to_contain_text("outside the prefixes")
    watched.expect("422")
    assert service.state() == before


def test_an_upload_is_registered_without_scripts(
    new_context: Callable[..., BrowserContext], service: Service
) -> None:
    upload = upload_of_shards(service.ours.http)
    page = new_context(java_script_enabled=False).new_page()
    page.goto(sign_in_path(service))
    page.goto(f"/ui/datasets?upload_id={upload}")
    assert page.get_by_label("Upload", exact=True).input_value() == upload
    page.get_by_label("Labelled images").check()
    page.get_by_label("Class names").fill("cat\ndog")
    page.get_by_role("button", name="Register and validate").click()
    page.wait_for_url("**/ui/datasets/ds_*")
    assert upload in page.inner_text("main")
    assert page.get_by_role("link", name="reload it").count() == 1
    found = service.ours.http.get(f"/v1/datasets/{page.url.rpartition('/')[2]}").json()
    assert (found["upload_id"], found["class_names"]) == (upload, ["cat", "dog"])


def test_it_is_deleted_after_a_question_and_not_while_a_job_reads_it(
    page: Page, service: Service, watched: Watched
) -> None:
    order = service.sanitize_order()
    job = service.ours.http.post("/v1/jobs", json=order).json()["id"]
    page.goto(f"/ui/datasets/{order['dataset_id']}")
    assert not page.get_by_role("button", name="Delete it for good").is_visible()
    page.get_by_text("Delete this dataset…").click()
    page.get_by_role("button", name="Delete it for good").click()
    assert job in page.get_by_role("alert").inner_text()
    watched.expect("409")
    service.ours.http.post(f"/v1/jobs/{job}/cancel").raise_for_status()
    page.get_by_text("Delete this dataset…").click()
    page.get_by_role("button", name="Delete it for good").click()
    page.wait_for_url("**/ui/datasets?deleted=del_*")
    assert order["dataset_id"] in page.get_by_role("status").inner_text()
    page.goto(f"/ui/datasets/{order['dataset_id']}")
    watched.expect("404")
    assert "has been deleted" in page.inner_text("main")


def test_who_may_only_read_is_offered_nothing_else_and_refused_it(
    new_context: Callable[..., BrowserContext], service: Service, watched: Watched
) -> None:
    dataset = service.dataset(DatasetKind.PAIRS)
    with service.database.unit_of_work() as unit:
        _, key = api_keys.issue(unit, project_id=service.ours.project_id, name="reader", scopes=["read"])
    page = new_context().new_page()
    page.goto(sign_in_path(service, key))
    page.goto("/ui/datasets")
    assert page.get_by_text("Register a dataset").count() == 0
    page.goto(f"/ui/datasets/{dataset}")
    assert page.get_by_text("Delete this dataset").count() == 0
    assert page.get_by_role("link", name="New job").count() == 0
    token = page.locator("input[name=form_token]").first.input_value()
    cookies = {one["name"]: one["value"] for one in page.context.cookies()}
    for path in ("/ui/datasets", f"/ui/datasets/{dataset}/delete"):
        answer = httpx.post(service.url + path, data={"form_token": token, "kind": "pairs"}, cookies=cookies)
        assert answer.status_code == 403
    assert service.ours.http.get(f"/v1/datasets/{dataset}").status_code == 200


def test_another_projects_sets_are_not_there(page: Page, service: Service, watched: Watched) -> None:
    page.goto("/ui/jobs")
    theirs = service.dataset(DatasetKind.PAIRS, project_id=service.theirs.project_id)
    give_samples(service, theirs, sample(1, caption="secret"), project_id=service.theirs.project_id)
    token = page.locator("input[name=form_token]").first.input_value()
    cookies = {one["name"]: one["value"] for one in page.context.cookies()}
    for path in (
        f"/ui/datasets/{theirs}",
        f"/ui/datasets/{theirs}/part",
        "/ui/datasets/ds_%00",
        "/ui/datasets/x",
    ):
        answer = httpx.get(service.url + path, cookies=cookies)
        assert answer.status_code == 404
        assert "secret" not in answer.text
    url = f"{service.url}/ui/datasets/{theirs}/delete"
    assert httpx.post(url, data={"form_token": token}, cookies=cookies).status_code == 404
    for odd in ("deleted=del_nonsense", "after=%00", "state=odd", "kind=odd"):
        assert httpx.get(f"{service.url}/ui/datasets?{odd}", cookies=cookies).status_code == 404
    page.goto(f"/ui/datasets?deleted={new_id('del')}&after={theirs}")
    assert theirs not in page.content()


def test_pressed_twice_it_is_registered_once(page: Page, service: Service) -> None:
    service.store.put_bytes("allowed/pairs/0.tar", bytes(1024))
    before = len(service.publisher.sent)
    open_form(page)
    page.get_by_label("Pairs").check()
    page.get_by_label("Reference").fill(f"s3://{service.store.bucket}/allowed/pairs/")
    fields = page.evaluate("[...new FormData(document.querySelector('form.reading')).entries()]")
    page.get_by_role("button", name="Register and validate").dblclick()
    page.wait_for_url("**/ui/datasets/ds_*")
    again = page.request.post("/ui/datasets", form=dict(fields))
    assert again.url == page.url, "the same form leads to the same dataset"
    assert len(service.publisher.sent) == before + 1
    changed = page.request.post("/ui/datasets", form={**dict(fields), "max_skipped_share": "0.02"})
    assert changed.url != page.url, "a changed form is another order"
