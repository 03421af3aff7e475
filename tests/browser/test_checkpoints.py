"""The pages of checkpoints: what the inspection found, live while it runs, and deleting."""

import json

from playwright.sync_api import Page, expect

from app.domain.ids import new_id
from app.domain.states import CheckpointState
from app.services import api_keys
from tests.browser.conftest import Watched, sign_in_path
from tests.integration.api.service import INSPECTION, Service

MARKUP = "<img src=x onerror=alert(1)>\"'&amp;.pt"


def test_a_rejected_checkpoint_says_why_and_what_to_do(page: Page, service: Service) -> None:
    checkpoint_id = service.checkpoint(CheckpointState.REJECTED)
    page.goto(f"/ui/checkpoints/{checkpoint_id}")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("The pickle names os.system.")
    expect(alert).to_contain_text("Save a state dict with torch.save, or safetensors.")
    expect(alert).to_contain_text("pickle_forbidden_global")
    expect(page.get_by_role("link", name="New job with this checkpoint")).to_have_count(0)
    corrected = page.get_by_role("link", name="upload the file again with a corrected one")
    expect(corrected).to_have_count(0)
    service.execute(
        "UPDATE checkpoints SET sha256 = NULL, declared = '{\"quick_gelu\": true}' WHERE id = :id",
        id=checkpoint_id,
    )
    page.reload()
    expect(corrected).to_have_count(1)
    expect(page.locator("main")).to_contain_text("not computed")
    expect(page.locator("main")).not_to_contain_text("not computed yet")


def test_a_model_of_a_hub_is_named_and_its_page_says_where_it_comes_from(
    page: Page, service: Service, watched: Watched
) -> None:
    page.goto("/ui/checkpoints")
    page.get_by_label("Source").fill("https://169.254.169.254/latest")
    page.get_by_role("button", name="Fetch and inspect").click()
    expect(page.get_by_role("alert")).to_contain_text("The host is an IP address that is not public.")
    watched.expect("422")
    expect(page.get_by_label("Source")).to_have_value("https://169.254.169.254/latest")
    page.get_by_label("Source").fill("hf://openai/clip-tiny@main")
    page.get_by_role("button", name="Fetch and inspect").click()
    page.wait_for_url("**/ui/checkpoints/ckpt_*")
    checkpoint_id = page.url.rpartition("/")[2]
    main = page.locator("main")
    expect(main.get_by_role("status")).to_contain_text("The service fetches it")
    expect(main).to_contain_text("Size at most")
    source = {
        "ordered": "hf://openai/clip-tiny@main",
        "commit": "c0ffee" + "0" * 34,
        "path": "model.safetensors",
        "fetched_at": "2026-12-01T12:00:00+00:00",
    }
    service.execute(
        "UPDATE checkpoints SET source = CAST(:source AS jsonb), updated_at = now() WHERE id = :id",
        source=json.dumps(source),
        id=checkpoint_id,
    )
    expect(main).to_contain_text(source["commit"])
    expect(main.get_by_role("status")).not_to_contain_text("The service fetches it")
    expect(main).not_to_contain_text("Size at most")


def test_an_accepted_checkpoint_shows_what_it_is_and_what_was_assumed(page: Page, service: Service) -> None:
    order = service.sanitize_order()
    checkpoint_id = order["checkpoint_id"]
    job = service.ours.http.post("/v1/jobs", json=order).json()
    page.goto(f"/ui/checkpoints/{checkpoint_id}")
    main = page.locator("main")
    for text in (
        "ModifiedResNet [1,1,1,1] width 24, 32 px",
        "research",
        "1,234",
        "0" * 64,
        "The optimizer state was stepped over.",
        "default of the research layout",
    ):
        expect(main).to_contain_text(text)
    expect(page.get_by_role("link", name=job["id"])).to_have_attribute("href", f"/ui/jobs/{job['id']}")
    expect(page.get_by_role("link", name="New job with this checkpoint")).to_have_attribute(
        "href", f"/ui/jobs/new?checkpoint={checkpoint_id}"
    )
    page.get_by_role("link", name="upload the file again with a corrected one").click()
    expect(page.get_by_role("heading", name="Upload with another declaration")).to_be_visible()


def test_a_correction_begins_with_what_was_declared(page: Page, service: Service) -> None:
    checkpoint_id = service.checkpoint()
    service.execute(
        "UPDATE checkpoints SET declared = CAST(:declared AS jsonb) WHERE id = :id",
        declared=json.dumps({"quick_gelu": False, "num_heads_text": 8, "image_std": [0.5, 0.25, 1]}),
        id=checkpoint_id,
    )
    page.goto(f"/ui/checkpoints?like={checkpoint_id}")
    assert page.get_by_label("QuickGELU").input_value() == "no"
    assert page.get_by_label("Heads, text").input_value() == "8"
    assert page.get_by_label("Image standard deviation").input_value() == "0.5 0.25 1"


def test_the_state_changes_while_one_looks(page: Page, service: Service) -> None:
    checkpoint_id = service.checkpoint(CheckpointState.QUARANTINED)
    page.goto(f"/ui/checkpoints/{checkpoint_id}")
    status = page.get_by_role("status")
    expect(status).to_contain_text("waits in quarantine")
    service.execute(
        "UPDATE checkpoints SET state = 'scanning', updated_at = now() WHERE id = :id", id=checkpoint_id
    )
    expect(status).to_contain_text("being inspected")
    service.execute(
        "UPDATE checkpoints SET state = 'accepted', updated_at = now(), inspection = CAST(:found AS jsonb) "
        "WHERE id = :id",
        found=json.dumps(INSPECTION),
        id=checkpoint_id,
    )
    expect(status).to_contain_text("not yet audited The file is readable")
    expect(page.locator("main")).to_contain_text("ModifiedResNet")


def test_a_deletion_is_confirmed_and_leaves_a_receipt(page: Page, service: Service) -> None:
    checkpoint_id = service.checkpoint()
    page.goto(f"/ui/checkpoints/{checkpoint_id}")
    button = page.get_by_role("button", name="Delete clip.pt")
    expect(button).to_be_hidden()
    page.get_by_text("Delete this checkpoint…").click()
    button.click()
    expect(page.get_by_role("status")).to_contain_text("the receipt is del_")
    assert service.ours.http.get(f"/v1/checkpoints/{checkpoint_id}").status_code == 404


def test_a_checkpoint_that_a_job_reads_is_kept_and_the_page_says_why(
    page: Page, service: Service, watched: Watched
) -> None:
    order = service.sanitize_order()
    service.ours.http.post("/v1/jobs", json=order)
    page.goto(f"/ui/checkpoints/{order['checkpoint_id']}")
    page.get_by_text("Delete this checkpoint…").click()
    page.get_by_role("button", name="Delete clip.pt").click()
    expect(page.get_by_role("alert")).to_contain_text("An unfinished job reads the checkpoint")
    expect(page.get_by_role("heading", name="clip.pt")).to_be_visible()
    watched.expect("409")


def test_a_file_name_is_text(page: Page, service: Service) -> None:
    checkpoint_id = service.checkpoint()
    service.execute("UPDATE checkpoints SET filename = :name WHERE id = :id", name=MARKUP, id=checkpoint_id)
    service.ours.http.post("/v1/uploads", json={"filename": MARKUP.replace("/", ""), "size_bytes": 10})
    for path in (
        "/ui/checkpoints",
        f"/ui/checkpoints/{checkpoint_id}",
        f"/ui/checkpoints?like={checkpoint_id}",
    ):
        page.goto(path)
        expect(page.locator("main")).to_contain_text(MARKUP)
        assert page.locator("main img").count() == 0
    service.execute("UPDATE uploads SET state = 'cancelled' WHERE state = 'open'")


def test_a_key_that_may_not_upload_is_offered_nothing_and_refused(
    stranger: Page, service: Service, watched: Watched
) -> None:
    with service.database.unit_of_work() as unit:
        _, key = api_keys.issue(unit, project_id=service.ours.project_id, name="reader", scopes=["read"])
    checkpoint_id = service.checkpoint()
    stranger.goto(sign_in_path(service, key))
    stranger.goto("/ui/checkpoints")
    expect(stranger.locator("#upload")).to_have_count(0)
    stranger.goto(f"/ui/checkpoints/{checkpoint_id}")
    expect(stranger.get_by_text("Delete this checkpoint…")).to_have_count(0)
    token = stranger.locator("input[name=form_token]").first.input_value()
    for path in ("/ui/uploads", f"/ui/checkpoints/{checkpoint_id}/delete"):
        answer = stranger.request.post(path, form={"form_token": token})
        assert answer.status == 403
    del watched


def test_what_another_project_has_is_not_there(page: Page, service: Service, watched: Watched) -> None:
    theirs = service.checkpoint(project_id=service.theirs.project_id)
    for path in (f"/ui/checkpoints/{theirs}", "/ui/checkpoints/ckpt_nonsense", f"/ui/uploads/{theirs}"):
        assert page.goto(path).status == 404  # type: ignore[union-attr]
    page.goto(f"/ui/checkpoints?like={theirs}&deleted={new_id('del')}")
    expect(page.get_by_role("heading", name="Upload a checkpoint")).to_be_visible()
    watched.expect("404")


def test_the_list_is_paged_and_shows_one_state(page: Page, service: Service) -> None:
    made = [service.checkpoint() for _ in range(26)]
    rejected = service.checkpoint(CheckpointState.REJECTED)
    page.goto("/ui/checkpoints")
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(25)
    page.get_by_role("link", name="Older").click()
    expect(page.locator(f"a[href$='{made[0]}']")).to_be_visible()
    page.goto("/ui/checkpoints")
    page.get_by_label("State").select_option("rejected")
    page.get_by_role("button", name="Show").click()
    expect(page.locator(f"a[href$='{rejected}']")).to_be_visible()
    assert set(page.locator("tbody .badge").all_inner_texts()) == {"rejected"}
