"""What pages and the client say of settings that tensors cannot tell."""

import json
from typing import Any

import pytest

from cleanclip.evidence import settings
from cleanclip.evidence.report import parse
from cleanclip.vocabulary.errors import ReportRejected
from cleanclip.vocabulary.recipe import to_json
from sanitizer.audits.statistics import wilson
from tests.fixtures.kept_reports import counted, document, drawn_from, read


def estimate(successes: int) -> dict[str, Any]:
    return to_json(wilson(successes, 240))


def reported() -> dict[str, Any]:
    """A report's JSON whose text heads were measured."""
    report = document("cleaned")
    heads = report["checkpoint"]["architecture"]["model_cfg"]["text_cfg"]["heads"]
    report["architecture"] = {
        "n": 240,
        "seed": 3,
        "num_classes": 10,
        "num_templates": 2,
        "num_compared": 6,
        "num_image_passes": 1,
        "num_text_passes": 6,
        "ca": estimate(185),
        "chance": 0.1,
        "settings": [
            {
                "option": "num_heads_text",
                "value": str(heads),
                "settled": "measured",
                "why": "the best of 1, 2",
                "chosen": {"value": str(heads), "log_likelihood": -0.5, "ca": estimate(185)},
                "runner_up": {"value": "8", "log_likelihood": -1.75, "ca": estimate(75)},
                "margin": {
                    "mean": 1.25,
                    "n": 240,
                    "low": 1.0,
                    "high": 1.5,
                    "confidence": 0.95,
                    "method": "paired_normal_bonferroni",
                },
            }
        ],
    }
    return report


def found(report: dict[str, Any]) -> list[str | None]:
    return [one.where for one in settings.check(parse(json.dumps(counted(report)).encode()))]


def test_both_pages_say_how_a_setting_was_settled_and_both_figures() -> None:
    html, markdown = drawn_from(reported())
    for page in (html, markdown.replace("\\", "")):
        assert "measured: the best of 1, 2. Mean log-likelihood -0.500 against -1.750 with 8" in page
        assert "CA 77.1 % against 31.2 %" in page


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda one: one.update(value="9"), "architecture.settings[0].value"),
        (lambda one: one.update(margin=None), "architecture.settings[0].settled"),
        (lambda one: one.update(settled="assumed"), "architecture.settings[0].settled"),
        (lambda one: one.update(settled="published"), "architecture.settings[0].settled"),
        (lambda one: one["margin"].update(low=0.04, high=2.46), "architecture.settings[0].settled"),
        (lambda one: one["margin"].update(low=1.1), "architecture.settings[0].margin"),
        (lambda one: one.update(runner_up=None), "architecture.settings[0]"),
        (
            lambda one: one["chosen"].update(ca=to_json(wilson(99, 239))),
            "architecture.settings[0].chosen.ca.n",
        ),
    ],
    ids=[
        *("another architecture", "no margin", "assumed", "not published", "no margin that tells"),
        *("another mean", "half told", "miscounted"),
    ],
)
def test_the_client_finds_what_does_not_fit(change: Any, where: str) -> None:
    report = reported()
    assert found(report) == []
    setting = report["architecture"]["settings"][0]
    change(setting)
    if margin := setting["margin"]:
        margin["mean"] = (margin["low"] + margin["high"]) / 2
    assert where in found(report)


def test_a_page_is_not_drawn_of_figures_that_do_not_follow() -> None:
    report = reported()
    report["architecture"]["settings"][0]["chosen"]["ca"]["value"] = 0.9
    with pytest.raises(ReportRejected) as caught:
        read(report)
    assert caught.value.where == "architecture.settings[0].chosen.ca.value"
