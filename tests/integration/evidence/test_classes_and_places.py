"""What a report tells beside its shares, the classes that lost and the places of the target, is held too."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cleanclip.evidence.verification import Verification, verify
from cleanclip.vocabulary.recipe import to_json
from sanitizer.audits.statistics import wilson
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
        reported["untriggered_target_top_k"]
        for audit in audits
        for reported in (audit, *audit["further_targets"])
    ]
    return floors + [attack["asr_top_k"] for audit in audits for attack in audit["attacks"]]


def dropped(index: int) -> Change:
    return lambda report: report["classes_lost"].pop(index)


def renamed(report: Any) -> None:
    report["classes_lost"][0]["class_name"] = "banana"


def class_renamed(report: Any) -> None:
    for audit in (report["before"], report["after"]):
        audit["ca_per_class"][3]["class_name"] = "dill"


def class_left_out(report: Any) -> None:
    report["after"]["ca_per_class"].pop(3)


def class_without_images(report: Any) -> None:
    accuracy = to_json(wilson(0, 0))
    report["before"]["ca_per_class"].append({"class_name": "grape", "accuracy": accuracy})


def one_class_lends_another_a_right_answer(report: Any) -> None:
    classes = report["after"]["ca_per_class"]
    for place, num in ((3, 24), (4, 25)):
        n = classes[place]["accuracy"]["n"]
        classes[place]["accuracy"] = to_json(wilson(num, n))


def one_class_lends_another_an_image(report: Any) -> None:
    for audit in (report["before"], report["after"]):
        for place, n in ((1, 99), (3, 31)):
            reported = audit["ca_per_class"][place]
            reported["accuracy"] = to_json(wilson(reported["accuracy"]["successes"], n))


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
    gainer["after"] = gainer["before"]
    both = gainer["before"]["successes"]
    gainer["lost"] = {"n": gainer["lost"]["n"], "both": both, "lost": 0, "gained": 0}
    report["classes_lost"].append(gainer)


def too_many(report: Any) -> None:
    report["classes_lost"] += [report["classes_lost"][1]] * 9


def change_of_another_name(report: Any) -> None:
    report["attack_changes"][0]["attack"] = "wanet"


def changes_dropped(report: Any) -> None:
    report["attack_changes"] = []


def attack_dropped_before(report: Any) -> None:
    report["before"]["attacks"] = []


def asr_lost_more_pairs(report: Any) -> None:
    """As many more each way: the loss is the same, the shares are others."""
    reported = report["attack_changes"][0]["asr_lost"]
    counts = {name: reported[name] for name in ("n", "both", "lost", "gained")}
    counts |= {"lost": reported["lost"] + 1, "gained": reported["gained"] + 1}
    report["attack_changes"][0]["asr_lost"] = counts


def last_place_dropped_after(report: Any) -> None:
    for reported in (report["after"]["untriggered_target_top_k"], report["after"]["attacks"][0]["asr_top_k"]):
        reported.pop()


def last_place_dropped_of_one_trigger(report: Any) -> None:
    report["before"]["attacks"][0]["asr_top_k"].pop()


def last_place_dropped_everywhere(report: Any) -> None:
    for reported in places(report):
        reported.pop()


def places_emptied_everywhere(report: Any) -> None:
    for reported in places(report):
        reported.clear()


def last_place_raised_to(k: int) -> Change:
    def change(report: Any) -> None:
        for reported in places(report):
            reported[-1]["k"] = k

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
        (not_told_of, "classes_lost", "leaves out classes: 2 more"),
        (one_that_gained, "classes_lost[2].lost", "is not a loss"),
        (too_many, "classes_lost", "are 11, more than 10"),
        (too_many, "classes_lost", "are more than there are classes"),
        (too_many, "classes_lost", "makes a larger n than all"),
        (class_renamed, "before", "not what statement.json says"),
        (class_left_out, "after.ca_per_class", "make n 270 together, and ca has 300"),
        (class_left_out, "after.ca_per_class", "not of the same classes"),
        (class_without_images, "before.ca_per_class[6].accuracy.n", "is 0"),
        (one_class_lends_another_a_right_answer, "classes_lost", "not those that lost the most"),
        (one_class_lends_another_an_image, "before.ca_per_class", "has 99 images for a target"),
        (change_of_another_name, "attack_changes", "are not of the attacks"),
        (changes_dropped, "attack_changes", "are not of the attacks"),
        (attack_dropped_before, None, "before and after are not of the same triggers"),
        (asr_lost_more_pairs, "attack_changes[0].asr_lost", "does not lead from the counts"),
        (last_place_dropped_after, "after.untriggered_target_top_k", "not that of the rest"),
        (last_place_dropped_of_one_trigger, "before.attacks[0].asr_top_k", "not that of the rest"),
        (last_place_dropped_everywhere, "before", "not what statement.json says"),
        (places_emptied_everywhere, "before", "not what statement.json says"),
        (last_place_raised_to(6), "before.untriggered_target_top_k", "goes up to 6, of 6 classes"),
        (last_place_raised_to(2000), "after.untriggered_target_top_k", "goes up to 2000, of 6 classes"),
    ],
)
def test_what_was_left_out_renamed_or_added_is_named(
    unsigned: Path, change: Change, where: str | None, words: str
) -> None:
    found = forged(unsigned, change).findings
    assert any(one.where == where and words in one.message for one in found), [str(one) for one in found]


def test_an_audit_tells_of_no_class_that_lost(unsigned: Path, tmp_path: Path) -> None:
    reported = json.loads((unsigned / "report.json").read_bytes())["classes_lost"]
    audit = packed(tmp_path / "audit", kind="audit")
    assert verify(audit).holds
    changes = [{"attack": "badnet", "asr_lost": reported[0]["lost"], "pa_lost": reported[0]["lost"]}]
    found = forged(
        audit, lambda report: report.update(classes_lost=reported, attack_changes=changes)
    ).findings
    assert {"attack_changes", "classes_lost"} <= {one.where for one in found}
