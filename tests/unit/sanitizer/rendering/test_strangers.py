"""Words of strangers in a report stay words: whatever a name holds, a page changes by text alone."""

import random
import unicodedata
from dataclasses import fields, is_dataclass, replace
from functools import cache
from typing import Any

import pytest
from markdown_it import MarkdownIt

from cleanclip.vocabulary.errors import ReportRejected
from cleanclip.vocabulary.report import Report
from cleanclip.vocabulary.untrusted import rows, shown
from sanitizer.rendering.documents import pages
from tests.fixtures.derived import saying
from tests.fixtures.html_page import Page
from tests.fixtures.kept_reports import document, drawn, drawn_from, markdown_from, read, stored

PAYLOADS = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>'",
    "</title></style></svg></desc><svg onload=alert(1)>",
    "{{ 7*7 }}{% raw %}",
    "&lt;b&gt; &#x202e;",
    "]]><!--x--><![CDATA[",
    "\u202egnp.nepo\u202c \u2066x\u2069 \u200f\u061c",
    "a\r\nb\tc\x00d\x1b[31m\x7f\x85\u2028e\u2029",
    "z\u0335\u0336\u0337\u0338\u0339\u033a\u034f\u0300\u0301",
    "\u3164\u2800\u200b\u2060\ufeff\u00ad",
    "$\\frac{1}{0}$ %s %(x)s {0}",
    "[x](https://evil.example) ![i](//evil.example/i.png) https://evil.example www.evil.example",
    "`` ` ``` |a|b| @everyone #1 **bold** <b>x</b> $y$ ~~s~~ &amp;",
    "# heading\n- item\n\n---\n| a |\n|---|",
    "\U000e0041\ufff9\uffff",
)
SET_BY_US = {
    "kind",
    "method",
    "outcome",
    "attack",
    "pattern",
    "placement",
    "verdict",
    "layout",
    "precision",
    "created_at",
}
"""Fields whose words the schema fixes, and `attack`, which names a measured trigger."""


def everywhere(value: Any, payload: str, key: str = "") -> Any:
    """The part of a report with `payload` in every text that is not ours. No type is asked: they would refuse
    most of it."""
    if is_dataclass(value) and not isinstance(value, type):
        parts = {one.name: everywhere(getattr(value, one.name), payload, one.name) for one in fields(value)}
        return replace(value, **parts)
    if isinstance(value, tuple):
        return tuple(everywhere(one, payload, key) for one in value)
    return payload if isinstance(value, str) and key not in SET_BY_US else value


def hostile(payload: str) -> Report:
    report = stored(_hostile_names(payload))
    checkpoint = replace(report.checkpoint, architecture={}, findings=("x",))
    data = tuple(replace(one, skipped_examples=("x",)) for one in report.data)
    changed = replace(report, checkpoint=checkpoint, data=data)
    for part in ("checkpoint", "data", "environment"):
        changed = replace(changed, **{part: everywhere(getattr(changed, part), payload)})
    architecture = {payload: {payload: [payload, 1]}}
    changed = replace(changed, checkpoint=replace(changed.checkpoint, architecture=architecture))
    return saying(changed, warnings=(payload, payload), vouched_for=payload)


def _hostile_names(payload: str) -> dict[str, Any]:
    """Where the order and the data say how things are called."""
    changed = document("not_cleaned")
    changed["checkpoint"]["declared"]["tokenizer"] = None
    changed["audit"]["target"] = payload
    changed["verdict"]["reason"] = payload
    for number, reported in enumerate(changed["verdict"]["attacks"]):
        reported["reason"] = payload
        reported["attack"] = f"{payload}{number}"
        for side in ("before", "after"):
            changed[side]["ca_per_class"] = [{"class_name": payload, "accuracy": changed[side]["ca"]}]
            attack = changed[side]["attacks"][number]
            attack |= {"name": f"{payload}{number}", "options": {payload: payload}}
    changed["verdict"]["clean_accuracy"]["reason"] = payload
    changed["classes_lost"] = [document("par")["classes_lost"][0] | {"class_name": payload}] * 10
    return changed


@cache
def harmless() -> Page:
    return Page(drawn_from(hostile("plain"))[0])


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_payload_in_every_name_is_shown_as_text_and_changes_no_element(payload: str) -> None:
    page, benign = Page(drawn_from(hostile(payload))[0]), harmless()
    assert [one.tag for one in page.elements] == [one.tag for one in benign.elements]
    for one, other in zip(page.elements, benign.elements, strict=True):
        is_drawn = one.tag in {"text", "path", "use", "clippath", "rect", "g"}
        assert one.attributes.keys() == other.attributes.keys()
        assert is_drawn or one.attributes == other.attributes
    text = page.root.text
    assert shown(payload) in text
    visible = set(text) - set("\n ")
    assert not [
        one for one in visible if unicodedata.category(one) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    ]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_markdown_takes_a_payload_in_every_name_for_text(payload: str) -> None:
    reader = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    kinds = []
    for text in (payload, "plain"):
        tokens = reader.parse(markdown_from(hostile(text)))
        flat = [inner for token in tokens for inner in (token, *(token.children or ()))]
        kinds.append([one.type for one in flat if one.type not in {"text", "text_special", "html_inline"}])
        assert {one.content for one in flat if one.type.startswith("html")} <= {"<!-- -->"}
        words = [one.content for one in flat if one.type == "text"]
        for linked in ("@everyone", "#1", "https://evil", "www.evil"):
            assert not [one for one in words if linked in one], "GitHub would make a link of it"
    assert kinds[0] == kinds[1]
    assert not {"link_open", "image"} & set(kinds[0])


def test_a_long_text_is_cut_and_says_so() -> None:
    assert shown("x" * 3_000) == "x" * 2_000 + "… [1000 more characters in report.json]"
    assert rows({str(number): number for number in range(300)})[-1] == ("…", "100 more in report.json")


def test_letters_of_every_script_stay_as_they_are() -> None:
    for text in ("yellow seven", "élan café", "香蕉", "موز", "केला", "バナナ", "🍌 x", "Việt"):
        assert shown(text) == text


def test_a_page_of_a_report_full_of_endless_texts_stays_small() -> None:
    report = hostile("<&\u202e" * 66)
    endless = {"findings": ("\u202e" * 5_000,) * 400}
    endless["architecture"] = {str(number): "&" * 5_000 for number in range(500)}
    checkpoint = replace(report.checkpoint, **endless)
    report = saying(replace(report, checkpoint=checkpoint), warnings=("<" * 5_000,) * 400)
    page, markdown = drawn_from(report)
    assert len(page.encode()) < 5_000_000
    assert len(markdown) < 200_000


def test_a_report_changed_at_random_is_drawn_or_refused() -> None:
    """Never a crash: numbers, texts, lists and nulls in each other's place."""
    source = random.Random(3)
    values = (None, -1, 0, 1, 2**70, 1e308, -1e308, 0.5, "", "x", [], {}, True, [[[1]]])
    num_drawn = 0
    for _ in range(90):
        written = document("undecided")
        place: Any = written[
            source.choice(("checkpoint", "data", "training", "environment", "recipe", "before"))
        ]
        while True:
            key = source.choice(list(place) if isinstance(place, dict) else range(len(place)))
            if not isinstance(place[key], dict | list) or not place[key] or source.random() < 0.1:
                break
            place = place[key]
        place[key] = source.choice(values)
        try:
            pages(read(written))
            num_drawn += 1
        except ReportRejected:
            pass
    assert 0 < num_drawn < 40, "else this shows nothing"


def test_nothing_of_one_report_reaches_the_page_of_another() -> None:
    before = drawn("audit")
    drawn_from(hostile("canary"))
    assert drawn_from(document("audit")) == before
