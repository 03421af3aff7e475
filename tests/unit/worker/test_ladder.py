"""A job's ladder: what its row shows, what the statement holds, and whether a real report fits itself."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from app.schemas.jobs import ResultOut
from cleanclip.evidence.claims import section_sha256
from cleanclip.evidence.report import check
from cleanclip.evidence.verification import verify
from cleanclip.spec.ladder_lines import lines, not_measured
from cleanclip.spec.recipe import to_json
from cleanclip.spec.report import Report, load_json
from tests.fixtures.evidence import believed, edit_json, left_by_a_child
from tests.integration.worker.stand_in_child import CLASSES, LADDER_LIES
from worker.failures import AttemptFailed
from worker.publishing.publish import shown_ladder

KEPT = Path(__file__).parents[2] / "fixtures" / "reports" / "auto.json"


@pytest.fixture(scope="module")
def report() -> Report:
    return load_json(KEPT.read_bytes())


def test_a_real_report_fits_itself_and_its_choice_can_be_made_again(report: Report) -> None:
    assert list(check(report)) == []
    assert report.auto is not None
    assert (report.auto.chosen.name, report.auto.chosen_look.epoch) == ("uar-long", 8)
    assert not_measured(report.auto) == ["par (not needed)", "supervised (needs labelled images to train on)"]
    assert [line.is_chosen for line in lines(report)] == [False] * 3 + [True]


def test_a_row_has_the_worst_of_what_no_order_named(report: Report) -> None:
    assert report.auto is not None
    shown = shown_ladder(report.auto)
    assert [len(one.surrogates) <= 1 and len(one.patterns) <= 1 for one in shown.all_figures()] == [True] * 4
    out = ResultOut.of({"verdict": asdict(report.verdict), "auto": to_json(shown)})
    assert out is not None
    assert out.auto == shown


def test_the_statement_holds_every_digit_of_the_section(report: Report) -> None:
    assert report.auto is not None
    kept = json.loads(KEPT.read_bytes())["auto"]
    assert section_sha256(to_json(report.auto)) == section_sha256(kept)
    kept["rungs"][0]["looks"][0]["seconds"] += 1
    assert section_sha256(to_json(report.auto)) != section_sha256(kept)
    assert section_sha256(None) is None


def test_an_honest_ladder_of_a_child_is_believed_and_holds(tmp_path: Path) -> None:
    staged, outputs = left_by_a_child(tmp_path, kind="ladder")
    believed(tmp_path, staged, outputs)
    found = verify(tmp_path / "package")
    assert [str(one) for one in found.findings] == []
    assert found.statement is not None
    assert found.statement.predicate.claimed.auto is not None


@pytest.mark.parametrize("lie", LADDER_LIES)
def test_a_child_that_lies_of_its_ladder_is_not_believed(lie: str, tmp_path: Path) -> None:
    staged, outputs = left_by_a_child(tmp_path, kind="ladder")
    edit_json(outputs / "report.json", LADDER_LIES[lie])
    assert staged.known is not None
    staged = replace(staged, known=replace(staged.known, class_names=tuple(CLASSES)))
    with pytest.raises(AttemptFailed) as refused:
        believed(tmp_path, staged, outputs)
    assert refused.value.code == "outputs_not_believed"
