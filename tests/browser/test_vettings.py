"""Vettings on pages: ordered without a script; the worst samples are shown, and left out of a cleaning."""

from playwright.sync_api import Page, expect

from app.domain.states import DatasetKind
from tests.browser import left_jobs as left
from tests.integration.api.service import Service

MARKUP = '"><img src=x onerror=alert(1)><b>bold</b>'


def test_the_worst_samples_are_shown_as_text_and_a_cleaning_can_leave_them_out(
    service: Service, page: Page
) -> None:
    job_id = left.vetted(service, text=lambda plain: f"{plain}{MARKUP}")
    page.goto(f"/ui/jobs/{job_id}")
    verdict = page.locator("#job-verdict")
    expect(verdict.get_by_role("heading")).to_have_text("9 of 192 samples are set aside.")
    expect(verdict).to_contain_text("not a proof that the rest is clean")
    expect(page.locator("#job-lead img")).to_have_count(6)
    expect(page.locator("#job-lead li").first).to_contain_text(MARKUP)
    again = page.get_by_role("link", name="Order again with changes")
    assert str(again.get_attribute("href")).startswith("/ui/vettings/new?again=")
    page.get_by_role("link", name="Clean without these").click()
    expect(page.locator("#exclude")).to_have_value(job_id)
    page.goto("/ui/jobs?kind=vet")
    expect(page.locator(".jobs")).to_contain_text("clip.pt")
    row = page.locator(".jobs tr", has_text=job_id)
    expect(row.locator("td.result")).to_have_text("9 of 192 samples are set aside")


def test_a_vetting_is_tried_and_ordered_by_its_form_and_told_what_is_wrong(
    service: Service, page: Page
) -> None:
    checkpoint, pairs = service.checkpoint(), service.dataset(DatasetKind.PAIRS)
    page.goto(f"/ui/vettings/new?checkpoint={checkpoint}&dataset={pairs}")
    page.locator("#vet-trusted_dataset_id").select_option(pairs)
    page.get_by_role("button", name="Dry run").click()
    expect(page.locator(".ahead")).to_contain_text("The trusted set is the set that is vetted")
    page.locator("#vet-trusted_dataset_id").select_option("")
    page.get_by_role("button", name="Dry run").click()
    expect(page.locator(".ahead")).to_contain_text("Embeds 101 samples by the model")
    page.get_by_role("button", name="Order the vetting").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Vetting of clip.pt")
    expect(page.locator("#job-order")).to_contain_text(f"--pairs {pairs}")
