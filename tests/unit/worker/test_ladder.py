"""A job's ladder: what its row shows, what the statement holds, and whether a real report fits itself."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from html import unescape
from pathlib import Path
from types import SimpleNamespace

import pytest

from app.schemas.jobs import ResultOut
from app.web.jobs.job_result import result_of
from app.web.kit.rendering import environment
from cleanclip.evidence.claims import section_sha256
from cleanclip.evidence.report import check
from cleanclip.evidence.verification import verify
from cleanclip.spec.ladder_lines import lines, not_measured
from cleanclip.spec.recipe import to_json
from cleanclip.spec.report import Report, load_json
from sanitizer.rendering.html import render_html
from sanitizer.rendering.markdown import render_markdown
from sanitizer.rendering.plots import front
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


def drawn(report: Report) -> dict[str, str]:
    """The pages of a report and the job's page, each in one line without tags and what Markdown escapes."""
    page = environment.get_template("job_result.html").render(shown=SimpleNamespace(result=result_of(report)))
    made = {"report.html": render_html(report), "report.md": render_markdown(report), "page": page}
    return {name: " ".join(unescape(re.sub(r"<[^>]*>|\\", "", one)).split()) for name, one in made.items()}


def test_every_page_names_the_worst_attack_and_pattern_with_class_and_images(report: Report) -> None:
    assert report.auto is not None
    *_, chosen = lines(report)
    assert chosen.asr is not None
    assert chosen.sent is not None
    assert chosen.attack_title == "badnet-stripes, to “yellow sandal”"
    assert chosen.sent_title.startswith("fresh pattern ")
    for page in drawn(report).values():
        for title, estimate in ((chosen.attack_title, chosen.asr), (chosen.sent_title, chosen.sent.moved)):
            assert title in page
            assert f"n = {estimate.n:,}" in page or f"n = {estimate.n}" in page
    assert '"uar-long": {' in drawn(report)["page"]


def sparing(report: Report, num_known: int) -> Report:
    """With attacks from that number on not judged."""
    parts = [replace(one, judged=number < num_known) for number, one in enumerate(report.verdict.attacks)]
    return replace(report, verdict=replace(report.verdict, attacks=tuple(parts)))


def test_found_triggers_that_are_not_judged_are_counted_and_not_drawn(report: Report) -> None:
    scanned = sparing(report, 0)
    first, *_ = lines(scanned)
    num_attacks = len(report.before.attacks)
    assert (first.asr, first.no_asr) == (None, "no attack is judged")
    assert first.not_judged.startswith(f"{num_attacks} found triggers are not judged; highest ASR 100.00 % (")
    for page in drawn(scanned).values():
        assert first.not_judged in page
        assert "no attack worked" not in page
    assert front(report) is not None
    assert front(scanned) is None
    partly = sparing(report, num_attacks - 1)
    assert [bool(line.asr) for line in lines(partly)] == [True] * 4
    assert all(line.not_judged.startswith("1 found trigger is not judged; ") for line in lines(partly))


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
