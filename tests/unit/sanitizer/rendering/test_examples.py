"""Examples in the pages: what is shown, what a stranger's words and images cannot do, how large it gets."""

import base64
import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from cleanclip.vocabulary.errors import ReportRejected
from cleanclip.vocabulary.examples import MAX_IMAGES, MAX_TOTAL_BYTES
from cleanclip.vocabulary.plain_images import MAX_BYTES
from cleanclip.vocabulary.report import dump_json
from sanitizer.rendering import checked_report
from sanitizer.rendering.checked_report import parse_report
from tests.fixtures.example_pictures import with_examples
from tests.fixtures.html_page import Page
from tests.fixtures.kept_reports import NAMES, document, drawn, drawn_from, markdown_from

MAX_PAGE_BYTES = 5_000_000


def section(page: Page) -> Any:
    (found,) = (one for one in page.all("section") if one.attributes["aria-labelledby"] == "examples")
    return found


def test_every_picture_stands_without_and_with_each_trigger_with_what_was_said() -> None:
    written = document("examples")
    shown = section(Page(drawn("examples")[0]))
    assert "Chosen at random by seed 1 before any prediction was made" in shown.text
    examples, attacks = written["examples"]["examples"], written["before"]["attacks"]
    targets = {attack["target"] for attack in attacks}
    cards = shown.all("li")
    assert len(cards) == len(examples) == 6
    for card, example in zip(cards, examples, strict=True):
        assert example["true_class"] in card.all("p")[0].text
        expected = [
            (example["clean"], "without a trigger", "Clean", targets),
            *(
                (
                    reported,
                    f"with the trigger {attack['name']}",
                    f"{attack['name']}, to {attack['target']}",
                    {attack["target"]},
                )
                for reported, attack in zip(example["triggered"], attacks, strict=True)
            ),
        ]
        for figure, (reported, words, title, bold) in zip(card.all("figure"), expected, strict=True):
            (picture,) = figure.all("img")
            assert picture.attributes["src"] == f"data:image/png;base64,{reported['image']}"
            assert picture.attributes["alt"] == (
                f"Test image {example['index']}, true class {example['true_class']}, {words}"
            )
            assert figure.all("bdi")[0].text == title
            for line, side in zip(figure.all("span"), ("before", "after"), strict=True):
                assert line.text.split() == [
                    f"{side}:",
                    *reported[side]["class_name"].split(),
                    f"{100 * reported[side]['probability']:.2f}",
                    "%",
                ]
                assert bool(line.all("strong")) == (reported[side]["class_name"] in bold)


def test_the_short_page_says_where_they_are_and_no_more() -> None:
    reported = [line for line in drawn("examples")[1].splitlines() if "xamples" in line]
    assert ["report.html" in one for one in reported] == [True]
    assert "base64" not in drawn("examples")[1]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "examples"])
def test_a_report_without_examples_shows_none(name: str) -> None:
    assert parse_report(json.dumps(document(name)).encode()).examples is None
    assert not Page(drawn(name)[0]).all("img")


@pytest.mark.parametrize(("num_attacks", "ordered"), [(8, 6), (1, 12), (32, 12)])
def test_the_largest_pages_are_bounded(num_attacks: int, ordered: int) -> None:
    """Pictures of noise, which no format makes small."""
    written = with_examples(num_attacks, 224, ordered=ordered)
    shown = [
        picture["image"]
        for example in written["examples"]["examples"]
        for picture in (example["clean"], *example["triggered"])
    ]
    assert 0 < len(shown) <= MAX_IMAGES
    assert sum(len(base64.b64decode(one)) for one in shown) <= MAX_TOTAL_BYTES
    page, _ = drawn_from(written)
    assert len(page.encode()) < MAX_PAGE_BYTES
    assert len(Page(page).all("img")) == (1 + num_attacks) * len(written["examples"]["examples"])
    assert len(dump_json(parse_report(json.dumps(written).encode()))) < checked_report.MAX_BYTES / 2


def test_by_the_bounds_alone_no_page_is_too_large() -> None:
    """Each image stands once."""
    assert MAX_IMAGES * -(-MAX_BYTES // 3) * 4 < MAX_PAGE_BYTES - 800_000


def test_pictures_made_smaller_are_told_as_such() -> None:
    written = with_examples(1, 32)
    assert "Scaled down" not in drawn_from(written)[0]
    written["examples"]["image_size"] = 336
    assert "Scaled down from 336 to 32 pixels a side" in drawn_from(written)[0]


def test_an_audit_alone_shows_one_answer_a_picture() -> None:
    written = document("audit")
    examples = copy.deepcopy(with_examples(len(written["audit"]["attacks"]), 8)["examples"])
    examples["seed"] = written["before"]["seed"]
    for example in examples["examples"]:
        for picture in (example["clean"], *example["triggered"]):
            picture["after"] = None
    shown = section(Page(drawn_from(written | {"examples": examples})[0]))
    assert "after:" not in shown.text
    assert "same pixels before and after" not in shown.text


def test_no_picture_left_to_show_is_said() -> None:
    written = with_examples(1, 8)
    written["examples"]["examples"] = []
    page, markdown = drawn_from(written)
    assert "each image that was drawn is of a target class" in section(Page(page)).text
    assert "xamples" not in markdown


@pytest.mark.parametrize(
    "payload",
    [
        '"><script>alert(1)</script>',
        "' onerror='alert(1)",
        "x\u202eb\x00",
        "&quot;><svg onload=x>",
        "z" * 900,
    ],
)
def test_names_of_classes_stay_words_in_every_place(payload: str) -> None:
    written = with_examples(2, 8, true_class=payload)
    harmless, page = (Page(drawn_from(one)[0]) for one in (with_examples(2, 8), written))
    assert [(one.tag, sorted(one.attributes)) for one in page.elements] == [
        (one.tag, sorted(one.attributes)) for one in harmless.elements
    ]
    for picture in page.all("img"):
        assert picture.attributes["alt"].startswith("Test image ")
        assert not {"\u202e", "\x00"} & set(picture.attributes["alt"])
        assert len(picture.attributes["alt"]) < 300
    assert payload not in markdown_from(written)


def put(*path: Any, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(written: dict[str, Any]) -> None:
        inner: Any = written["examples"]
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = to

    return change


FIRST = ("examples", 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put(*FIRST, "clean", "image", to="PHN2Zz48L3N2Zz4="), "neither PNG nor JPEG"),
        (put(*FIRST, "clean", "image", to='"><img src=x>'), "pattern"),
        (put(*FIRST, "clean", "image", to="A" * 40_000), "at most 32768 characters"),
        (put(*FIRST, "clean", "before", "probability", to=1.5), "less than or equal to 1"),
        (put(*FIRST, "clean", "before", "probability", to=-0.5), "greater than or equal to 0"),
        (put(*FIRST, "true_class", to="yellow seven"), "is of a target class"),
        (put(*FIRST, "triggered", to=[]), "does not show every trigger"),
        (put(*FIRST, "clean", "after", to=None), "was asked of other models"),
        (put("side", to=9), "does not have the size that is stated"),
        (put("seed", to=77), "is not that of the audit"),
        (put(*FIRST, "index", to=1), "show an image twice"),
    ],
)
def test_examples_that_contradict_the_report_or_hold_more_than_pictures_are_not_drawn(
    change: Callable[[dict[str, Any]], None], message: str
) -> None:
    written = with_examples(2, 8)
    parse_report(json.dumps(written).encode())
    change(written)
    with pytest.raises(ReportRejected, match=message):
        parse_report(json.dumps(written).encode())


def test_more_examples_than_were_ordered_are_not_drawn() -> None:
    written = with_examples(2, 8)
    for ordered in (0, 5):
        written["audit"]["examples"] = ordered
        with pytest.raises(ReportRejected, match="are more than were ordered"):
            parse_report(json.dumps(written).encode())
