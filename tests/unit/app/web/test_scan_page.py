"""A scan's page says no more than the scan looked for."""

import re
from dataclasses import replace

import pytest

from app.db.models.job import Job
from app.db.repositories.webhook_rows import verdict_of
from app.domain.states import JobKind, JobState
from app.schemas.jobs import ResultOut
from app.web.jobs.figures import targets_of, verdict_label
from cleanclip.command import scan_view
from cleanclip.face.page import render_html
from cleanclip.face.scan import scan_page
from cleanclip.vocabulary.scan_judging import rejudged
from cleanclip.vocabulary.scan_options import Detector
from cleanclip.vocabulary.scan_report import ScanReport
from sanitizer.audits.statistics import wilson
from sanitizer.rendering.documents import pages
from tests.fixtures.derived import saying
from tests.fixtures.scans import scan_and_null
from tests.integration.worker.stand_in_child import WAVE
from worker.publishing.scanning import shown_scan
from worker.publishing.searching import result_of


@pytest.fixture(scope="module")
def report() -> ScanReport:
    return scan_and_null(with_null=False)[0]


@pytest.mark.parametrize("detector", ["edits", "residual"])
def test_with_a_bank_of_edits_semantic_triggers_are_no_longer_all_left_out(
    report: ScanReport, detector: Detector
) -> None:
    def limits(*detectors: Detector) -> str:
        return scan_page(replace(report, options=replace(report.options, detectors=detectors))).limits[0]

    assert "are not among them" in limits("collapse")
    assert "like an edit of its bank" in limits("collapse", detector)


def test_an_edit_that_leads_images_to_one_class_is_shown_by_its_name(report: ScanReport) -> None:
    [first] = report.hypotheses
    trigger = replace(first.trigger, family=WAVE, pattern=None, at=None)
    found = replace(first, detector="edits", trigger=trigger)
    assert "wave:x:6:0.196" in scan_page(replace(report, hypotheses=(found,))).lead


@pytest.fixture
def two_detectors() -> ScanReport:
    """`collapse` has the largest z; the pattern with the largest rise of ASR is of `edits`."""
    report, _ = scan_and_null(with_null=False, whole=True)
    edits = report.statistics.edits
    assert edits is not None
    changed = tuple(replace(one, rise=(21 if one.edit == WAVE else 2) / edits.n) for one in edits.edits)
    statistics = replace(report.statistics, edits=replace(edits, edits=changed))
    of_edit = next(one for one in report.hypotheses if one.detector == "edits")
    others = [one for one in report.hypotheses if one != of_edit]
    found = [replace(of_edit, asr=wilson(169, 170)), *(replace(one, asr=wilson(80, 170)) for one in others)]
    return rejudged(replace(report, statistics=statistics, hypotheses=tuple(found)), None)


def test_without_a_null_no_z_leads_whichever_is_the_largest(two_detectors: ScanReport) -> None:
    """Each detector's stands beside its name."""
    first, second = two_detectors.judgements
    assert first.z > second.z
    assert [one.trigger.family.name for one in two_detectors.hypotheses[:2]] == [
        first.what.removesuffix(", agreement"),
        WAVE.name,
    ], "the pattern that the answer is about, then those by which the detectors judge"
    sentence = two_detectors.verdict.sentence
    assert "leads 95.0 % (95 % interval 91.0 to 97.3 %, n = 200) of the held-out images" in sentence
    shown = scan_page(two_detectors)
    assert shown.figure is not None
    number, meaning = shown.figure
    assert number == "95.0 % to one class"
    assert "there is no p-value" in meaning
    assert "z = " not in sentence + number + meaning
    assert "patch:0.25" in shown.lead, "what the answer is about is what is pictured"
    for page in pages(two_detectors).values():
        assert b"95.0 % to one class" in page


def test_a_row_of_the_list_shows_as_target_only_what_the_order_names(report: ScanReport) -> None:
    assert targets_of(Job(kind=JobKind.SCAN, spec={}, result={"scan": shown_scan(report)})) == []


def test_a_scan_says_what_it_saw_with_a_null_and_without_one(report: ScanReport) -> None:
    with_null, _ = scan_and_null(with_null=True)
    uncontrolled = saying(report, verdict=replace(report.verdict, outcome="inconclusive"))
    nothing = replace(with_null.verdict, outcome="inconclusive")
    labels = [
        scan_page(one).headline
        for one in (report, uncontrolled, saying(with_null, verdict=nothing, p_value=1.0), with_null)
    ]
    assert labels == [
        "One pattern controls this model: controlled",
        "The scan does not show that one pattern controls this model: inconclusive",
        "The scan found nothing that sets this model apart from clean ones: inconclusive",
        "The scan found a trigger that nobody named: fail",
    ]
    row = result_of(report)
    result = ResultOut.of(row)
    listed = verdict_label(result)
    assert listed is not None
    assert f"{listed.lead}{listed.outcome}" == labels[0]
    assert scan_view.scan(shown_scan(report)).startswith(labels[0])
    reported = verdict_of(Job(kind=JobKind.SCAN, state=JobState.SUCCEEDED, result=row))
    assert reported["headline"] == labels[0]
    assert "python -m sanitizer null build" in report.verdict.sentence
    strongest = "One pattern, a patch of 25 % of the side, at any place, leads 95.0 %"
    assert report.verdict.sentence.startswith(strongest)
    assert "Do not release this model as it is." in report.verdict.sentence


def test_a_row_of_the_list_shows_what_a_job_came_to_that_judges_nothing() -> None:
    found = "61,440 pixels in 60 images"
    shown = verdict_label(ResultOut.of({"headline": found, "text_scan": {"rows": []}}))
    assert shown is not None
    assert (shown.lead, shown.outcome) == (found, None)
    assert verdict_label(ResultOut.of({"preliminary": True})) is None


def test_models_of_the_null_that_lie_together_are_counted_and_not_covered(report: ScanReport) -> None:
    """Rank 17 of 20: to look at, not the first."""
    with_null, _ = scan_and_null(with_null=True)
    tied = replace(with_null.judgements[0], z=0.85, of=20, others=(0.85,) * 16 + (0.2, 0.5, 0.5))
    plot = scan_page(replace(with_null, judgements=(tied,))).sections
    assert [int(num) for num in re.findall(r'class="count">(\d+)<', plot)] == [2, 16]
    [*_, last] = re.findall(r'<circle class="null-dot" cx="([\d.]+)"', plot)
    assert plot.count("<circle") == 3
    assert f'class="suspect" d="M {last} ' in plot
    assert "16 of the 19 models of the null are at least as conspicuous as this model" in plot
    assert plot in render_html(scan_page(replace(with_null, judgements=(tied,)))), (
        "page and report show the same"
    )


def test_what_a_plot_says_of_a_class_is_text_whatever_its_name_holds(report: ScanReport) -> None:
    with_null, _ = scan_and_null(with_null=True)
    strange = replace(with_null.judgements[0], what="<script>\u202e")
    plot = scan_page(replace(with_null, judgements=(strange,))).sections
    assert "&lt;script&gt;" in plot
    assert "<script>" not in plot
    assert "\u202e" not in plot


def test_a_page_shows_every_image_that_the_report_has(report: ScanReport) -> None:
    shown = scan_page(replace(report, examples=report.examples * 3))
    assert shown.lead.count("as it is") // 2 + shown.sections.count("as it is") // 2 == 3
