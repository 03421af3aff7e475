"""report.html as it is handed over: opened from disk without a network, and printed."""

import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from cleanclip.face.page import render_html
from cleanclip.face.scan import scan_page
from cleanclip.vocabulary.audit_figures import Measured
from cleanclip.vocabulary.control import MEASURED
from tests.browser.test_every_page import open_all
from tests.fixtures.kept_reports import NAMES, document, drawn_from
from tests.fixtures.scans import scan_and_null
from tests.suites import mostly_full, pairs

ON_PAPER: Any = {"width": 688, "height": 1025}
"""A4 without its margins, in CSS pixels."""
MOST_SHEETS = 5
ORIGIN = {
    "filename": "clip-vit-b-32.pt",
    "source": None,
    "job_id": "job_01k00000000000000000000000",
    "job_name": "Release 7, after the hotfix",
    "project": "vision research",
    "requested_by": "release pipeline key_01k00000000000000000000000",
}
REPORT = Path(__file__).parents[2] / "docs" / "example-report.html"


@pytest.mark.parametrize("colours", mostly_full(["light", "dark"], daily=["light"]))
def test_it_opens_offline_asks_for_nothing_and_is_accessible(chromium: Browser, colours: str) -> None:
    context = chromium.new_context(offline=True, color_scheme=colours)  # type: ignore[arg-type]
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(REPORT.as_uri(), wait_until="load")
    assert [url for url in asked if not url.startswith("data:")] == [REPORT.as_uri()]
    pictures = page.evaluate("[...document.images].map(image => image.complete && image.naturalWidth)")
    assert len(pictures) >= 12
    assert all(pictures), "every image is inside"
    open_all(page)
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    context.close()


@pytest.mark.parametrize(("name", "size"), pairs(NAMES, [(1280, 900), (390, 844)]))
def test_answer_evidence_and_decision_are_on_the_first_two_screens_and_the_rest_is_folded(
    chromium: Browser, name: str, size: tuple[int, int], tmp_path: Path
) -> None:
    written = document(name) | {"origin": ORIGIN}
    measured = {one.name: written[one.name] for one in fields(Measured) if one.name in written}
    written["withheld"] = {"seed": 1, "num_samples": 600, "num_skipped": 0, "measured": measured}
    report = tmp_path / "report.html"
    report.write_text(drawn_from(written)[0])
    width, height = size
    page = chromium.new_page(viewport={"width": width, "height": height})
    page.goto(report.as_uri())
    tops = [one.evaluate("one => one.getBoundingClientRect().top") for one in page.locator("section").all()]
    screens = 2 if width > 1000 else 3
    assert tops[1] <= screens * height, "up to the signature"
    whole = page.evaluate("document.documentElement.scrollHeight")
    assert whole <= (screens + 1) * height, "each fold is one line"
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()


@pytest.mark.parametrize(("with_null", "size"), pairs([True, False], [(1280, 900), (390, 844)]))
def test_a_scans_answer_evidence_and_decision_come_first_and_the_rest_is_folded(
    chromium: Browser, with_null: bool, size: tuple[int, int], tmp_path: Path
) -> None:
    [scan, _] = scan_and_null(with_null=with_null, whole=True)
    families = tuple(replace(scan.control[0], family=family) for family in MEASURED)
    scan = replace(scan, control=families, examples=scan.examples[:1] * 4)
    report = tmp_path / "scan.html"
    report.write_text(render_html(scan_page(scan)))
    width, height = size
    page = chromium.new_page(viewport={"width": width, "height": height})
    page.goto(report.as_uri())
    front, *folded = page.locator("section").all()
    headings = front.locator("h2").all_inner_texts()
    found = "The trigger that was found" if with_null else "The pattern that controls this model"
    assert headings == [found, "Can one pattern control this model?", "What this does not show", "Decision"]
    assert all(one.locator("details:not([open])").count() == 1 for one in folded)
    whole = page.evaluate("document.documentElement.scrollHeight")
    assert whole <= (2 if width > 1000 else 4) * height
    open_all(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()


@pytest.mark.parametrize("name", NAMES)
def test_a_report_prints_to_at_most_five_sheets_of_a4_and_the_first_holds_what_matters(
    chromium: Browser, name: str, tmp_path: Path
) -> None:
    report = tmp_path / "report.html"
    report.write_text(drawn_from(document(name) | {"origin": ORIGIN})[0])
    assert num_sheets(chromium, report) <= MOST_SHEETS
    page = chromium.new_page(viewport=ON_PAPER)
    page.emulate_media(media="print")
    page.goto(report.as_uri())
    front = page.locator("section").first
    assert front.locator("h2").all_inner_texts()[-2:] == ["What was not tested", "Decision"]
    box = front.bounding_box()
    assert box is not None
    assert box["height"] <= ON_PAPER["height"], "up to the signature it is one sheet"
    page.close()


def test_of_many_triggers_the_worst_are_printed_and_the_sheets_stay_five(
    chromium: Browser, tmp_path: Path
) -> None:
    written = document("several_targets") | {"origin": ORIGIN}
    for audit in (written["audit"], written["before"], written["after"], written["verdict"]):
        audit["attacks"] += [audit["attacks"][1]] * 12
    written |= {"attack_changes": [], "examples": None}
    report = tmp_path / "report.html"
    report.write_text(drawn_from(written)[0])
    assert num_sheets(chromium, report) <= MOST_SHEETS
    page = chromium.new_page()
    page.goto(report.as_uri())
    open_all(page)
    assert page.locator(".attack:visible").count() == 15, "a screen shows all"
    page.emulate_media(media="print")
    assert page.locator(".attack:visible").count() == 3
    assert "The figures of 12 more triggers" in page.inner_text("main")
    page.close()


def test_a_job_with_examples_scanners_classes_and_warnings_still_prints_to_five_sheets(
    chromium: Browser, tmp_path: Path
) -> None:
    """As much as a research checkpoint gets with the default triggers."""
    written = document("examples") | {"origin": ORIGIN}
    issue = "warning: NON_ALLOWLISTED_GLOBAL (numpy.core.multiarray.scalar_of_a_long_name_in_a_module_{})"
    scanner = {"name": "modelaudit", "version": "0.1.12", "verdict": "suspicious", "num_issues": 5}
    written["checkpoint"]["scanners"] = [scanner | {"issues": [issue.format(n) for n in range(5)]}] * 2
    written["checkpoint"]["findings"] = [
        "The file names numpy.dtype; none of them was imported or called."
    ] * 5
    written["warnings"] = [
        "Neither the order nor the labelled set gives templates, so 80 were used. " * 3
    ] * 2
    for audit in (written["before"], written["after"]):
        audit["ca_per_class"] = [{"class_name": f"class {n}", "accuracy": audit["ca"]} for n in range(80)]
    report = tmp_path / "report.html"
    report.write_text(drawn_from(written)[0])
    assert num_sheets(chromium, report) <= MOST_SHEETS


def num_sheets(chromium: Browser, report: Path) -> int:
    page = chromium.new_page()
    page.goto(report.as_uri())
    printed = page.pdf(format="A4", prefer_css_page_size=True)
    page.close()
    return len(re.findall(rb"/Type\s*/Page\b", printed))
