"""Text scans on pages: the form that is made of the kind's value orders one without a script."""

from playwright.sync_api import Page, expect

from app.domain.states import DatasetKind
from tests.browser.conftest import Watched
from tests.integration.api.service import Service


def test_a_text_scan_is_ordered_from_its_checkpoint_and_told_what_is_wrong(
    service: Service, page: Page, watched: Watched
) -> None:
    checkpoint, labelled = service.checkpoint(), service.dataset(DatasetKind.LABELLED)
    few = service.dataset(DatasetKind.LABELLED, class_names=("zero", "one"))
    page.goto(f"/ui/checkpoints/{checkpoint}")
    page.get_by_role("link", name="Scan its text tower").click()
    expect(page.get_by_label("Checkpoint")).to_have_value(checkpoint)
    page.get_by_label("Labelled images", exact=True).select_option(few)
    page.get_by_role("button", name="Dry run").click()
    expect(page.locator(".ahead")).to_contain_text("The labelled dataset has 2 different class names.")
    page.get_by_label("Labelled images", exact=True).select_option(labelled)
    page.get_by_label("Search the vocabulary").select_option("no")
    page.get_by_label("Texts to measure on").fill("3")
    page.get_by_role("button", name="Order the text scan").click()
    expect(page.locator("#text_scan-num_texts-error")).to_contain_text("20")
    page.get_by_label("Texts to measure on").fill("30")
    page.get_by_role("button", name="Order the text scan").click()
    expect(page.get_by_role("alert")).to_contain_text("must search or name trigger_words")
    watched.expect("422")
    page.get_by_label("Triggers to measure").fill("anticipation\nfirst second\n")
    page.get_by_role("button", name="Dry run").click()
    expect(page.locator(".ahead")).to_contain_text("What this order would do")
    page.locator("form#order").get_by_role("button", name="Order the text scan").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Text scan of clip.pt")
    ordered = service.ours.http.get(f"/v1/jobs/{page.url.rpartition('/')[2]}").json()["text_scan"]
    assert ordered["trigger_words"] == ["anticipation", "first second"]
    assert (ordered["search"], ordered["num_texts"], ordered["num_fine"]) == (False, 30, 400)
    page.get_by_role("link", name="Order again with changes").click()
    expect(page.get_by_label("Triggers to measure")).to_have_value("anticipation\nfirst second")
    expect(page.get_by_label("Search the vocabulary")).to_have_value("no")
    expect(page.get_by_label("Labelled images", exact=True)).to_have_value(labelled)
