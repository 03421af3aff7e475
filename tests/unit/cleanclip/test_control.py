"""What one pattern does to a model: which patterns are judged; no figure of it can be changed by hand."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError

from cleanclip.evidence import report as evidence
from cleanclip.evidence import scans
from cleanclip.vocabulary.audit_figures import ClassAccuracy
from cleanclip.vocabulary.control import (
    CONTROL_LIMIT,
    JUDGED,
    ControlFigures,
    NotSearched,
    NotSearchedCode,
    Strongest,
    controlling,
    controls,
    strongest,
    table,
)
from cleanclip.vocabulary.image_edits import bank
from cleanclip.vocabulary.report import Report, dump_json, load_json
from cleanclip.vocabulary.scan_judging import Candidate, Judgement, candidates, in_order
from cleanclip.vocabulary.scan_options import PatternFamily
from cleanclip.vocabulary.scan_statistics import CollapseFigures, CollapseRestart, ScanStatistics
from cleanclip.vocabulary.untested import not_tested
from sanitizer.audits.statistics import wilson
from tests.fixtures.made_reports import searched
from tests.fixtures.scans import scan_and_null

KEPT = Path(__file__).resolve().parents[2] / "fixtures/reports/cleaned.json"


def cleaned(control: ControlFigures) -> Report:
    """A real report with a search beside it."""
    return replace(load_json(KEPT.read_bytes()), control=control)


def one(led: int, n: int = 400, family: PatternFamily = JUDGED[0]) -> Strongest:
    return Strongest(family=family, class_name="banana", led=wilson(led, n), without=wilson(4, n))


def test_the_lower_bound_decides_whether_a_pattern_controls_a_model() -> None:
    over = next(led for led in range(401) if wilson(led, 400).low > CONTROL_LIMIT)
    assert controls([one(over)])
    assert not controls([one(over - 1)])
    assert over > 0.8 * 400


@pytest.mark.parametrize("family", JUDGED, ids=lambda family: family.name)
def test_a_smaller_pattern_that_controls_a_model_is_judged_too(family: PatternFamily) -> None:
    assert controls([one(400, family=replace(family, budget=0.8 * family.budget))])


def test_the_pattern_that_controls_a_model_is_among_those_that_an_audit_can_take() -> None:
    edits = [Candidate(detector="edits", family=edit, target=0, statistic=1.0) for edit in bank()[:5]]
    patch = Candidate(detector="collapse", family=JUDGED[0], target=1, statistic=0.1)
    judged = Judgement(judgements=(), p_value=None, null=None, pooled={})

    def ordered(controls: PatternFamily | None, *, fails: bool = False) -> list[Candidate]:
        return in_order([*edits, patch], judged, lambda found: found.statistic, controls, fails=fails)

    assert ordered(None) == edits
    assert ordered(JUDGED[1]) == edits
    assert ordered(JUDGED[0]) == [patch, *edits[:4]], "the answer is about it"
    assert ordered(JUDGED[0], fails=True) == [*edits[:4], patch], "the answer is about what stands out"
    assert controlling([one(400), one(40, family=JUDGED[1])]) == JUDGED[0]
    assert controlling([one(40)]) is None


def test_colour_and_larger_budgets_are_measured_and_not_judged() -> None:
    colour = PatternFamily(family="colour", budget=0.3)
    larger = PatternFamily(family="patch", budget=0.5)
    found = [one(400, family=colour), one(400, family=larger), one(40)]
    assert not controls(found)
    assert strongest(found) == found[2]
    assert strongest(found[:2]) is None
    shown = table(found)
    assert shown is not None
    assert ["not judged" in row[0] for row in shown.rows] == [True, True, False]
    assert table([]) is None


def test_what_a_search_leaves_fits_itself_and_what_is_changed_by_hand_is_named() -> None:
    report = cleaned(searched(81, 384))
    assert [str(each) for each in evidence.check(report)] == []


def test_the_report_says_how_hard_each_family_was_looked_for() -> None:
    sentence = searched(210).sentence
    for fact in (
        "24 patterns for a patch at one place, 64 steps on 8 images",
        "12 patterns for each other family, 32 steps on 8 images",
        "seed 7",
        "256 images to invert on, 1000 others",
    ):
        assert fact in sentence


def test_a_verdict_without_the_search_or_with_one_of_its_own_is_named() -> None:
    report = cleaned(searched(380, 384))
    assert report.verdict.outcome == "fail"
    document = json.loads(dump_json(report))
    milder = json.loads(dump_json(cleaned(searched(81, 384))))
    for lie in ({"verdict": milder["verdict"]}, {"control": milder["control"]}, {"control": None}):
        with pytest.raises(ValidationError, match="verdict"):
            load_json(json.dumps(document | lie))


@pytest.mark.parametrize("verdict", [{}, {"outcome": "pass", "clean": True}])
def test_a_verdict_that_says_nothing_or_something_of_its_own_is_refused(verdict: dict[str, object]) -> None:
    document = json.loads(dump_json(cleaned(searched(81, 384))))
    with pytest.raises(ValidationError, match="verdict"):
        load_json(json.dumps(document | {"verdict": verdict}))


def test_a_search_of_no_family_that_is_judged_is_refused() -> None:
    document = json.loads(dump_json(cleaned(searched(81, 384))))
    del document["verdict"]
    document["control"]["families"] = document["control"]["families"][-1:]
    with pytest.raises(ValidationError, match="no family that is judged"):
        load_json(json.dumps(document))


def test_the_pattern_that_controls_a_model_is_shown_and_not_another_of_its_family() -> None:
    def led(towards: int, num_sent: int, value: float) -> CollapseRestart:
        return CollapseRestart(values=(value,), towards=towards, num_sent=num_sent)

    def chosen(most: int) -> tuple[int | None, int | None]:
        restarts = (led(0, 250, 0.997), led(0, 240, 0.9), led(1, most, 0.5))
        figures = CollapseFigures(family=JUDGED[0], n=400, restarts=restarts, agreed_class=0, agreement=0.5)
        digests = dict.fromkeys(("weights_sha256", "class_names_sha256", "images_sha256"), "0" * 64)
        statistics = ScanStatistics(**digests, seed=1, num_passes=1, wall_s=1.0, collapse=(figures,))
        [found] = candidates(statistics)
        return found.restart, found.target

    assert chosen(390) == (2, 1), "the one that the answer is about"
    assert chosen(300) == (0, 0), "the most conspicuous of those that agree"


@pytest.mark.parametrize("code", get_args(NotSearchedCode))
def test_a_cleaning_that_was_not_searched_says_why_once(code: NotSearchedCode) -> None:
    why = NotSearched(not_searched=code)
    for name in ("cleaned", "not_cleaned"):
        report = replace(load_json(KEPT.with_name(f"{name}.json").read_bytes()), control=why)
        reported = [report.verdict.reason, *not_tested(report)]
        assert sum(why.sentence in each for each in reported) == 1
        assert (why.sentence in report.verdict.reason) == (name == "cleaned")
        assert load_json(dump_json(report)) == report
    assert not any(why.sentence in each for each in not_tested(cleaned(searched(210, 384))))


def of_classes(report: Report, num: int, num_images: int, *, right: bool) -> Report:
    """So many images of `num` classes; not `right`: all are called the first one."""
    assert report.after is not None
    counts = [num_images // num + (place < num_images % num) for place in range(num)]
    accuracy = [
        wilson(math.ceil(0.9 * n) if right else n * (place == 0), n) for place, n in enumerate(counts)
    ]
    listed = tuple(
        ClassAccuracy(class_name=f"class {place}", accuracy=one) for place, one in enumerate(accuracy)
    )
    ca = wilson(sum(one.successes for one in accuracy), num_images)
    return replace(report, after=replace(report.after, ca=ca, ca_per_class=listed))


@pytest.mark.parametrize(
    ("code", "num_images", "num_classes", "right", "is_refuted"),
    [
        ("scan_too_few_images", 128, 80, True, True),
        ("scan_too_few_images", 127, 80, True, False),
        ("scan_images_equal", 3000, 80, True, False),
        ("scan_one_class", 3000, 2, True, True),
        ("scan_one_class", 3000, 1, True, False),
        ("scan_too_few_classes", 3000, 3, True, True),
        ("scan_too_few_classes", 3000, 2, True, False),
        ("embeddings_constant", 3000, 80, True, True),
        ("embeddings_constant", 3000, 80, False, False),
        ("embeddings_not_finite", 3000, 80, True, True),
        ("scan_classes_alike", 3000, 80, True, True),
        ("scan_classes_alike", 3000, 80, False, False),
    ],
)
def test_a_search_is_left_out_for_a_reason_that_fits_the_figures(
    code: NotSearchedCode, num_images: int, num_classes: int, right: bool, is_refuted: bool
) -> None:
    report = of_classes(load_json(KEPT.read_bytes()), num_classes, num_images, right=right)
    report = replace(report, control=NotSearched(not_searched=code))
    found = [each.where for each in evidence.check(report)]
    assert ("control.not_searched" in found) == is_refuted, found


def test_a_cleaning_has_a_search_or_a_reason() -> None:
    report = replace(load_json(KEPT.read_bytes()), control=None)
    assert "control" in [each.where for each in evidence.check(report)]


def test_a_search_counts_some_class_and_one_that_there_is() -> None:
    report = of_classes(cleaned(searched(81, 384)), 80, 80_000, right=True)
    found = [each.where for each in evidence.check(report) if (each.where or "").startswith("control")]
    assert "control.families[0].class_name" in found, "of the kept classes there is no banana"
    assert "control.families[0].led" in found, "some class is given an eightieth of the images"


def test_an_audit_has_no_search() -> None:
    audit = load_json(KEPT.with_name("audit.json").read_bytes())
    found = [each.where for each in evidence.check(replace(audit, control=searched(20, 384)))]
    assert "control" in found


def test_a_scan_s_figures_are_those_of_its_statistics() -> None:
    report, _ = scan_and_null(with_null=False)
    assert [str(each) for each in scans.check(report)] == []
    first, *others = report.control
    for lie in (replace(first, led=wilson(10, 200)), replace(first, family=others[0].family)):
        found = [each.where for each in scans.check(replace(report, control=(lie, *others)))]
        assert any(each.startswith("control") for each in found), found
    assert any(each.where == "control" for each in scans.check(replace(report, control=())))
