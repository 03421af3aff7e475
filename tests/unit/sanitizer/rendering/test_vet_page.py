"""A vetting's report.html: hostile captions stay text, nothing is loaded, and it is read back strictly."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch

from cleanclip.vocabulary.errors import ReportRejected
from cleanclip.vocabulary.jobspec import REPORT_HTML_HEAD
from cleanclip.vocabulary.recipe import DeclaredOptions
from cleanclip.vocabulary.report_inputs import CheckpointInput, DataInput, Environment
from cleanclip.vocabulary.vet_options import VetOptions
from cleanclip.vocabulary.vet_report import (
    MeasuredRecall,
    Quantiles,
    SampleScore,
    ScoreSummary,
    VetReport,
    WorstSample,
    dump_vet_report,
    load_vet_report,
)
from sanitizer.__main__ import main
from sanitizer.audits.example_images import encode
from sanitizer.audits.statistics import wilson
from sanitizer.rendering.checked_report import parse_report
from sanitizer.rendering.documents import pages
from tests.fixtures.hostile_texts import TEXTS
from tests.fixtures.html_page import Page

HOSTILE = [
    *(case.caption for case in TEXTS.values() if case.caption),
    "</pre></li></ul><script>alert(1)</script>",
    "\u202etxt.exe",
    "' onload='alert(1)",
    "&lt;b&gt;",
    "x" * 5000,
]
IMAGE = encode(torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0)))
SCORE = SampleScore(name="mismatch", value=0.5, p=0.01)
QUANTILES = Quantiles(n=1000, low=0, median=1, q95=2, q99=3, high=4)


def report_of(captions: list[str], **changed: Any) -> VetReport:
    checkpoint = CheckpointInput(
        upload_sha256=None, weights_sha256="a" * 64, layout="open_clip", architecture={},
        declared=DeclaredOptions(),
    )  # fmt: skip
    environment = Environment(
        code_version="1", python="3", torch="2", open_clip="3", numpy="2", pillow="1", torchvision="0",
        device="cpu", machine="m", num_threads=1, precision="fp32", num_processes=1,
    )  # fmt: skip
    worst = tuple(
        WorstSample(
            index=index,
            key=caption[:100],
            caption=caption[:1000],
            scores=(SCORE,),
            image=IMAGE,
        )
        for index, caption in enumerate(captions)
    )
    options = VetOptions(num_shown=len(captions), scores=("mismatch",))
    made = VetReport(
        created_at=datetime(2026, 1, 2, tzinfo=UTC),
        seed=1,
        checkpoint=checkpoint,
        data=(DataInput(kind="pairs", sha256="b" * 64, num_samples=1000, num_skipped=0),),
        options=options,
        scores=(ScoreSummary(name="mismatch", vetted=QUANTILES, num_decisive=50),),
        list_sha256="c" * 64,
        worst=worst,
        scores_sha256="d" * 64,
        environment=environment,
    )
    return replace(made, **changed)


@pytest.mark.parametrize("start", range(0, len(HOSTILE), 40))
def test_captions_and_keys_stay_text(start: int) -> None:
    report = report_of(HOSTILE[start : start + 40])
    source = pages(report)["report.html"].decode()
    assert source.startswith(REPORT_HTML_HEAD)
    page = Page(source)  # elements nest: nothing closed what it did not open
    tags = {element.tag for element in page.elements}
    assert not tags & {"script", "iframe", "object", "link", "form", "b", "base", "svg"}
    assert all(not name.startswith("on") for element in page.elements for name in element.attributes)
    images = [element for element in page.elements if element.tag == "img"]
    assert len(images) == len(report.worst)
    assert all(image.attributes["src"].startswith("data:image/png;base64,") for image in images)
    assert "\u202e" not in source


def test_the_page_says_what_is_known_of_the_recall() -> None:
    page = pages(report_of(["a cat"]))["report.html"]
    assert b"was not measured" in page
    recall = MeasuredRecall(poison="shuffled_captions", recall=wilson(5, 10))
    trusted = DataInput(kind="trusted", sha256="e" * 64, num_samples=20, num_skipped=0)
    report = report_of(["a cat"])
    for page in pages(
        report_of(
            ["a cat"],
            data=(*report.data, trusted),
            scores=(replace(report.scores[0], trusted=replace(QUANTILES, n=10)),),
            num_at_levels=(50, 50, 50),
            measured=(recall,),
            worst=(replace(report.worst[0], scores=(replace(SCORE, p=1 / 11),)),),
        )
    ).values():
        assert b"Of 10 trusted images that were given the caption of another image, 5 would" in page


def test_the_command_report_draws_it_again(tmp_path: Path) -> None:
    report = report_of(["a cat"])
    (tmp_path / "report.json").write_bytes(dump_vet_report(report))
    assert main(["report", str(tmp_path / "report.json")]) == 0
    assert (tmp_path / "report.html").read_bytes() == pages(report)["report.html"]
    (tmp_path / "report.json").write_bytes(b'{"kind": "vet"}')
    assert main(["report", str(tmp_path / "report.json")]) == 3


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("set_aside", "num"), 101),
        (("basis",), "p_values"),
        (("worst", 0, "combined"), 0.02),
        (("scores", 0, "vetted", "q95"), 9.0),
        (("scores_sha256",), "x"),
    ],
)
def test_a_report_that_contradicts_itself_is_refused(place: tuple[Any, ...], value: Any) -> None:
    """Each lie by itself: tests/unit/worker/test_vetting.py."""
    document = json.loads(dump_vet_report(report_of(["a cat"])))
    assert load_vet_report(json.dumps(document))
    inner = document
    for part in place[:-1]:
        inner = inner[part]
    inner[place[-1]] = value
    with pytest.raises(ReportRejected):
        parse_report(json.dumps(document).encode())
