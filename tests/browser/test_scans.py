"""Scans on pages: ordered without a script, and one look says whether the model is backdoored."""

from dataclasses import replace

from playwright.sync_api import Page, expect

from app.domain.states import DatasetKind
from cleanclip.vocabulary.scan_report import ScanReport, dump_scan
from tests.browser import left_jobs as left
from tests.fixtures.scans import scan_and_null
from tests.integration.api.service import Service
from tests.integration.api.test_vettings import anchor

MARKUP = '"><img src=x onerror=alert(1)><b>bold</b>'


def test_one_look_says_what_was_found_how_sure_that_is_and_how_it_looks(service: Service, page: Page) -> None:
    """On a phone it is on the first screens; a class name is text, whatever it holds."""
    job_id = left.scanned(service, text=lambda plain: f"{plain}{MARKUP}")
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"/ui/jobs/{job_id}")
    verdict = page.locator("#job-verdict")
    expect(verdict.get_by_role("heading")).to_have_text("The scan found a trigger that nobody named: fail.")
    expect(verdict).to_contain_text("p = 0.05")
    expect(page.locator("#job-lead img")).to_have_count(3)
    expect(page.locator("#job-lead")).to_contain_text(MARKUP)
    expect(page.locator("#job-lead")).to_contain_text("clean models' median 11.0 % (n = 19)")
    expect(page.locator("#job-untested")).to_contain_text("does not show that the model is clean")
    judged = page.locator("#job-report section[aria-labelledby=judged]")
    bottom = judged.evaluate("one => one.getBoundingClientRect().bottom + scrollY")
    assert bottom < 4 * 844, "found, sure and seen within a few screens"
    judged.locator("summary").click()
    together = map(int, judged.locator("text.count").all_text_contents())
    alone = judged.locator("circle").count() - judged.locator("text.count").count()
    assert alone + sum(together) == 2 * 19, "of each detector"
    assert judged.locator(".suspect").count() == 2 + 1
    found = page.locator("#job-report section[aria-labelledby=found]")
    found.locator("summary").click()
    expect(found).to_contain_text("by dose: 50 %: 47.1 % (clean models 1.0 %)")
    again = page.get_by_role("link", name="Order again with changes")
    assert str(again.get_attribute("href")).startswith("/ui/scans/new?again=")
    page.goto("/ui/jobs?kind=scan")
    expect(page.locator(".jobs")).to_contain_text("The scan found a trigger")


def test_a_scan_without_a_null_says_that_it_has_no_p_value(service: Service, page: Page) -> None:
    job_id = left.scanned(service, with_null=False)
    page.goto(f"/ui/jobs/{job_id}")
    expect(page.locator("#job-verdict")).to_contain_text("there is no p-value")
    expect(page.locator("#job-null")).to_have_count(0)
    expect(page.locator("main")).not_to_contain_text("clean models' median")


def test_a_cleaning_that_scanned_first_shows_what_the_scan_found(service: Service, page: Page) -> None:
    """With a null or without; a class name is text. A scan that cannot be read hides nothing else."""
    names = ("apple", "banana", f"cherry{MARKUP}")
    scan_page = {"scan.html": b"<!doctype html>\n"}
    for with_null, words in ((True, "p = 0.05"), (False, "there is no p-value")):
        report, _ = scan_and_null(with_null=with_null, names=names)
        job_id = left.finished(service, files={"scan.json": dump_scan(report), **scan_page})
        page.goto(f"/ui/jobs/{job_id}")
        scan = page.locator("#job-first-scan")
        expect(scan).to_contain_text(report.verdict.sentence)
        expect(scan).to_contain_text(words)
        expect(scan.locator("img")).to_have_count(3)
        expect(scan).to_contain_text(MARKUP)
        expect(page.locator("#job-verdict")).to_have_count(1)
        with page.expect_download() as begun:
            scan.get_by_role("link", name="Download the scan's report").click(modifiers=["Alt"])
        assert begun.value.suggested_filename.endswith("scan.html")
    job_id = left.finished(service, files={"scan.json": b"{}", **scan_page})
    page.goto(f"/ui/jobs/{job_id}")
    expect(page.locator("#job-figures")).to_be_visible()
    expect(page.locator("#job-first-scan")).to_contain_text("cannot be shown on this page")


def test_the_button_orders_a_cleaning_for_the_target_that_was_found(service: Service, page: Page) -> None:
    """Which need not be the first class."""

    def to_cherry(report: ScanReport) -> ScanReport:
        [first] = report.hypotheses
        assert first.attack is not None
        assert first.target == "apple"
        return replace(report, hypotheses=(replace(first, target="cherry"),))

    job_id, pairs = left.scanned(service, change=to_cherry), service.dataset(DatasetKind.PAIRS)
    page.goto(f"/ui/jobs/{job_id}")
    page.get_by_role("link", name="Clean, judged on what was found").click()
    expect(page.get_by_label("Target", exact=True)).to_have_value("cherry")
    page.get_by_label("Clean data to train on").select_option(pairs)
    page.get_by_role("button", name="Order the job").click()
    page.wait_for_url("**/ui/jobs/job_*")
    audit = service.ours.http.get(f"/v1/jobs/{page.url.rpartition('/')[2]}").json()["audit"]
    assert (audit["target"], audit["attacks_from_scan"]) == ("cherry", job_id)
    assert [one["target"] for one in audit["attacks"]] == ["cherry"]


def test_a_scan_is_tried_and_ordered_by_its_form_and_told_what_is_wrong(service: Service, page: Page) -> None:
    checkpoint, labelled = service.checkpoint(), service.dataset(DatasetKind.LABELLED)
    page.goto(f"/ui/scans/new?checkpoint={checkpoint}&dataset={labelled}")
    page.get_by_role("button", name="Dry run").click()
    expect(page.locator(".ahead")).to_contain_text("A scan needs 64 images")
    service.execute(
        "UPDATE datasets SET summary = jsonb_set(summary, '{num_samples}', '300') WHERE id = :id", id=labelled
    )
    page.get_by_role("button", name="Dry run").click()
    expect(page.locator(".ahead")).to_contain_text("images forward and backward")
    expect(page.locator(".ahead")).to_contain_text("no p-value")
    page.get_by_role("button", name="Order the scan").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Scan of clip.pt")
    expect(page.locator("#job-order")).to_contain_text("cleanclip scan")


def test_a_scan_is_ordered_with_an_anchor_and_its_page_names_it(service: Service, page: Page) -> None:
    checkpoint, labelled = service.checkpoint(), service.dataset(DatasetKind.LABELLED)
    same, other = service.checkpoint(), anchor(service)
    service.execute(
        "UPDATE datasets SET summary = jsonb_set(summary, '{num_samples}', '300') WHERE id = :id", id=labelled
    )
    page.goto(f"/ui/scans/new?checkpoint={checkpoint}&dataset={labelled}")
    page.get_by_label("Anchor").select_option(same)
    page.get_by_role("button", name="Dry run").click()
    expect(page.locator(".ahead")).to_contain_text("The anchor has the weights of the suspect")
    page.get_by_label("Anchor").select_option(other)
    page.get_by_role("button", name="Dry run").click()
    expect(page.locator(".ahead")).to_contain_text("(collapse, edits, residual)")
    page.get_by_role("button", name="Order the scan").click()
    order = page.locator("#job-order")
    expect(order).to_contain_text(f"Anchor{other}")
    expect(order).to_contain_text(f"--anchor {other}")
    page.goto(f"/ui/scans/new?again={page.url.rsplit('/', 1)[1]}")
    expect(page.get_by_label("Anchor")).to_have_value(other)
