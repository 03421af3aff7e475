"""Which classes lost, against a loop."""

from __future__ import annotations

from collections import Counter

import torch
from hypothesis import given
from hypothesis import strategies as st

from sanitizer.audits.accuracy import classes_lost
from sanitizer.report import MOST_CLASSES_TOLD

NAMES = tuple(f"class {label}" for label in range(15))


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 14)), min_size=1, max_size=200))
def test_the_classes_that_lost_are_told_worst_first(images: list[tuple[bool, bool, int]]) -> None:
    before, after, label = (torch.tensor(column) for column in zip(*images, strict=True))
    told = classes_lost(before, after, label, NAMES)
    total = Counter(label for _, _, label in images)
    lost = Counter(label for was, now, label in images if was and not now)
    gained = Counter(label for was, now, label in images if now and not was)
    shares = {label: (lost[label] - gained[label]) / total[label] for label in total}
    expected = sorted((label for label in total if shares[label] > 0), key=lambda one: (-shares[one], one))
    assert [change.class_name for change in told] == [NAMES[one] for one in expected[:MOST_CLASSES_TOLD]]
    for change, one in zip(told, expected, strict=False):
        assert (change.lost.n, change.lost.lost, change.lost.gained) == (total[one], lost[one], gained[one])
        assert change.before.n == change.after.n == total[one]
        assert change.before.successes == sum(was for was, _, its in images if its == one)
        assert change.after.successes == sum(now for _, now, its in images if its == one)
