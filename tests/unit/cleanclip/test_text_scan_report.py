"""What a text scan's report derives from counts, and what no scan can have counted."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from cleanclip.vocabulary.clip_tokens import text_of, tokens_of
from cleanclip.vocabulary.report_kinds import dump_plain, load_plain
from cleanclip.vocabulary.text_scan_options import TextScanOptions
from cleanclip.vocabulary.text_scan_report import NUM_FOUND, Led, LedByToken, TextScanReport
from tests.fixtures.text_scans import CLASS_NAMES, FIRST, report

(SEVEN,) = tokens_of("seven")


def test_words_rates_and_outcome_follow_from_the_counts() -> None:
    made = report()
    assert made.outcome == "controlled"
    assert made.headline.startswith(f"Controlled: “{text_of(FIRST)}” leads 100.0 %")
    assert made.found_figures[0].led.n == 20, "a third of 30 texts is of the class"
    assert made.text_accuracy.successes == 27
    assert [one.is_judged for one in made.named_figures] == [False] * 3
    assert "never worked" in dict(made.rows)["Trigger “zebra crossing”"]
    assert any("three of three" in one for one in made.warnings)


def test_nothing_over_the_limit_is_inconclusive() -> None:
    made = report()
    weak = tuple(replace(one, num_led=0) for one in made.found)
    weak = tuple(sorted(weak, key=lambda one: one.token))
    assert replace(made, found=weak).outcome == "inconclusive"
    assert "clean" not in replace(made, found=weak).headline.lower()


def test_a_named_word_that_is_a_class_name_is_not_judged() -> None:
    made = report()
    named = replace(made.options, trigger_words=("Seven",))
    led = replace(made, options=named, triggers=(Led(towards=2, num_led=20),))
    assert not led.trigger_figures[0].is_judged
    assert not led.trigger_figures[0].controls


def swapped(one: TextScanReport) -> dict[str, Any]:
    return {"found": (one.found[1], one.found[0], *one.found[2:])}


LIES: dict[str, Callable[[TextScanReport], dict[str, Any]]] = {
    "out of order": swapped,
    "more texts than are of other classes": lambda one: {
        "found": (replace(one.found[0], num_led=21), *one.found[1:])
    },
    "a class that the dataset does not have": lambda one: {"triggers": (Led(towards=3, num_led=0),)},
    "more or fewer tokens": lambda one: {"found": one.found[:-1]},
    "other triggers": lambda one: {"triggers": ()},
    "other texts": lambda one: {"text_predictions": one.text_predictions[:-1]},
    "a class name for another word": lambda one: {
        "found": (LedByToken(towards=0, num_led=20, token=SEVEN), *one.found[1:])
    },
    "more images": lambda one: {"num_images": 2001},
    "more classes": lambda one: {"num_classes": 4},
}


@pytest.mark.parametrize("problem", LIES)
def test_what_no_scan_can_have_counted_is_refused(problem: str) -> None:
    made = report()
    with pytest.raises(ValueError, match=problem):
        replace(made, **LIES[problem](made))


@pytest.mark.parametrize("token", [-1, 49_406])
def test_a_token_that_clip_does_not_have_is_refused(token: int) -> None:
    raw = dump_plain(report()).replace(f'"token": {FIRST}'.encode(), f'"token": {token}'.encode())
    assert raw != dump_plain(report())
    with pytest.raises(ValueError):  # noqa: PT011
        load_plain(TextScanReport, raw)


@pytest.mark.parametrize(
    "options", [{"search": False}, {"trigger_words": (" ",)}, {"trigger_words": ("a b", "A  b")}]
)
def test_options_that_order_nothing_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must|trigger"):
        TextScanOptions(**options)


def test_a_search_lists_as_many_as_it_says() -> None:
    assert len(report().found) == NUM_FOUND
    assert len(CLASS_NAMES) == 3
