"""Ordering a job on its page: by keyboard, once, with its dry run, and what is refused beside its field."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from app.domain.states import CheckpointState, DatasetKind, DatasetState, JobState
from app.services import api_keys
from tests.browser.conftest import Watched, sign_in_path
from tests.integration.api.service import Service

MARKUP = "<img src=x onerror=alert(1)>\"'"
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360606060000000"
    "0500017f5c1d0d0000000049454e44ae426082"
)


@pytest.fixture(autouse=True)
def no_other_jobs(service: Service, watched: Watched) -> Iterator[None]:
    """What another test ordered is not an earlier job of this one's. A job's page has tests of its own."""
    service.execute("UPDATE jobs SET state = 'cancelled', attempt = 7, deleted_at = now()")
    service.execute("DELETE FROM policies")
    yield
    watched.errors = [error for error in watched.errors if "404" not in error]


def jobs_of(service: Service) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = service.ours.http.get("/v1/jobs").json()["data"]
    return found


def fill(page: Page, service: Service, *, class_names: tuple[str, ...] = ("zero", "one", "banana")) -> None:
    """The least that a cleaning needs."""
    checkpoint, pairs = service.checkpoint(), service.dataset(DatasetKind.PAIRS)
    labelled = service.dataset(DatasetKind.LABELLED, class_names=class_names)
    page.goto("/ui/jobs/new")
    page.get_by_label("Checkpoint", exact=True).select_option(checkpoint)
    page.get_by_label("Labelled dataset").select_option(labelled)
    page.get_by_label("Target", exact=True).fill("banana")
    page.get_by_label("Clean data to train on").select_option(pairs)
    page.locator("#method-cleanclip").check()
    page.locator("#recipe-defaults").check()


def press(page: Page, name: str) -> None:
    page.locator("#order").get_by_role("button", name=name).click()
    page.wait_for_load_state()


def tab_to(page: Page, id: str) -> None:  # noqa: A002
    for _ in range(200):
        if page.evaluate("document.activeElement.id") == id:
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"no way to #{id} by the tabulator")


def test_a_cleaning_is_ordered_by_the_keyboard_alone(page: Page, service: Service) -> None:
    checkpoint, pairs = service.checkpoint(), service.dataset(DatasetKind.PAIRS)
    labelled = service.dataset(DatasetKind.LABELLED)
    page.goto("/ui/jobs/new")
    for id in ("checkpoint_id", "audit-dataset_id"):  # noqa: A001
        tab_to(page, id)
        page.keyboard.press("ArrowDown")
    tab_to(page, "target")
    page.keyboard.type("banana")
    tab_to(page, "suite-usual")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    tab_to(page, "dataset_id")
    page.keyboard.press("ArrowDown")
    tab_to(page, "method-proposed")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    tab_to(page, "par-epochs")
    page.keyboard.type("3")
    tab_to(page, "par-learning_rate")
    page.keyboard.type("2e-6")
    page.keyboard.press("Enter")
    page.wait_for_url("**/ui/jobs/job_*")
    [job] = jobs_of(service)
    assert (job["kind"], job["checkpoint_id"], job["dataset_id"]) == ("sanitize", checkpoint, pairs)
    assert (job["audit"]["dataset_id"], job["audit"]["target"]) == (labelled, "banana")
    assert [attack["attack"] for attack in job["audit"]["attacks"]][-1] == "text_trigger", "suite structured"
    assert job["recipe"]["method"] == "par"
    assert (job["recipe"]["epochs"], job["recipe"]["learning_rate"]) == (3, 2e-6)
    assert job["recipe_given"] == ["epochs", "learning_rate"]
    assert {"initial_learning_rate", "push_share"} <= {*job["recipe_source"]["recommended"]}
    assert job["recipe"]["batch_size"] == 64, "as recommended for a small model, not the method's 256"
    assert service.publisher.sent[-1][0] == job["id"], "workers are told at once"


def test_cleanclip_beside_uar_is_one_box_and_leads_to_the_comparison(page: Page, service: Service) -> None:
    fill(page, service)
    page.locator("#suite-structured").check()
    page.locator("#method-proposed").check()
    page.locator("#beside-on").check()
    press(page, "Dry run")
    expect(page.get_by_text("The method is uar, because structured triggers are audited")).to_be_visible()
    press(page, "Order the job")
    page.wait_for_url("**/ui/compare?job=job_*&job=job_*")
    first, second = sorted((job["recipe"]["method"] for job in jobs_of(service)), reverse=True)
    assert (first, second) == ("uar", "cleanclip")


def test_a_cleaning_without_a_target_is_ordered_with_a_scan_first(page: Page, service: Service) -> None:
    fill(page, service)
    service.execute(
        "UPDATE datasets SET summary = jsonb_set(summary, '{num_samples}', '300') WHERE kind = 'labelled'"
    )
    page.get_by_label("Target", exact=True).fill("")
    page.locator("#scan-on").check()
    press(page, "Dry run")
    expect(page.get_by_text("The job scans the model first")).to_be_visible()
    press(page, "Order the job")
    page.wait_for_url("**/ui/jobs/job_*")
    expect(page.locator("#job-order")).to_contain_text("(found by the scan)")
    [job] = jobs_of(service)
    assert (job["audit"]["target"], job["phases"][1]["name"]) == (None, "scan")
    page.goto(f"/ui/jobs/new?again={job['id']}")
    expect(page.locator("#scan-on")).to_be_checked()


def test_mistakes_stand_beside_their_fields_and_nothing_written_is_lost(
    page: Page, service: Service, watched: Watched
) -> None:
    fill(page, service)
    page.get_by_label("Target", exact=True).fill("")
    page.get_by_label("Epochs").first.fill("1000")
    page.get_by_text("Name, seed, attempts, files, notes").click()
    page.get_by_label("Seed", exact=True).fill("x<y")
    page.get_by_label("Notes").fill("first=1\nno value")
    with service.nothing_left_behind():
        press(page, "Dry run")
        expect(page.get_by_role("alert")).to_contain_text("The dry run needs a complete order")
        press(page, "Order the job")
        expect(page.get_by_role("alert")).to_contain_text("The job was not ordered.")
    for id, said in (  # noqa: A001
        ("target", "“Scan first”"),
        ("cleanclip-epochs", "less than or equal to 100"),
        ("seed", "A number is expected"),
        ("metadata", "ticket=ML-42"),
    ):
        field = page.locator(f"#{id}")
        expect(field).to_have_attribute("aria-invalid", "true")
        assert f"{id}-error" in (field.get_attribute("aria-describedby") or "")
        expect(page.locator(f"#{id}-error")).to_contain_text(said)
        expect(field).to_be_visible()
    expect(page.locator("#target"), "the first of them is where one writes").to_be_focused()
    assert page.locator("#cleanclip-epochs").input_value() == "1000"
    assert page.locator("#seed").input_value() == "x<y"
    assert page.locator("#metadata").input_value() == "first=1\nno value"
    assert page.locator("#checkpoint_id").input_value().startswith("ckpt_")
    watched.expect("422")


def test_what_the_service_refuses_stands_beside_its_field_too(
    page: Page, service: Service, watched: Watched
) -> None:
    fill(page, service)
    page.get_by_label("Target", exact=True).fill("bananna")
    press(page, "Order the job")
    expect(page.locator("#target-error")).to_contain_text("Did you mean 'banana'?")
    page.get_by_label("Target", exact=True).fill("banana")
    page.get_by_label("Limits for this job").check()
    page.get_by_label("ASR at most (from 0 to 1)").fill("0.01")
    press(page, "Order the job")
    expect(page.locator("#policy-asr_at_most-error")).to_contain_text("nothing could pass")
    page.get_by_label("Usual limits").check()
    their = service.checkpoint(project_id=service.theirs.project_id)
    page.get_by_text("Another, by its id").first.click()
    page.get_by_label("Id: overrides the list").first.fill(their)
    press(page, "Order the job")
    expect(page.locator("#checkpoint_id-error")).to_contain_text("There is no checkpoint")
    assert jobs_of(service) == []
    watched.expect("422")


def test_a_dry_run_tells_what_would_be_done_and_orders_nothing(page: Page, service: Service) -> None:
    fill(page, service)
    with service.nothing_left_behind():
        press(page, "Dry run")
        page.wait_for_url("**/ui/jobs/new/check")
    said = page.locator(".ahead").inner_text()
    expect(page.locator("#ahead")).to_be_focused()
    assert "nothing was ordered" in said
    assert "100 images, each 5 times through a model" in said
    assert "100 images, each 6 times through a model" in said
    assert "10 epochs of 1 update with 64 each, 10 updates in all" in said
    assert "fewer than 500" in said, "the job's own warnings"
    assert "At least 73 images" in said, "too few for the usual limit"
    assert said.count("\tnot known") == 5, "no number is made up"
    page.get_by_role("button", name="Order the job").first.click()
    page.wait_for_url("**/ui/jobs/job_*")
    assert len(jobs_of(service)) == 1


def test_a_dry_run_tells_everything_that_stands_in_the_way_at_once(page: Page, service: Service) -> None:
    fill(page, service)
    small = service.dataset(DatasetKind.PAIRS, state=DatasetState.VALIDATING)
    page.get_by_label("Target", exact=True).fill("nothing like it")
    page.get_by_role("radio", name="PAR (Perturb").check()
    page.get_by_text("More to measure").click()
    page.get_by_label("Linear probe").check()
    page.get_by_label("Folds of the probe").fill("20")
    service.execute(
        "UPDATE datasets SET summary = jsonb_set(summary, '{images_per_class}', '[90, 5, 5]')"
        " WHERE kind = 'labelled'"
    )
    press(page, "Dry run")
    said = page.locator(".ahead").inner_text()
    assert "would be refused" in said
    assert "The target is not one of the 3 classes" in said
    assert "do not fill one batch of 256" in said
    assert "too few for a linear probe in 20 folds" in said
    expect(page.locator("#target-error")).to_be_visible()
    expect(page.locator("#par-batch_size-error")).to_be_visible()
    expect(page.locator("#probe-folds-error")).to_be_visible()
    page.get_by_text("Another, by its id").last.click()
    page.get_by_label("Id: overrides the list").last.fill(small)
    press(page, "Dry run")
    expect(page.locator("#dataset_id-error")).to_contain_text(
        "The dataset is validating. Wait until it is ready."
    )
    assert jobs_of(service) == []


def test_the_time_is_that_of_earlier_jobs_for_as_much_work(page: Page, service: Service) -> None:
    for seconds in (10, 20):  # for 500 images, 640 pairs, 600 images
        job = service.ours.http.post("/v1/jobs", json=service.sanitize_order(recipe={"epochs": 10})).json()
        phases = [
            {
                "name": phase["name"],
                "state": "succeeded",
                "started_at": "2026-01-01T00:00:00+00:00",
                "finished_at": f"2026-01-01T00:00:{seconds}+00:00",
            }
            for phase in job["phases"]
        ]
        service.set_job(job["id"], JobState.SUCCEEDED, attempt=1, phases=json.dumps(phases))
    service.execute("UPDATE datasets SET files = '[{\"size_bytes\": 10}]'")
    fill(page, service)
    service.execute("UPDATE datasets SET files = '[{\"size_bytes\": 10}]'")
    page.get_by_label("Epochs").first.fill("20")
    press(page, "Dry run")
    rows = {
        row.locator("th").inner_text(): row.locator("td").last.inner_text()
        for row in page.locator(".ahead tbody tr").all()
    }
    assert rows["finetune"] == "20 s to 40 s, by 2 earlier jobs", "twice the epochs of 10 to 20 s"
    # 600 images in 10 s is the fastest, 500 in 20 s the slowest of both audits
    assert rows["baseline audit"] == "8 s to 20 s, by 2 earlier jobs"
    assert rows["final audit"] == "10 s to 24 s, by 2 earlier jobs"
    assert rows["stage"] == rows["publish"] == "10 s to 20 s, by 2 earlier jobs"
    expect(page.locator(".ahead")).to_contain_text("In all: 58 s to 2 min 4 s")
    service.execute(
        "UPDATE checkpoints SET inspection = jsonb_set(inspection, '{architecture}', '{\"a\": 1}')"
    )
    fill(page, service)
    press(page, "Dry run")
    expect(page.locator(".ahead")).to_contain_text("In all: not known")


def test_pressed_twice_it_orders_one_job(page: Page, service: Service) -> None:
    fill(page, service)
    page.locator("#order").get_by_role("button", name="Order the job").dblclick()
    page.wait_for_url("**/ui/jobs/job_*")
    assert len(jobs_of(service)) == 1


def test_the_same_form_sent_many_times_at_once_is_answered_with_one_job(page: Page, service: Service) -> None:
    fill(page, service)
    fields = page.evaluate("[...new FormData(document.querySelector('#order')).entries()]")
    cookies = {one["name"]: one["value"] for one in page.context.cookies()}

    def send(_: int) -> str:
        answer = httpx.post(
            f"{service.url}/ui/jobs/new",
            data=dict(fields),
            cookies=cookies,
            timeout=60,
            follow_redirects=False,
        )
        assert answer.status_code == 303, answer.text
        return str(answer.headers["location"])

    with ThreadPoolExecutor(6) as pool:
        answers = set(pool.map(send, range(6)))
    assert answers == {f"/ui/jobs/{jobs_of(service)[0]['id']}"}
    assert len(jobs_of(service)) == 1


def test_going_back_and_sending_again_leads_to_the_same_job_and_a_changed_form_to_another(
    page: Page, service: Service
) -> None:
    fill(page, service)
    press(page, "Order the job")
    page.wait_for_url("**/ui/jobs/job_*")
    first = page.url
    page.go_back()
    page.wait_for_url("**/ui/jobs/new?form=*")
    assert page.get_by_label("Target", exact=True).input_value() == "banana"
    press(page, "Order the job")
    page.wait_for_url("**/ui/jobs/job_*")
    assert page.url == first
    page.go_back()
    page.wait_for_url("**/ui/jobs/new?form=*")
    page.get_by_label("Target", exact=True).fill("zero")
    press(page, "Order the job")
    page.wait_for_url("**/ui/jobs/job_*")
    assert page.url != first
    assert len(jobs_of(service)) == 2


def test_everything_works_without_scripts(
    service: Service, new_context: Callable[..., BrowserContext], watched: Watched
) -> None:
    page = new_context(java_script_enabled=False).new_page()
    page.goto(sign_in_path(service))
    fill(page, service)
    page.get_by_label("Some of the list").check()
    page.get_by_label("Your own patch").check()
    page.get_by_text("Options of Your own patch", exact=True).click()
    page.get_by_label("Image, in base64").first.fill("iVBORw0KGgo=")
    press(page, "Dry run")
    expect(page.locator(".ahead")).to_contain_text("1 trigger")
    assert "banana" in (page.locator("#classes").inner_html()), "the classes of what was chosen"
    press(page, "Order the job")
    page.wait_for_url("**/ui/jobs/job_*")
    [job] = jobs_of(service)
    assert job["audit"]["attacks"][0]["image"] == "iVBORw0KGgo="


def test_a_picture_is_chosen_as_a_file(page: Page, service: Service, tmp_path: Path) -> None:
    fill(page, service)
    page.get_by_label("Some of the list").check()
    page.get_by_label("Your own patch").check()
    page.get_by_text("Options of Your own patch", exact=True).click()
    large, small = tmp_path / "large.png", tmp_path / "small.png"
    large.write_bytes(b"\x89PNG" + bytes(64 * 1024))
    small.write_bytes(PNG)
    chooser = page.locator("#custom_patch-image-file")
    chooser.set_input_files(large)
    expect(page.locator("[data-image] [role=status]").first).to_contain_text("at most 65536")
    chooser.set_input_files(small)
    expect(page.locator("[data-image] [role=status]").first).to_contain_text(f"small.png: {len(PNG)} bytes")
    press(page, "Order the job")
    page.wait_for_url("**/ui/jobs/job_*")
    [attack] = jobs_of(service)[0]["audit"]["attacks"]
    assert attack["attack"] == "custom_patch"
    assert attack["image"].startswith("iVBORw0KGgo")


def test_the_classes_of_the_chosen_set_are_suggested(page: Page, service: Service) -> None:
    labelled = service.dataset(DatasetKind.LABELLED, class_names=("tench", MARKUP))
    page.goto("/ui/jobs/new")
    page.get_by_label("Labelled dataset").select_option(labelled)
    expect(page.locator("#classes option")).to_have_count(2)
    assert page.locator("#classes option").last.get_attribute("value") == MARKUP


def test_only_what_belongs_to_the_choices_is_shown(page: Page) -> None:
    page.goto("/ui/jobs/new")
    expect(page.get_by_role("heading", name="Recipe of CleanCLIP")).to_be_hidden()
    page.locator("#method-cleanclip").check()
    expect(page.get_by_role("heading", name="Recipe of CleanCLIP")).to_be_visible()
    expect(page.locator("#beside-on")).to_be_hidden()
    expect(page.get_by_role("heading", name="Recipe of PAR")).to_be_hidden()
    page.get_by_role("radio", name="Supervised fine-tuning").check()
    expect(page.get_by_role("heading", name="Recipe of Supervised")).to_be_visible()
    expect(page.get_by_role("heading", name="Recipe of CleanCLIP")).to_be_hidden()
    page.get_by_label("Audit only").check()
    expect(page.get_by_label("Clean data to train on")).to_be_hidden()
    expect(page.locator("#attack-badnet")).to_be_hidden()
    page.get_by_label("Some of the list").check()
    expect(page.locator("#attack-badnet")).to_be_visible()


def test_markup_that_customers_wrote_is_text(page: Page, service: Service) -> None:
    service.execute("UPDATE datasets SET uri = :uri", uri=f"s3://data/{MARKUP}/")
    service.execute("UPDATE checkpoints SET filename = :name", name=MARKUP)
    fill(page, service, class_names=("zero", MARKUP, "banana"))
    page.get_by_label("Target", exact=True).fill(MARKUP[:-1])
    page.get_by_text("Name, seed, attempts, files, notes").click()
    page.get_by_label("Notes").fill(f"note={MARKUP}</textarea>")
    press(page, "Dry run")
    expect(page.locator(".ahead")).to_contain_text("<img src=x onerror=alert(1)>")
    assert page.locator("img[src=x], img:not(.chosen)").count() == 0
    assert page.get_by_label("Notes").input_value() == f"note={MARKUP}</textarea>"
    assert page.get_by_label("Target", exact=True).input_value() == MARKUP[:-1]


def test_an_earlier_job_fills_the_form_and_the_address_does(page: Page, service: Service) -> None:
    order = service.sanitize_order(
        recipe={"method": "par", "epochs": 2},
        seed=5,
        policy={"asr_at_most": 0.5},
        metadata={"ticket": "ML-42"},
    )
    order["audit"]["attacks"] = [{"attack": "sig", "frequency": 9}]
    job = service.ours.http.post("/v1/jobs", json=order).json()
    page.goto(f"/ui/jobs/new?again={job['id']}")
    assert page.locator("#par-epochs").input_value() == "2"
    assert page.locator("#sig-frequency").input_value() == "9"
    expect(page.locator("#sig-frequency")).to_be_visible()
    press(page, "Order the job")
    page.wait_for_url("**/ui/jobs/job_*")
    second, first = jobs_of(service)
    for name in (
        "recipe",
        "audit",
        "policy",
        "policy_source",
        "seed",
        "metadata",
        "dataset_id",
    ):
        assert second[name] == first[name], name
    page.goto(
        f"/ui/jobs/new?kind=audit&checkpoint={order['checkpoint_id']}&dataset={order['audit']['dataset_id']}"
    )
    assert page.get_by_label("Audit only").is_checked()
    assert page.locator("#checkpoint_id").input_value() == order["checkpoint_id"]
    assert page.locator("#audit-dataset_id").input_value() == order["audit"]["dataset_id"]


def test_another_projects_job_fills_nothing(page: Page, service: Service, watched: Watched) -> None:
    order = {
        "kind": "audit",
        "checkpoint_id": service.checkpoint(project_id=service.theirs.project_id),
        "audit": {
            "dataset_id": service.dataset(DatasetKind.LABELLED, project_id=service.theirs.project_id),
            "target": "banana",
        },
    }
    theirs = service.theirs.http.post("/v1/jobs", json=order).json()
    page.goto(f"/ui/jobs/new?again={theirs['id']}")
    expect(page.get_by_role("alert")).to_contain_text("There is no job")
    watched.expect("404")


def test_only_what_can_be_used_is_offered(page: Page, service: Service) -> None:
    rejected = service.checkpoint(CheckpointState.REJECTED)
    theirs = service.checkpoint(project_id=service.theirs.project_id)
    page.goto("/ui/jobs/new")
    offered = page.locator("#checkpoint_id").inner_html()
    assert rejected not in offered
    assert theirs not in offered


def test_a_key_that_may_not_order_is_not_offered_it_and_refused(
    stranger: Page, service: Service, watched: Watched
) -> None:
    with service.database.unit_of_work() as unit:
        _, key = api_keys.issue(unit, project_id=service.ours.project_id, name="reader", scopes=("read",))
    stranger.goto(sign_in_path(service, key))
    assert stranger.get_by_role("link", name="New job").count() == 0
    stranger.goto("/ui/jobs/new")
    expect(stranger.get_by_role("alert")).to_contain_text("does not have the scope 'run'")
    token = stranger.locator("input[name=form_token]").first.input_value()
    cookies = {one["name"]: one["value"] for one in stranger.context.cookies()}
    for path in ("/ui/jobs/new", "/ui/jobs/new/check"):
        answer = httpx.post(f"{service.url}{path}", data={"form_token": token}, cookies=cookies)
        assert answer.status_code == 403
    stranger.goto("/ui/policies")
    assert stranger.get_by_role("button", name="Save it").count() == 0
    answer = httpx.post(
        f"{service.url}/ui/policies", data={"form_token": token, "name": "mine"}, cookies=cookies
    )
    assert answer.status_code == 403
    assert jobs_of(service) == []
    watched.expect("403")


def test_policies_are_kept_changed_named_in_an_order_and_deleted(
    page: Page, service: Service, watched: Watched
) -> None:
    page.goto("/ui/policies")
    expect(page.get_by_text("There is no policy yet.")).to_be_visible()
    page.get_by_label("Name", exact=True).fill("<b>Release</b>")
    page.get_by_label("ASR at most (from 0 to 1)").fill("0")
    press_policy(page, "Save it")
    expect(page.locator("#name-error")).to_contain_text("release-limits")
    assert page.get_by_label("Name", exact=True).input_value() == "<b>Release</b>"
    page.get_by_label("Name", exact=True).fill("release")
    press_policy(page, "Save it")
    expect(page.locator("#policy-asr_at_most-error")).to_contain_text("No audit can show")
    page.get_by_label("ASR at most (from 0 to 1)").fill("0.1")
    page.get_by_text("Other limits on ASR").click()
    page.get_by_label("structured", exact=True).fill("0.2")
    press_policy(page, "Save it")
    expect(page.get_by_role("row", name="release")).to_contain_text("structured 20.0 %")
    page.get_by_label("Name", exact=True).fill("release")
    press_policy(page, "Save it")
    expect(page.locator("#name-error")).to_contain_text("with this name exists already")
    page.goto("/ui/policies/release")
    page.get_by_label("structured", exact=True).fill("")
    press_policy(page, "Change it")
    expect(page.get_by_role("row", name="release")).to_contain_text("10.0 %")
    fill(page, service)
    page.get_by_label("A policy of the project").check()
    page.get_by_label("Policy", exact=True).select_option("release")
    press(page, "Order the job")
    page.wait_for_url("**/ui/jobs/job_*")
    [job] = jobs_of(service)
    assert (job["policy_source"]["name"], job["policy"]["asr_at_most"]) == ("release", 0.1)
    page.goto("/ui/policies")
    page.get_by_role("button", name="Delete release").click()
    expect(page.get_by_text("There is no policy yet.")).to_be_visible()
    watched.expect("422")


def press_policy(page: Page, name: str) -> None:
    page.get_by_role("button", name=name).click()
