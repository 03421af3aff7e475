"""What a report tells of retrieval is held to data, order and statement, and after cleaning to before."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cleanclip.evidence.verification import Verification, verify
from tests.fixtures.evidence import edit_json, packed, sum_again

Change = Callable[[Any], None]


def forged(folder: Path, change: Change) -> Verification:
    edit_json(folder / "report.json", change)
    sum_again(folder)
    return verify(folder)


def both(change: Change) -> Change:
    """Before and after alike, so that neither tells on the other."""

    def changed(report: Any) -> None:
        for side in ("before", "after"):
            change(report[side]["retrieval"])

    return changed


def of_target(**values: Any) -> Change:
    return lambda retrieval: retrieval["targets"][0].update(values)


def of_first_attack(**values: Any) -> Change:
    return lambda retrieval: retrieval["attacks"][0].update(values)


def dropped_after(report: Any) -> None:
    del report["after"]["retrieval"]


def dropped_everywhere(report: Any) -> None:
    for audit in (report["before"], report["after"]):
        del audit["retrieval"]
    del report["retrieval_lost"]


def dropped_with_its_data(report: Any) -> None:
    dropped_everywhere(report)
    report["data"].pop()


def last_k_dropped(retrieval: Any) -> None:
    retrieval["image_to_text"].pop()


def fewer_captions_named(retrieval: Any) -> None:
    retrieval["targets"][0]["num_naming"] = 9


def not_lost(report: Any) -> None:
    del report["retrieval_lost"]


def lost_one_k_less(report: Any) -> None:
    report["retrieval_lost"]["text_to_image"].pop()


def fewer_pairs_ordered(report: Any) -> None:
    report["audit"]["max_retrieval_pairs"] = 100


@pytest.mark.parametrize(
    ("change", "where", "words"),
    [
        (dropped_after, "after.retrieval", "belongs to a retrieval set"),
        (dropped_everywhere, "before.retrieval", "belongs to a retrieval set"),
        (dropped_with_its_data, "before", "is not what statement.json says"),
        (dropped_with_its_data, "data", "is not what statement.json says"),
        (both(last_k_dropped), "after.retrieval.image_to_text", "is not that of the rest"),
        (lost_one_k_less, "retrieval_lost.text_to_image", "is not that of the rest"),
        (not_lost, "retrieval_lost", "is missing"),
        (fewer_pairs_ordered, "before.retrieval.num_pairs", "is 150, not 100"),
        (both(fewer_captions_named), "before", "is not what statement.json says"),
        (both(of_first_attack(target="apple")), "before.retrieval.attacks", "is not that of the rest"),
        (both(of_first_attack(attack="sig")), "before.retrieval.attacks", "is not that of the rest"),
        (both(of_target(target="apple")), "before.retrieval.targets", "is not that of the rest"),
        (both(of_first_attack(triggered=None)), "after.retrieval.attacks[0].triggered", "is there where"),
        (both(of_target(untriggered=None)), "after.retrieval.targets[0].untriggered", "is there where"),
        (both(of_target(num_naming=0)), "after.retrieval.attacks[0].triggered", "is there where"),
        (both(of_target(num_naming=121)), "before.retrieval.targets[0].num_naming", "of 120 captions"),
        (both(of_target(num_images=151)), "before.retrieval.targets[0].num_images", "of 150 images"),
        (both(of_target(k=6)), "before.retrieval.targets[0].k", "is 6, not 5"),
    ],
)
def test_what_was_left_out_or_changed_is_named(
    unsigned: Path, change: Change, where: str, words: str
) -> None:
    found = forged(unsigned, change).findings
    assert any(one.where == where and words in one.message for one in found), [str(one) for one in found]


def test_an_audit_alone_tells_of_no_loss(tmp_path: Path, unsigned: Path) -> None:
    audit = packed(tmp_path / "audit", kind="audit")
    assert verify(audit).holds
    nothing: dict[str, Any] = {"image_to_text": [], "text_to_image": []}
    found = forged(audit, lambda report: report.update(retrieval_lost=nothing)).findings
    assert {one.where for one in found} == {"retrieval_lost"}
