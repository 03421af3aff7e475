"""What a finding says of a figure that does not fit its counts: which number differs, with enough digits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cleanclip.evidence.counted import estimate
from cleanclip.spec.intervals import wilson
from cleanclip.spec.measures import Estimate

_, LOW, HIGH = wilson(90, 100)
SHARE = Estimate(value=0.9, n=100, successes=90, low=LOW, high=HIGH)


def test_a_figure_that_fits_its_counts_is_not_a_finding() -> None:
    assert list(estimate("asr", SHARE, 100)) == []


@pytest.mark.parametrize(
    ("told", "where", "message"),
    [
        (
            replace(SHARE, low=round(LOW, 7), high=round(HIGH, 7)),
            "asr",
            f"does not fit itself: successes 90 of n 100 give low {LOW!r}, not {round(LOW, 7)!r}",
        ),
        (
            replace(SHARE, value=0.95, low=0.9),
            "asr",
            "does not fit itself: successes 90 of n 100 give value 0.9, not 0.95",
        ),
        (
            replace(SHARE, high=round(HIGH, 7)),
            "asr.high",
            f"is {round(HIGH, 7)!r}, but successes 90 of n 100 give {HIGH!r}",
        ),
    ],
)
def test_the_number_that_differs_is_named(told: Estimate, where: str, message: str) -> None:
    (finding,) = estimate("asr", told, 100)
    assert (finding.where, finding.message) == (where, message)
