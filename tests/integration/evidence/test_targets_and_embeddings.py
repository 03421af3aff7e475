"""Targets of attacks, their ranks, drift and the linear probe: what was changed or left out is named."""

import json
from pathlib import Path
from typing import Any

import pytest

from cleanclip.evidence.verification import verify
from cleanclip.vocabulary.recipe import to_json
from sanitizer.audits.statistics import wilson
from tests.fixtures.evidence import packed
from tests.integration.evidence.test_classes_and_places import Change, forged


def target_changed(report: Any) -> None:
    for audit in (report["before"], report["after"]):
        audit["attacks"][3]["target"] = "date"
        audit["further_targets"][0]["target"] = "date"


def target_given_to_another(report: Any) -> None:
    report["before"]["attacks"][0]["target"] = "fig"


def floor_dropped(report: Any) -> None:
    report["before"]["further_targets"].clear()


def floor_doubled(report: Any) -> None:
    report["after"]["further_targets"] *= 2


def rank_put(**parts: int) -> Change:
    """In the rank of the first trigger after cleaning: most images have the target in the last place."""
    return lambda report: report["after"]["attacks"][0]["target_rank"].update(parts)


def drift_put(of: str, **parts: float) -> Change:
    """What was measured of it, without what followed."""

    def change(report: Any) -> None:
        reported = report["drift"][of]
        report["drift"][of] = {name: reported[name] for name in ("mean", "n", "std")} | parts

    return change


def drift_forgotten(report: Any) -> None:
    report["drift"] = None


def probe_put(of: str, **parts: Any) -> Change:
    """In the probe before cleaning, or `of` the first trigger, with an interval that fits its counts."""

    def change(report: Any) -> None:
        reported = report["before"]["attacks"][0]["linear_probe"] if of else report["before"]["linear_probe"]
        reported.update({of: to_json(wilson(*parts["counts"]))} if of else parts)

    return change


def accuracy_put(successes: int) -> Change:
    return probe_put("", accuracy=to_json(wilson(successes, 300)))


def probe_forgotten(report: Any) -> None:
    report["after"]["linear_probe"] = None


def probe_of_a_trigger_forgotten(report: Any) -> None:
    report["after"]["attacks"][1]["linear_probe"] = None


def probe_forgotten_everywhere(report: Any) -> None:
    for audit in (report["before"], report["after"]):
        for reported in (audit, *audit["attacks"]):
            reported["linear_probe"] = None


@pytest.mark.parametrize(
    ("change", "where", "words"),
    [
        (target_changed, "before.attacks[3].target", "not the one that was ordered"),
        (target_given_to_another, "before.attacks[0].target", "not the one that was ordered"),
        (target_given_to_another, "before.attacks[0].asr.n", "is 200, not 250"),
        (floor_dropped, "before.further_targets", "not those of its attacks"),
        (floor_dropped, "before.attacks[3].asr.n", "is 250, not 200"),
        (floor_doubled, "after.further_targets", "not those of its attacks"),
        (rank_put(n=199), "after.attacks[0].target_rank.n", "is 199, not 200"),
        (rank_put(median=5), "after.attacks[0].target_rank.median", "is 5, which the counts"),
        (rank_put(low=3), "after.attacks[0].target_rank.low", "is 3, which the counts"),
        (rank_put(high=7), "after.attacks[0].target_rank.high", "is 7, which the counts"),
        (rank_put(first_quartile=2), "after.attacks[0].target_rank.first_quartile", "is 2, which the counts"),
        (rank_put(third_quartile=1), "after.attacks[0].target_rank", "outside of the quartiles"),
        (rank_put(low=6, high=5), "after.attacks[0].target_rank", "outside of the interval"),
        (rank_put(first_quartile=5), "after", "not what statement.json says"),
        (drift_put("images", n=299), "drift.images.n", "is 299, not 300"),
        (drift_put("classes", n=5), "drift.classes.n", "is 5, not 6"),
        (drift_put("classes", mean=0.02), "drift", "not what statement.json says"),
        (drift_forgotten, "drift", "not what statement.json says"),
        (probe_put("", num_iterations=30), "before", "not what statement.json says"),
        (probe_put("", num_iterations=1001), "before.linear_probe.num_iterations", "is over 1000"),
        (probe_put("", is_converged=False), "before", "not what statement.json says"),
        (accuracy_put(298), "before.attacks[0].linear_probe.untriggered_target_rate.successes", "accuracy"),
        (probe_put("asr", counts=(90, 199)), "before.attacks[0].linear_probe.asr.n", "is 199, not 200"),
        (probe_put("pa", counts=(250, 300)), "before.attacks[0].linear_probe.pa.successes", "successes"),
        (
            probe_put("untriggered_target_rate", counts=(4, 200)),
            "before.attacks[1].linear_probe.untriggered_target_rate",
            "is another than before",
        ),
        (probe_forgotten, "after.linear_probe", "exactly where one was ordered"),
        (probe_of_a_trigger_forgotten, "after.attacks[1].linear_probe", "exactly where that without"),
        (probe_forgotten_everywhere, "before.linear_probe", "exactly where one was ordered"),
    ],
)
def test_what_was_changed_or_left_out_is_named(
    unsigned: Path, change: Change, where: str, words: str
) -> None:
    found = forged(unsigned, change).findings
    assert any(one.where == where and words in one.message for one in found), [str(one) for one in found]


def test_an_audit_has_neither_drift_nor_a_probe_that_was_not_ordered(unsigned: Path, tmp_path: Path) -> None:
    audit = packed(tmp_path / "audit", kind="audit")
    assert verify(audit).holds
    reported = json.loads((unsigned / "report.json").read_bytes())

    def change(report: Any) -> None:
        report["drift"] = reported["drift"]
        report["before"]["linear_probe"] = reported["before"]["linear_probe"]

    assert {"drift", "before.linear_probe"} <= {one.where for one in forged(audit, change).findings}
