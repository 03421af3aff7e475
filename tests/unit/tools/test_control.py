"""What pages say of our models is what the zoo's rows say."""

import re

from cleanclip.vocabulary.control import CONTROL_LIMIT, ON_OUR_MODELS
from tools.reference.control import WORKS, Led, cleaned, each_cleaned, models


def _percent(one: Led) -> int:
    return round(100 * one.share)


def test_the_sentence_on_our_models_counts_the_rows() -> None:
    clean = sorted(_percent(one) for one in models() if one.asr == 0)
    works = sorted(_percent(one) for one in models() if one.asr >= WORKS)
    most = [share for share in works if share >= 94]
    least = [share for share in works if share < 94]
    reported = [
        *(len(clean), clean[0], clean[-2], len(clean) - 1, clean[-1]),
        *(len(works), round(100 * WORKS), most[0], most[-1], len(most), least[0], least[-1], len(least)),
    ]
    assert [int(number) for number in re.findall(r"\d+", ON_OUR_MODELS)] == reported


def test_the_limit_is_that_of_the_models_it_was_chosen_on() -> None:
    """Of 60 calibration models one is over it, at 90 % none would be. All development models are whose
    backdoor works in half the images."""
    over = [one for one in models() if one.split == "calibration" and one.low > CONTROL_LIMIT]
    assert (len(over), sum(one.split == "calibration" for one in models())) == (1, 60)
    working = [one for one in models() if one.split == "development" and one.asr >= 0.5]
    assert len(working) == 23
    assert all(one.low > CONTROL_LIMIT for one in working)
    assert not [one for one in models() if one.split == "calibration" and one.low > 0.9]


def _led(name: str, method: str, *, sent: int, asr: float) -> Led:
    family = "badnet" if name.startswith("development") else "clean"
    return Led(f"{name}+{method}" if method else name, "any", family, 0.6, asr, sent, 192, method)


def test_what_is_left_after_a_method_is_counted_by_what_the_model_was_before() -> None:
    """A cleaned model with an ASR of 0 is still a poisoned one that was cleaned."""
    found = [
        _led("development-fashion-vit-016", "", sent=192, asr=1.0),
        _led("development-fashion-vit-016", "uar", sent=19, asr=0.0),
        _led("test_clean-fashion-resnet-007", "", sent=96, asr=0.0),
    ]
    rows = [line.split(" | ") for line in cleaned(found).splitlines()[2:]]
    assert [row[:3] for row in rows] == [
        ["| never poisoned", "ResNet", "nothing"],
        ["| poisoned", "ViT", "nothing"],
        ["| poisoned", "ViT", "UAR"],
    ]
    assert rows[1][3] == "100 %"
    assert rows[1][-3] == "1 of 1 [2, 100]"
    assert rows[2][-3] == "0 of 1 [0, 98]"
    each = each_cleaned(found).splitlines()
    assert "| development-fashion-vit-016 (badnet) | **100 / 100 / 60** | 10 / 0 / 60 | – | – | – |" in each
