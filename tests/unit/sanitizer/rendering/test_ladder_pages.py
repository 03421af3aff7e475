"""A ladder on its pages: report.html, report.md and the job's page say the same of every rung."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from types import SimpleNamespace

import pytest

from app.web.jobs.job_result import result_of
from app.web.kit.rendering import environment
from cleanclip.spec.ladder_lines import lines, not_measured
from cleanclip.spec.report import Report
from sanitizer.rendering.html import render_html
from sanitizer.rendering.markdown import render_markdown
from sanitizer.rendering.plots import front
from tests.fixtures import kept_reports


@pytest.fixture(scope="module")
def report() -> Report:
    return kept_reports.read(kept_reports.document("auto"))


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


def test_a_rung_that_the_budget_cut_and_one_that_it_kept_from_beginning_are_told_apart(
    report: Report,
) -> None:
    assert report.auto is not None
    first, second, *_ = report.auto.rungs
    cut = replace(second, name="par", looks=(), end="budget", seconds=12.5)
    not_begun = replace(cut, name="supervised", seconds=0.0)
    looked_at = replace(second, looks=second.looks[:1], end="budget")
    auto = replace(report.auto, rungs=(first, looked_at, cut, not_begun), left_out=())
    changed = replace(report, auto=auto)
    assert not_measured(auto) == [
        "par (the budget ended in it, before its first look)",
        "supervised (not begun: the budget was over)",
    ]
    assert [line.title for line in lines(changed)][-1].endswith("; the budget ended in it")
    for page in drawn(changed).values():
        assert "par (the budget ended in it, before its first look)" in page
        assert "supervised (not begun: the budget was over)" in page
