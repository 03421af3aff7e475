"""Accuracy by class and which classes lost, against loops."""

from collections import Counter

import torch
from hypothesis import given
from hypothesis import strategies as st

from cleanclip.vocabulary.audit_figures import MOST_CLASSES_LISTED, MOST_CLASSES_REPORTED
from sanitizer.audits.accuracy import classes_lost, per_class

NAMES = tuple(f"class {label}" for label in range(15))


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 14)), min_size=1, max_size=200))
def test_the_classes_that_lost_are_told_worst_first(images: list[tuple[bool, bool, int]]) -> None:
    before, after, label = (torch.tensor(column) for column in zip(*images, strict=True))
    reported = classes_lost(before, after, label, NAMES)
    total = Counter(label for _, _, label in images)
    lost = Counter(label for was, now, label in images if was and not now)
    gained = Counter(label for was, now, label in images if now and not was)
    shares = {label: (lost[label] - gained[label]) / total[label] for label in total}
    expected = sorted((label for label in total if shares[label] > 0), key=lambda one: (-shares[one], one))
    assert [change.class_name for change in reported] == [
        NAMES[one] for one in expected[:MOST_CLASSES_REPORTED]
    ]
    for change, one in zip(reported, expected, strict=False):
        assert (change.lost.n, change.lost.lost, change.lost.gained) == (total[one], lost[one], gained[one])
        assert change.before.n == change.after.n == total[one]
        assert change.before.successes == sum(was for was, _, its in images if its == one)
        assert change.after.successes == sum(now for _, now, its in images if its == one)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 14)), min_size=1, max_size=200))
def test_each_class_that_has_images_is_told_in_its_order(images: list[tuple[bool, int]]) -> None:
    correct, label = (torch.tensor(column) for column in zip(*images, strict=True))
    reported = per_class(correct, label, NAMES)
    assert [one.class_name for one in reported] == [
        NAMES[one] for one in sorted({label for _, label in images})
    ]
    for one in reported:
        answers = [right for right, label in images if NAMES[label] == one.class_name]
        assert (one.accuracy.successes, one.accuracy.n) == (sum(answers), len(answers))
        assert one.accuracy.low <= one.accuracy.value <= one.accuracy.high


def test_two_classes_of_one_name_stay_two() -> None:
    correct, label = torch.tensor([True, False, True]), torch.tensor([0, 1, 1])
    reported = per_class(correct, label, ("crane", "crane", "none"))
    assert [(one.class_name, one.accuracy.successes, one.accuracy.n) for one in reported] == [
        ("crane", 1, 1),
        ("crane", 1, 2),
    ]


def test_of_too_many_classes_none_is_told() -> None:
    names = [f"class {label}" for label in range(MOST_CLASSES_LISTED + 5)]
    label = torch.arange(MOST_CLASSES_LISTED)
    assert len(per_class(label >= 0, label, names)) == MOST_CLASSES_LISTED
    label = torch.arange(MOST_CLASSES_LISTED + 1)
    assert per_class(label >= 0, label, names) == ()
