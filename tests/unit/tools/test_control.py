"""What pages say of our models is what the zoo's rows say."""

from __future__ import annotations

import re

from cleanclip.spec.control import CONTROL_LIMIT, ON_OUR_MODELS
from tools.reference.control import WORKS, Led, models


def _percent(one: Led) -> int:
    return round(100 * one.share)


def test_the_sentence_on_our_models_counts_the_rows() -> None:
    clean = sorted(_percent(one) for one in models() if one.asr == 0)
    works = sorted(_percent(one) for one in models() if one.asr >= WORKS)
    most = [share for share in works if share >= 94]
    least = [share for share in works if share < 94]
    told = [
        *(len(clean), clean[0], clean[-2], len(clean) - 1, clean[-1]),
        *(len(works), round(100 * WORKS), most[0], most[-1], len(most), least[0], least[-1], len(least)),
    ]
    assert [int(number) for number in re.findall(r"\d+", ON_OUR_MODELS)] == told


def test_the_limit_is_that_of_the_models_it_was_chosen_on() -> None:
    """Of 60 calibration models one is over it, at 90 % none would be. All development models are whose
    backdoor works in half the images."""
    over = [one for one in models() if one.split == "calibration" and one.low > CONTROL_LIMIT]
    assert (len(over), sum(one.split == "calibration" for one in models())) == (1, 60)
    working = [one for one in models() if one.split == "development" and one.asr >= 0.5]
    assert len(working) == 23
    assert all(one.low > CONTROL_LIMIT for one in working)
    assert not [one for one in models() if one.split == "calibration" and one.low > 0.9]
