"""What a report tells beside its shares, the classes that lost and the places of the target, is held too."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from client.evidence.verification import Verification, verify
from tests.fixtures.evidence import edit_json, packed, sum_again

Change = Callable[[Any], None]


def forged(folder: Path, change: Change) -> Verification:
    edit_json(folder / "report.json", change)
    sum_again(folder)
    return verify(folder)


def places(report: Any) -> list[Any]:
    """Every list of the target's places: before and after, without a trigger and with each."""
    audits = [report["before"], *([report["after"]] if report["after"] else [])]
    floors = [
        told["untriggered_target_top_k"] for audit in audits for told in (audit, *audit["further_targets"])
    ]
    return floors + [attack["asr_top_k"] for audit in audits for attack in audit["attacks"]]


def dropped(index: int) -> Change:
    return lambda report: report["classes_lost"].pop(index)


def renamed(report: Any) -> None:
    report["classes_lost"][0]["class_name"] = "banana"


def names_swapped(report: Any) -> None:
    one, other = report["classes_lost"]
    one["class_name"], other["class_name"] = other["class_name"], one["class_name"]


def told_twice(report: Any) -> None:
    report["classes_lost"].insert(0, copy.deepcopy(report["classes_lost"][0]))


def none_told(report: Any) -> None:
    report["classes_lost"] = []


def not_told_of(report: Any) -> None:
    del report["classes_lost"]


def one_that_gained(report: Any) -> None:
    gainer = copy.deepcopy(report["classes_lost"][1])
    gainer["class_name"] = "fig"
    gainer["lost"] |= {"lost": 0, "gained": 0, "value": 0.0}
    report["classes_lost"].append(gainer)


def too_many(report: Any) -> None:
    report["classes_lost"] += [report["classes_lost"][1]] * 9


def last_place_dropped_after(report: Any) -> None:
    for told in (report["after"]["untriggered_target_top_k"], report["after"]["attacks"][0]["asr_top_k"]):
        told.pop()


def last_place_dropped_of_one_trigger(report: Any) -> None:
    report["before"]["attacks"][0]["asr_top_k"].pop()


def last_place_dropped_everywhere(report: Any) -> None:
    for told in places(report):
        told.pop()


def places_emptied_everywhere(report: Any) -> None:
    for told in places(report):
        told.clear()


def target_changed(report: Any) -> None:
    for audit in (report["before"], report["after"]):
        audit["attacks"][3]["target"] = "date"
        audit["further_targets"][0]["target"] = "date"


def target_of_its_own_forgotten(report: Any) -> None:
    del report["after"]["attacks"][3]["target"]


def target_given_to_another(report: Any) -> None:
    report["before"]["attacks"][0]["target"] = "fig"


def floor_dropped(report: Any) -> None:
    report["before"]["further_targets"].clear()


def floor_doubled(report: Any) -> None:
    report["after"]["further_targets"] *= 2


def rank_put(**parts: int) -> Change:
    """In the rank of the first trigger after cleaning: most images have the target in the last place."""
    return lambda report: report["after"]["attacks"][0]["target_rank"].update(parts)


def rank_forgotten(report: Any) -> None:
    report["after"]["attacks"][0]["target_rank"] = None


def ranks_forgotten(report: Any) -> None:
    for floors in (report["before"], *report["before"]["further_targets"]):
        floors["untriggered_target_rank"] = None
    for attack in report["before"]["attacks"]:
        attack["target_rank"] = None


def drift_put(of: str, **parts: float) -> Change:
    return lambda report: report["drift"][of].update(parts)


def drift_forgotten(report: Any) -> None:
    report["drift"] = None


def last_place_raised_to(k: int) -> Change:
    def change(report: Any) -> None:
        for told in places(report):
            told[-1]["k"] = k

    return change


@pytest.mark.parametrize(
    ("change", "where", "words"),
    [
        (dropped(0), "classes_lost", "leaves out classes: 1 more"),
        (dropped(1), "classes_lost", "leaves out classes: 1 more"),
        (dropped(0), "classes_lost", "is not what statement.json says"),
        (renamed, "classes_lost", "is not what statement.json says"),
        (names_swapped, "classes_lost", "is not what statement.json says"),
        (told_twice, "classes_lost", "is not what statement.json says"),
        (none_told, "classes_lost", "leaves out classes: 2 more"),
        (not_told_of, "classes_lost", "is missing"),
        (one_that_gained, "classes_lost[2].lost", "is no loss"),
        (too_many, "classes_lost", "are 11, more than 10"),
        (too_many, "classes_lost", "are more than there are classes"),
        (too_many, "classes_lost", "makes a larger n than all"),
        (last_place_dropped_after, "after.untriggered_target_top_k", "not that of the rest"),
        (last_place_dropped_of_one_trigger, "before.attacks[0].asr_top_k", "not that of the rest"),
        (last_place_dropped_everywhere, "before.untriggered_target_top_k", "not what statement.json says"),
        (places_emptied_everywhere, "before.untriggered_target_top_k", "not what statement.json says"),
        (target_changed, "before.attacks[3].target", "not the one that was ordered"),
        (target_of_its_own_forgotten, "after.attacks[3].target", "not the one that was ordered"),
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
        (rank_put(first_quartile=5), "after.untriggered_target_rank", "not what statement.json says"),
        (rank_forgotten, "after.untriggered_target_rank", "is missing, or that of an attack is"),
        (ranks_forgotten, "before.untriggered_target_rank", "not what statement.json says"),
        (drift_put("images", n=299), "drift.images.n", "is 299, not 300"),
        (drift_put("classes", n=5), "drift.classes.n", "is 5, not 6"),
        (drift_put("images", low=0.29), "drift.images.low", "is 0.29, not 0.2907"),
        (drift_put("images", std=0.07), "drift.images.high", "not 0.307953"),
        (drift_put("images", std=0.9), "drift.images.std", "is 0.9, out of 0 to 0.71"),
        (drift_put("images", mean=2.1), "drift.images.mean", "is 2.1, out of 0 to 2"),
        (drift_put("classes", mean=0.2, low=0.2, high=0.2), "drift", "not what statement.json says"),
        (drift_forgotten, "drift", "not what statement.json says"),
        (last_place_raised_to(6), "before.untriggered_target_top_k", "goes up to 6, of 6 classes"),
        (last_place_raised_to(2000), "after.untriggered_target_top_k", "goes up to 2000, of 6 classes"),
    ],
)
def test_what_was_left_out_renamed_or_added_is_named(
    unsigned: Path, change: Change, where: str, words: str
) -> None:
    found = forged(unsigned, change).findings
    assert any(one.where == where and words in one.message for one in found), [str(one) for one in found]


def test_an_audit_tells_of_no_class_that_lost(unsigned: Path, tmp_path: Path) -> None:
    told = json.loads((unsigned / "report.json").read_bytes())["classes_lost"]
    audit = packed(tmp_path / "audit", kind="audit")
    assert verify(audit).holds
    found = forged(audit, lambda report: report.update(classes_lost=told)).findings
    assert "report.json: classes_lost belongs to an audit after cleaning" in [str(one) for one in found]


def test_a_folder_from_before_either_was_measured_holds(unsigned: Path) -> None:
    def as_it_was(report: Any) -> None:
        del report["classes_lost"], report["drift"]
        for audit in (report["before"], report["after"]):
            for floors in (audit, *audit["further_targets"]):
                del floors["untriggered_target_top_k"], floors["untriggered_target_rank"]
            for attack in audit["attacks"]:
                del attack["asr_top_k"], attack["target_rank"]

    def unstated(statement: Any) -> None:
        told = statement["predicate"]["told_by_the_process"]
        assert told.pop("classes_lost") == ["apple", "cherry"]
        assert told.pop("target_top_k") == [2, 3, 5]
        assert len(told.pop("target_ranks")["before"]) == 6
        assert told.pop("drift")["classes"] == [0.125, 0]

    assert not forged(unsigned, as_it_was).holds, "a statement that tells of them holds them"
    edit_json(unsigned / "statement.json", unstated)
    sum_again(unsigned)
    assert [str(one) for one in verify(unsigned).findings] == []
