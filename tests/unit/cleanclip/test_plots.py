"""The plots of a report: where marks stand, what is left out, and that the sheet knows each class."""

import copy
import re
from dataclasses import replace

import pytest

from cleanclip.face.html import SHEET
from cleanclip.face.plots import live_loss, loss, rates, rebound
from cleanclip.vocabulary.report import Report
from tests.fixtures.html_page import Page
from tests.fixtures.kept_reports import document, stored


def kept(name: str) -> Report:
    return stored(copy.deepcopy(document(name)))


def test_a_rate_stands_at_its_share_of_the_width_and_its_interval_beside_it() -> None:
    report = kept("cleaned")
    groups = [one for one in Page(rates(report)).all("g") if one.attributes["class"] == "after"]
    assert report.after is not None
    for group, attack in zip(groups, report.after.attacks, strict=True):
        whisker, (point,) = group.all("line")[0].attributes, group.all("circle")
        ends = float(whisker["x1"]), float(point.attributes["cx"]), float(whisker["x2"])
        asr = attack.asr
        assert ends == pytest.approx([10 + 396 * share for share in (asr.low, asr.value, asr.high)], abs=0.01)


def test_a_limit_of_each_trigger_is_said_where_they_differ() -> None:
    report = kept("cleaned")
    assert "limit 5 %" in rates(report)
    other = replace(report.policy, asr_at_most_for={"badnet": 0.2})
    assert "limit of each" in rates(replace(report, policy=other))


def test_the_rebound_shows_every_curve_and_whiskers_on_the_highest() -> None:
    report = kept("rebound")
    assert report.rebound is not None
    page = Page(rebound(report))
    lines = [one.attributes["class"] for one in page.all("polyline")]
    num_attacks = len(report.before.attacks)
    assert len([one for one in lines if "other" in one]) == (len(report.rebound.curves) - 1) * num_attacks
    whiskers = [one for one in page.all("line") if one.attributes["class"].startswith("curve")]
    points = report.rebound.curves[report.rebound.highest[0].curve].points
    assert len(whiskers) == len(points) * num_attacks
    assert "without a trigger" in page.all("figcaption")[0].text
    assert rebound(kept("cleaned")) == ""


@pytest.mark.parametrize("points", [[], [(1, 2.0)], [(1, float("nan")), (2, 1.0)], [(1, 1e300), (2, 1.0)]])
def test_no_two_numbers_make_no_plot(points: list[tuple[float, float]]) -> None:
    assert live_loss(points, 10) == ""


def test_nothing_is_drawn_outside_of_the_frame() -> None:
    (line,) = Page(live_loss([(0, 5.0), (50, -3.0), (400, 2.0)], 100)).all("polyline")
    places = [tuple(map(float, one.split(","))) for one in line.attributes["points"].split()]
    assert all(46 <= x <= 406 and 10 <= y <= 160 for x, y in places)


def test_names_are_visible_and_escaped() -> None:
    report = kept("cleaned")
    name = '</svg><script>alert("\u202e")</script>'
    strange = replace(report.before.attacks[0], name=name)
    drawn = rates(replace(report, before=replace(report.before, attacks=(strange,)), after=None))
    assert "<script" not in drawn
    assert "&lt;script&gt;" in drawn
    assert "[U+202E]" in drawn


def test_the_sheet_gives_each_class_its_looks() -> None:
    reports = [kept(name) for name in ("audit", "cleaned", "par", "rebound")]
    drawn = [rates(one) + rebound(one) + loss(one.training.curve if one.training else ()) for one in reports]
    classes = {name for names in re.findall(r'class="([^"]+)"', "".join(drawn)) for name in names.split()}
    css = SHEET.read_text()
    assert len(classes) > 10
    assert {name for name in classes - {"whole"} if f".{name}" not in css} == set(), "whole is the plain one"
