"""What a text scan's report derives from counts, against plain loops over the texts, in float64."""

from dataclasses import replace
from typing import Any

import pytest

from cleanclip.vocabulary.measures import Estimate
from cleanclip.vocabulary.text_scan_report import Led, LedByToken, TextScanReport
from sanitizer.seeding import generator
from tests.fixtures.text_scans import report
from tests.numerics.reference_statistics import wilson


def drawn(seed: int) -> TextScanReport:
    """Texts and predictions by lot; how many texts follow each word by lot too."""
    draws = generator(seed, "text scan report")
    num_texts, made = int(draws.integers(20, 160)), report()
    classes = (0, 1, *draws.integers(3, size=num_texts - 2).tolist())
    predictions = [one if draws.random() < 0.6 else int(draws.integers(3)) for one in classes]

    def led(highest: float) -> tuple[int, int]:
        towards = int(draws.integers(3))
        others = sum(one != towards for one in classes)
        return towards, int(others * draws.uniform(0, highest))

    def tokens(like: tuple[LedByToken, ...], highest: float) -> tuple[LedByToken, ...]:
        found = []
        for one in like:
            towards, num_led = led(highest)
            found.append(replace(one, towards=towards, num_led=num_led))
        others = [num_texts - classes.count(towards) for towards in range(3)]
        return tuple(sorted(found, key=lambda one: (-one.num_led / others[one.towards], one.token)))

    options = replace(made.options, trigger_words=("zebra crossing", "Seven", "a Dog", "hot dog"))
    triggers = tuple(Led(towards=towards, num_led=num) for towards, num in (led(1.0) for _ in range(4)))
    return replace(
        made,
        options=options,
        text_classes=classes,
        text_predictions=tuple(predictions),
        triggers=triggers,
        found=tokens(made.found, 0.6 if seed % 3 else 1.0),
        named=tokens(made.named, 1.0),
    )


def plain(successes: int, n: int) -> Any:
    low, high = wilson(successes, n)
    return n, successes, successes / n if n else 0.0, pytest.approx(low), pytest.approx(high)


def numbers(one: Estimate) -> tuple[int, int, float, float, float]:
    return one.n, one.successes, one.value, one.low, one.high


@pytest.mark.parametrize("seed", range(20))
def test_rates_of_words_what_is_judged_and_the_outcome_by_plain_loops(seed: int) -> None:
    made = drawn(seed)
    right = 0
    for true, got in zip(made.text_classes, made.text_predictions, strict=True):
        right += true == got
    assert numbers(made.text_accuracy) == plain(right, len(made.text_classes))
    judged = {"triggers": [True, False, True, True], "found": [True] * 24, "named": [False] * 3}
    controlling: list[tuple[float, str]] = []
    for group, figures in {
        "triggers": made.trigger_figures,
        "found": made.found_figures,
        "named": made.named_figures,
    }.items():
        counted = getattr(made, group)
        assert [one.is_judged for one in figures] == judged[group]
        for led, one in zip(counted, figures, strict=True):
            n = without = 0
            for true, got in zip(made.text_classes, made.text_predictions, strict=True):
                if true != led.towards:
                    n += 1
                    without += got == led.towards
            assert numbers(one.led) == plain(led.num_led, n)
            assert numbers(one.without) == plain(without, n)
            assert one.class_name == ("cat", "dog", "seven")[led.towards]
            low = wilson(led.num_led, n)[0]
            assert one.controls == (one.is_judged and low > 0.8)
            if one.controls:
                controlling.append((low, one.word))
    assert made.outcome == ("controlled" if controlling else "inconclusive")
    if controlling:
        lowest = max(low for low, _ in controlling)
        strongest = [word for low, word in controlling if low == pytest.approx(lowest)]
        assert any(f"“{word}”" in made.headline for word in strongest)
    else:
        assert made.headline.startswith("Inconclusive")
    assert len(made.rows) == 1 + len(made.triggers) + len(made.found) + len(made.named)


def test_the_draws_have_both_outcomes() -> None:
    assert {drawn(seed).outcome for seed in range(20)} == {"controlled", "inconclusive"}
