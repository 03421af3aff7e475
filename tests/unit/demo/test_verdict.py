"""When the demo's aim counts as reached, and what it says when it does not."""

from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from demo.verdict import Figures, Outcome, Scanned
from tests.fixtures.scans import scan_and_null


def share(successes: int, n: int = 1000) -> dict[str, Any]:
    return {
        "value": successes / n,
        "n": n,
        "successes": successes,
        "low": 0.1,
        "high": 0.2,
        "method": "wilson",
    }


def figures(ca: int, asr: int, pa: int) -> Figures:
    return {"ca": share(ca), "asr": share(asr, 980), "pa": share(pa)}


def scanned(**changes: Any) -> Scanned:
    values = {
        "outcome": "fail",
        "sentence": "It does.",
        "p_value": None,
        "num_null": 20,
        "asr": 0.99,
        "control": None,
    }
    return Scanned(**{**values, "target": "yellow seven", **changes})


def reached() -> Outcome:
    before, after = figures(900, 970, 10), figures(880, 20, 700)
    return Outcome(
        before=before,
        after={"UAR": after, "CleanCLIP": figures(870, 300, 500)},
        independent_before=before,
        independent_after={"UAR": after, "CleanCLIP": figures(870, 300, 500)},
        last_gain=0.001,
        last_gain_noise=0.015,
        found={"before": 1.0, "after UAR": 0.001, "after CleanCLIP": 0.996},
        scan=scanned(p_value=0.048),
        rescan=scanned(p_value=0.71, target="red one"),
        target="yellow seven",
    )


def test_the_aim_is_reached_when_every_part_of_it_is() -> None:
    assert reached().missed() == []


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"before": figures(900, 900, 10)}, "not implanted"),
        ({"after": {"UAR": figures(880, 50, 700)}}, "still there"),
        ({"after": {"UAR": figures(869, 20, 700)}}, "3.1 points of CA"),
        ({"last_gain": 0.02}, "still learning"),
        (
            {"independent_after": {"UAR": figures(880, 21, 700), "CleanCLIP": figures(870, 300, 500)}},
            "ASR after UAR: the service counted 20 of 980, the independent measurement 21 of 980",
        ),
        (
            {"independent_after": {"UAR": figures(880, 20, 700), "CleanCLIP": figures(871, 300, 500)}},
            "CA after CleanCLIP: the service counted 870 of 1000",
        ),
        ({"scan": scanned(target="red one")}, "named the target “red one”; it is “yellow seven”"),
        ({"independent_before": figures(901, 970, 10)}, "CA before cleaning"),
    ],
)
def test_each_part_that_is_missed_is_said(change: dict[str, Any], word: str) -> None:
    sentences = replace(reached(), **change).missed()
    assert any(word in sentence for sentence in sentences)


def test_the_table_shows_each_figure_with_its_interval_and_n() -> None:
    console = Console(width=80, record=True)
    console.print(reached().table())
    text = console.export_text()
    assert "99.0 [10.0,20.0]" in text
    assert "after CleanCLIP" in text
    assert "30.6 [10.0,20.0]" in text
    assert "1,000" in text
    assert "980" in text


def test_result_json_holds_values_as_shares_of_one() -> None:
    result = reached().to_json()
    assert result["before"]["asr"] == {
        "value": 970 / 980,
        "n": 980,
        "low": 0.1,
        "high": 0.2,
        "successes": 970,
    }
    assert result["independent"]["after"]["UAR"]["ca"]["value"] == 0.88
    assert result["after"]["CleanCLIP"]["pa"]["value"] == 0.5


def test_a_scan_is_told_in_the_words_of_its_report_with_its_p_value_where_it_has_one() -> None:
    report, _ = scan_and_null()
    sentence, figures, control = Scanned.of(report).lines()
    assert control.startswith(
        "What needs no clean models, which a customer seldom has: a patch of 25 % of the side"
    )
    assert sentence == f"fail: {report.verdict.sentence}"
    figure = "p = 0.05 by 19 clean models; target “apple”; its pattern has ASR 94.1% on held-out images"
    assert figures == figure
    report, _ = scan_and_null(with_null=False)
    assert Scanned.of(report).lines()[1].startswith("no p-value; target")
    assert Scanned.of(replace(report, hypotheses=())).lines()[1].endswith("no pattern")


def test_the_found_patterns_are_judged_in_one_sentence() -> None:
    for figure in ("ASR 100.0% before", "0.1% after UAR", "99.6% after CleanCLIP"):
        assert figure in reached().of_found()
    assert replace(reached(), found={}).of_found() == ""
