"""A cleaning whose audit uses what a scan found: from the report alone `verify` makes the same verdict, and a
report whose scan was changed is refused.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.web.jobs.job_result import page_shown
from app.web.kit.rendering import environment
from cleanclip.evidence.verification import verify
from cleanclip.face import sentences
from cleanclip.vocabulary.audit_figures import AuditFigures
from cleanclip.vocabulary.jobspec import SanitizeSpec
from cleanclip.vocabulary.report import Report, load_json
from cleanclip.vocabulary.verdict_texts import NOT_JUDGED
from sanitizer.rendering.documents import pages
from tests.fixtures.evidence import edit_json, left_by_a_child, packed, sum_again
from worker.publishing.checking import check_first_audit
from worker.publishing.verdicts import verdicts_of


@pytest.fixture
def scanned(tmp_path: Path) -> Path:
    return packed(tmp_path / "scanned", kind="scanned")


def read(folder: Path) -> Report:
    return load_json((folder / "report.json").read_bytes())


def test_what_a_scan_without_a_finding_found_is_measured_and_not_judged(scanned: Path) -> None:
    report = read(scanned)
    assert verify(scanned).findings == ()
    *named, found = report.verdict.attacks
    assert (report.verdict.outcome, {one.outcome for one in named}) == ("pass", {"pass"})
    assert (found.judged, found.outcome, found.reason) == (False, "inconclusive", NOT_JUDGED)
    assert " Not judged: sig. " in report.verdict.reason
    assert report.after is not None
    assert report.after.attacks[3].asr.low > report.policy.limit_of("sig")[1], "judged, it would fail"
    assert [one.outcome for one in verdicts_of(report)] == ["fail", "pass"], "by the three that are named"


def test_pages_say_why_it_is_not_judged(scanned: Path) -> None:
    drawn = pages(read(scanned))
    for page in ("report.html", "report.md"):
        assert "clean models have such patterns too" in drawn[page].decode()
    assert "wave:x:6:0.196, found by the scan" in drawn["report.html"].decode()


def test_question_and_headline_count_the_same_triggers(scanned: Path) -> None:
    report = read(scanned)
    assert report.after is not None
    assert report.scan is not None

    def different(figures: AuditFigures) -> AuditFigures:
        attacks = tuple(replace(one, trigger_sha256=one.name) for one in figures.attacks)
        return replace(figures, attacks=attacks)

    report = replace(report, before=different(report.before), after=different(report.after))
    assert report.before.num_triggers(report.verdict.attacks) == 3 < len(report.audit.attacks)
    assert sentences.question(report).startswith("Does any of the 3 triggers tested make this model")
    alone = replace(
        report,
        before=replace(report.before, attacks=report.before.attacks[3:]),
        after=replace(report.after, attacks=report.after.attacks[3:]),
        scan=replace(report.scan, num_known=0),
    )
    assert sentences.question(alone).startswith("Does a trigger that only the scan found make this model")


def test_a_jobs_page_calls_an_attack_as_the_scan_does(scanned: Path) -> None:
    page = page_shown(read(scanned))
    triggers = {one.name: one for one in (*page.judged, *page.judged_too) if one.further}
    families = {name: one.further.partition(" to “")[0] for name, one in triggers.items()}
    found = " (wave:x:6:0.196, found by the scan)"
    assert families == {"badnet": "", "blended": "", "wanet": "", "sig": found}
    html = environment.get_template("macros.html").module.judged(triggers["sig"])
    assert f"<strong>sig</strong>{found} to" in html


def fails(report: Any) -> None:
    """As if it were judged."""
    part = report["verdict"]["attacks"][3]
    part.update(outcome="fail", judged=True, reason="ASR did not fall.")
    report["verdict"]["outcome"] = "fail"


def of_another_scan(**values: Any) -> Callable[[Any], None]:
    return lambda report: report["scan"].update(values)


def spared(report: Any) -> None:
    report["verdict"]["attacks"][0].update(outcome="inconclusive", judged=False, reason=NOT_JUDGED)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (fails, "verdict.attacks[3].outcome"),
        (of_another_scan(outcome="fail"), "scan.outcome"),
        (of_another_scan(p_value=0.05), "scan.outcome"),
        (of_another_scan(num_known=2), "scan.found"),
        (of_another_scan(num_known=4), "verdict.attacks[3].outcome"),
        (lambda report: report.update(scan=None), "verdict.attacks[3].outcome"),
        (spared, "verdict.attacks[0].judged"),
        (lambda report: report["verdict"]["attacks"][3].update(judged=True), "verdict.attacks[3].judged"),
        (lambda report: report["verdict"]["attacks"][3].update(reason="Clean."), "verdict.attacks[3].reason"),
    ],
)
def test_a_scan_or_a_verdict_that_was_changed_is_named(
    scanned: Path, change: Callable[[Any], None], place: str
) -> None:
    edit_json(scanned / "report.json", change)
    sum_again(scanned)
    found = [one.where or "" for one in verify(scanned).findings]
    assert any(one == place or one.startswith("verdict.") for one in found), "or what follows from it"


def test_the_first_audit_of_a_job_is_judged_alike(tmp_path: Path) -> None:
    staged, outputs = left_by_a_child(tmp_path, kind="scanned")
    report = load_json((outputs / "report.json").read_bytes())
    assert staged.known is not None
    assert isinstance(staged.spec, SanitizeSpec)
    verdict = check_first_audit(report.before, report.architecture, staged.spec, staged.known)
    assert [one.judged for one in verdict.attacks] == [True, True, True, False]
