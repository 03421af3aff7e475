"""Templates: the shipped eighty, and a stranger's own."""

import pytest
from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES

from cleanclip.vocabulary.errors import DatasetRejected
from sanitizer.data.templates import IMAGENET_80, parse_templates, render


def test_the_shipped_templates_are_the_eighty_of_open_clip_in_order() -> None:
    assert [render(template, "fire truck") for template in IMAGENET_80] == [
        template("fire truck") for template in OPENAI_IMAGENET_TEMPLATES
    ]
    assert len(IMAGENET_80) == 80


def test_nothing_but_the_placeholder_is_interpreted() -> None:
    assert render("{c} {0.__class__} %s {c}", "{c}x") == "{c}x {0.__class__} %s {c}x"


@pytest.mark.parametrize("text", ["", "\n\n", "a photo", "a {c}\na photo", "{c}" + "x" * 300, "{c}\n" * 201])
def test_bad_templates_are_refused(text: str) -> None:
    with pytest.raises(DatasetRejected) as caught:
        parse_templates(text, where="templates.txt")
    assert (caught.value.code, caught.value.where) == ("bad_template", "templates.txt")


def test_one_template_a_line() -> None:
    assert parse_templates("a {c}.\r\n\n# remark\nthe {c}\n", where="t") == ("a {c}.", "the {c}")
