"""What a worker keeps of a report on the job's row is what the API can show."""

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from app.schemas.jobs import ResultOut
from cleanclip.vocabulary.audit_figures import AuditFigures
from cleanclip.vocabulary.examples import Example, Examples, Prediction, ShownImage
from cleanclip.vocabulary.measures import Difference, Estimate
from cleanclip.vocabulary.report import Report, dump_json, load_json
from tests.fixtures.made_reports import attack_figures, audit_figures
from tests.fixtures.made_reports import report as made_report
from tests.fixtures.tiny_png import RED_SQUARE
from worker.failures import AttemptFailed
from worker.publishing.checking import read_json
from worker.publishing.completing import judgement


def share(successes: int) -> Estimate:
    return Estimate(n=10, successes=successes)


def figures(ca: int, picture: str | None = None) -> AuditFigures:
    options = {"attack": "badnet", "size": 0.1} if picture is None else {"image": picture}
    return audit_figures(share(ca), attack_figures(share(9), options=options, pa=share(1)))


def report(*, is_audit: bool) -> Report:
    lost = Difference(n=10, both=6, lost=2, gained=1)
    cleaned = {} if is_audit else {"kind": "sanitize", "after": figures(8), "ca_lost": lost}
    return made_report(figures(9), target="dog", **cleaned)


def test_every_figure_of_a_sanitize_report_reaches_the_api() -> None:
    written = report(is_audit=False)
    shown = ResultOut.model_validate(judgement(load_json(dump_json(written))) | {"artifact_ids": ["art_1"]})
    assert (shown.before, shown.after) == (written.before, written.after)
    assert (shown.ca_lost, shown.verdict) == (written.ca_lost, written.verdict)


def test_an_audit_has_figures_before_only() -> None:
    written = report(is_audit=True)
    shown = ResultOut.model_validate(judgement(load_json(dump_json(written))))
    assert shown.before == written.before
    assert shown.after is None
    assert shown.ca_lost is None


def test_a_picture_is_named_by_its_digest_and_stays_in_the_file() -> None:
    data = b"image" * 1000
    reported = replace(report(is_audit=True), before=figures(9, base64.b64encode(data).decode()))
    kept = judgement(reported)
    assert kept["before"]["attacks"][0]["options"] == {
        "image_bytes": 5000,
        "image_sha256": hashlib.sha256(data).hexdigest(),
    }
    assert reported.before.attacks[0].options["image"] in dump_json(reported).decode()


def test_pictures_of_examples_reach_no_row_of_the_database() -> None:
    shown = ShownImage(image=RED_SQUARE, before=Prediction(class_name="dog", probability=0.5))
    example = Example(index=3, true_class="cat", clean=shown, triggered=(shown,))
    examples = Examples(seed=0, image_size=2, side=2, examples=(example,))
    reported = replace(report(is_audit=True), examples=examples)
    assert load_json(dump_json(reported)).examples == examples
    assert judgement(reported) == judgement(replace(reported, examples=None))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda r: r["before"]["ca"].update(value=float("nan")), "before.ca.value"),
        (lambda r: r["before"]["ca"].update(value=1.5), "before.ca.value"),
        (lambda r: r["before"]["ca"].update(n=-1), "greater than or equal to 0"),
        (lambda r: r["before"]["ca"].update(n=10**30), "before.ca.n"),
        (
            lambda r: r["before"]["attacks"][0].update(options={"size": float("inf")}),
            "attacks.0.options.size",
        ),
        (lambda r: r["checkpoint"].update(architecture={"width": 1e300}), "checkpoint.architecture.width"),
        (lambda r: r["verdict"].update(reason="x" * 7_500_000), "verdict.reason"),
        (lambda r: r.update(warnings=["x"] * 1001), "warnings"),
    ],
)
def test_a_report_without_bounds_is_refused_before_anything_is_published(
    change: Callable[[dict[str, Any]], None], why: str
) -> None:
    document = json.loads(dump_json(report(is_audit=True)))
    change(document)
    raw = json.dumps(document).encode()
    with pytest.raises(AttemptFailed, match=r"report\.json cannot be read") as failed:
        read_json("report.json", raw, load_json)
    assert failed.value.code == "outputs_rejected"
    with pytest.raises(ValidationError, match=why):
        load_json(raw)


def test_more_figures_than_a_list_can_carry_are_not_kept_on_a_row() -> None:
    reported = report(is_audit=True)
    attacks = reported.before.attacks * 2000
    with pytest.raises(AttemptFailed, match="more than a job") as failed:
        judgement(replace(reported, before=replace(reported.before, attacks=attacks)))
    assert failed.value.code == "outputs_rejected"
    assert judgement(replace(reported, before=replace(reported.before, attacks=attacks[:32])))
