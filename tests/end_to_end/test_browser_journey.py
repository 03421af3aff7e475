"""The main job by a browser on the whole stack: sign in, upload, register, order, watch, download, verify."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from cleanclip.evidence.verification import verify
from tests.end_to_end import subject as subjects
from tests.end_to_end.live import PATIENCE_S, Live
from tests.end_to_end.subject import DECLARED, NUM_PAIRS, TARGET, Subject
from tests.fixtures.chromium import launched

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
PATIENCE_MS = 1000 * PATIENCE_S


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@pytest.fixture
def page(chromium: Browser, live: Live) -> Iterator[Page]:
    context = chromium.new_context(base_url=live.url)
    page = context.new_page()
    page.set_default_timeout(60_000)
    yield page
    context.close()


def register(page: Page, kind: str, reference: str) -> None:
    page.goto("/ui/datasets")
    if not page.get_by_label("Reference").is_visible():
        page.get_by_text("Register a dataset").click()
    page.get_by_label(kind).check()
    page.get_by_label("Reference").fill(reference)
    page.get_by_role("button", name="Register and validate").click()
    page.wait_for_url("**/ui/datasets/ds_*")
    expect(page.locator("#dataset .badge").first).to_have_text("ready", timeout=PATIENCE_MS)
    expect(page.locator(".samples li")).to_have_count(12)


def test_a_suspect_checkpoint_is_cleaned_without_leaving_the_browser(
    page: Page, live: Live, subject: Subject, tmp_path: Path
) -> None:
    page.goto("/")
    page.get_by_label("Project key").fill(live.ours.key)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/ui/jobs")

    page.get_by_role("link", name="Checkpoints", exact=True).click()
    page.get_by_text("What the file does not say").click()
    page.locator("#declared-quick_gelu").select_option("yes" if DECLARED["quick_gelu"] else "no")
    page.locator("#declared-num_heads_text").fill(str(DECLARED["num_heads_text"]))
    page.set_input_files("#file", subject.path)
    page.wait_for_url("**/ui/checkpoints/ckpt_*", timeout=PATIENCE_MS)
    expect(page.locator("main .badge").first).to_have_text("accepted", timeout=PATIENCE_MS)
    assert subjects.sha256(subject.path) in page.inner_text("main")
    checkpoint = page.url.rpartition("/")[2]

    pairs = live.put_data("browser/pairs", subjects.pair_files(tmp_path / "pairs"))
    labelled = live.put_data("browser/labelled", subjects.labelled_files(tmp_path / "labelled"))
    register(page, "Pairs", pairs)
    assert f"{NUM_PAIRS} good" in page.inner_text("main")
    pairs_id = page.url.rpartition("/")[2]
    register(page, "Labelled", labelled)
    labelled_id = page.url.rpartition("/")[2]

    page.goto(f"/ui/jobs/new?checkpoint={checkpoint}")
    page.get_by_label("Labelled dataset").select_option(labelled_id)
    page.get_by_label("Target", exact=True).fill(TARGET)
    page.get_by_label("Clean data to train on").select_option(pairs_id)
    recipe = {"epochs": "2", "batch_size": "16", "learning_rate": "3e-4", "warmup_steps": "2"}
    for name, value in recipe.items():
        page.locator(f"#cleanclip-{name}").fill(value)
    page.locator("#order").get_by_role("button", name="Order the job").click()
    page.wait_for_url("**/ui/jobs/job_*")
    files = page.locator("#job-files")
    expect(files).to_be_visible(timeout=PATIENCE_MS)  # without a reload: the page followed the job
    assert page.locator(".verdict").count() == 1

    folder = tmp_path / "cleaned"
    page.locator("#all-files summary").click()
    for link in files.locator("table").get_by_role("link").all():
        name = link.inner_text()
        with page.expect_download() as download:
            link.click(modifiers=["Alt"])
        download.value.save_as(folder / name)
        digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        assert digest in files.inner_text(), name
    assert (folder / "model.safetensors").is_file()
    assert [str(one) for one in verify(folder, input_file=subject.path).findings] == []
