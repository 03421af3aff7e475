"""The main job by a browser on the whole stack: sign in, upload, register, order, watch, download, verify.

And the same for somebody who knows no trigger, which begins and ends with a scan.
"""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from cleanclip.evidence.verification import verify
from cleanclip.vocabulary.report import load_json
from tests.end_to_end import subject as subjects
from tests.end_to_end.live import PATIENCE_S, Live
from tests.end_to_end.subject import DECLARED, NUM_PAIRS, TARGET, Subject
from tests.fixtures import audited
from tests.fixtures.chromium import launched

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
PATIENCE_MS = 1000 * PATIENCE_S
NUM_SCANNED = 200
"""Images: a scan needs 64 to invert on and 64 others."""


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


def sign_in(page: Page, live: Live) -> None:
    page.goto("/")
    page.get_by_label("Project key").fill(live.ours.key)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/ui/jobs")


def upload(page: Page, path: Path) -> None:
    """Ends at the page of the accepted checkpoint, whose badge is the worst that was said of the weights."""
    page.get_by_role("link", name="Checkpoints", exact=True).click()
    page.get_by_text("What the file does not say").click()
    page.locator("#declared-quick_gelu").select_option("yes" if DECLARED["quick_gelu"] else "no")
    for tower in ("text", "vision"):
        page.locator(f"#declared-num_heads_{tower}").fill(str(DECLARED[f"num_heads_{tower}"]))
    page.set_input_files("#file", path)
    page.wait_for_url("**/ui/checkpoints/ckpt_*", timeout=PATIENCE_MS)
    expect(page.get_by_role("link", name="Scan it for unknown triggers")).to_be_visible(timeout=PATIENCE_MS)
    assert subjects.sha256(path) in page.inner_text("main")


def order_cleaning(page: Page, pairs_id: str) -> None:
    """Of a form that names checkpoint, labelled dataset and target; ends when the job has."""
    page.get_by_label("Clean data to train on").select_option(pairs_id)
    page.locator("#method-cleanclip").check()
    recipe = {"epochs": "2", "batch_size": "16", "learning_rate": "3e-4", "warmup_steps": "2"}
    for name, value in recipe.items():
        page.locator(f"#cleanclip-{name}").fill(value)
    page.locator("#order").get_by_role("button", name="Order the job").click()
    wait_for_files(page)


def wait_for_files(page: Page) -> None:
    """Without a reload; a job that failed leaves none, and its reason is the test's."""
    page.wait_for_url("**/ui/jobs/job_*")
    ended = page.locator("#job-files, #job-error")
    expect(ended.first).to_be_visible(timeout=PATIENCE_MS)
    assert page.locator("#job-error").count() == 0, page.inner_text("#job-error")


def download(page: Page, name: str, folder: Path) -> Path:
    """One of the job's files."""
    with page.expect_download() as begun:
        page.locator("#job-files table").get_by_role("link", name=name, exact=True).click(modifiers=["Alt"])
    begun.value.save_as(folder / name)
    return folder / name


def test_a_suspect_checkpoint_is_cleaned_without_leaving_the_browser(
    page: Page, live: Live, subject: Subject, tmp_path: Path
) -> None:
    sign_in(page, live)
    upload(page, subject.path)
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
    order_cleaning(page, pairs_id)
    files = page.locator("#job-files")
    assert page.locator(".verdict").count() == 1

    folder = tmp_path / "cleaned"
    page.locator("#all-files summary").click()
    for link in files.locator("table").get_by_role("link").all():
        name = link.inner_text()
        digest = hashlib.sha256(download(page, name, folder).read_bytes()).hexdigest()
        assert digest in files.inner_text(), name
    assert (folder / "model.safetensors").is_file()
    assert [str(one) for one in verify(folder, input_file=subject.path).findings] == []


@pytest.mark.full
def test_who_knows_no_trigger_scans_cleans_on_what_was_found_and_scans_again(
    page: Page, live: Live, subject: Subject, tmp_path: Path
) -> None:
    """A tiny model has no null, so its scan cannot fail; its conspicuous patterns are real ones."""
    images = audited.pictures(NUM_SCANNED)
    folder = audited.write_answered(tmp_path / "labelled", subject.canonical, images, audited.CLASS_NAMES)
    labelled = live.put_data("unknown/labelled", subjects.contents(folder))
    sign_in(page, live)
    register(page, "Labelled", labelled)
    labelled_id = page.url.rpartition("/")[2]
    upload(page, subject.path)

    def scan() -> str:
        """The target that was found. Begins at the checkpoint's page."""
        page.get_by_role("link", name="Scan it for unknown triggers").click()
        page.get_by_label("Labelled images").select_option(labelled_id)
        page.get_by_role("button", name="Order the scan").click()
        wait_for_files(page)
        expect(page.locator("#job-verdict")).to_contain_text(re.compile("controlled|inconclusive"))
        expect(page.locator("#job-verdict")).to_contain_text("there is no p-value")
        expect(page.locator("#job-lead img")).to_have_count(1 + 2 * 2)  # the pattern; without and with it
        targets = page.locator("#job-report section[aria-labelledby=found] th > bdi").all_text_contents()
        return str(targets[0])

    found = scan()
    page.get_by_role("link", name="Clean, judged on what was found").click()
    target = page.get_by_label("Target", exact=True).input_value()
    assert target in audited.CLASS_NAMES
    assert found.startswith(target)
    order_cleaning(page, subject.pairs.id)
    page.locator("#all-files summary").click()
    report = load_json(download(page, "report.json", tmp_path).read_bytes())
    assert report.scan is not None
    assert report.scan.found[0].target == target
    assert len(report.after.attacks if report.after else ()) == report.scan.num_known + sum(
        one.attack is not None for one in report.scan.found
    )
    upload(page, download(page, "model.safetensors", tmp_path))
    scan()
