"""A child that was taken over tells one lie of a scan at a time, and none is believed."""

import base64
import hashlib
import json
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cleanclip.vocabulary.jobspec import ScanSpec
from cleanclip.vocabulary.null_set import NullSet, dump_null
from cleanclip.vocabulary.recipe import to_json
from cleanclip.vocabulary.report_inputs import CheckpointInput
from cleanclip.vocabulary.scan_options import ScanOptions
from cleanclip.vocabulary.scan_report import ScanReport, dump_scan
from sanitizer.checkpoints.digests import dataset_sha256
from tests.fixtures.places import names, put, texts, unnoticed
from tests.fixtures.scans import a_null
from tests.integration.worker.stand_in_child import (
    CLASSES,
    OTHER,
    altered,
    canonical_files,
    scan_report_of,
    write_inputs,
)
from worker.failures import AttemptFailed
from worker.publishing.scanning import check_scan, shown_scan
from worker.staging.known import Known

NAMES = CLASSES
AT = datetime(2026, 11, 28, tzinfo=UTC)


ANCHORED = {"detectors": ScanOptions.usual_detectors(has_anchor=True)}


class Left:
    """What a child left of a scan with a null, perhaps with an anchor, and what is known of it."""

    def __init__(
        self, folder: Path, *, with_anchor: bool = False, with_null: bool = True, **options: Any
    ) -> None:
        options = options | (ANCHORED if with_anchor else {})
        anchor = {"anchor": b"def"} if with_anchor else {}
        write_inputs(folder, {"labelled/0.tar": b"shard"}, checkpoint=b"abc", **anchor)
        self.spec = ScanSpec(scan=ScanOptions(**options), seed=7, has_null=with_null, has_anchor=with_anchor)
        shard = folder / "inputs/labelled/0.tar"
        images = dataset_sha256([(shard.name, shard)])
        self.null: NullSet = a_null(
            self.spec.scan,
            self._names(),
            images_sha256=images,
            seed=7,
            anchor_sha256=canonical_files(b"def")[1]["weights_sha256"] if with_anchor else None,
        )
        (folder / "inputs/null.json").write_bytes(dump_null(self.null))
        order = {"scan": to_json(self.spec.scan), "seed": 7, "has_null": with_null}
        order["has_anchor"] = with_anchor
        self.report: ScanReport = scan_report_of(folder, order)
        checkpoint: CheckpointInput = self.report.checkpoint
        self.known = Known(
            checkpoint=checkpoint,
            config=json.loads(canonical_files(b"abc")[0]["config.json"]),
            tensors={},
            class_names=NAMES,
            num_labelled=300,
            null=self.null if with_null else None,
            anchor=self.report.anchor,
            anchor_config=json.loads(canonical_files(b"def")[0]["config.json"]) if with_anchor else {},
        )

    def _names(self) -> list[str]:
        return [] if self.spec.scan.class_names == "none" else [*NAMES, *self.spec.scan.further_classes]

    def reported(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(dump_scan(self.report))
        return document

    def believed(self, reported: Mapping[str, Any]) -> ScanReport:
        return check_scan(json.dumps(reported).encode(), self.spec, self.known, at=AT)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"further_classes": ("grape",)},
        {"detectors": ("collapse",), "class_names": "none"},
        {"num_examples": 0, "significance": 0.01},
        {"with_anchor": True},
    ],
)
def test_an_honest_report_is_believed_and_its_time_is_ours(tmp_path: Path, options: dict[str, Any]) -> None:
    left = Left(tmp_path, **options)
    believed = left.believed(left.reported())
    assert believed.created_at == AT
    assert believed.hypotheses == left.report.hypotheses
    shown = json.dumps(shown_scan(believed))
    assert left.report.hypotheses[0].trigger.image not in shown
    assert len(shown) < 20_000


def with_text(image: str) -> str:
    """The PNG with a chunk that makes no pixel."""
    data = base64.b64decode(image)
    text = b"tEXtComment\0<script>alert(1)</script>"
    chunk = (len(text) - 4).to_bytes(4) + text + zlib.crc32(text).to_bytes(4)
    return base64.b64encode(data[:-12] + chunk + data[-12:]).decode()


def with_a_page(image: str) -> str:
    return base64.b64encode(base64.b64decode(image) + b"<script>alert(1)</script>").decode()


def invented(judgements: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Scores of the null's models among which this one is nothing special."""
    for one in judgements:
        one |= {"z": 0.5, "others": [*range(1, len(one["others"])), 0.0]}
        del one["rank"]
    return judgements


LIES: dict[str, dict[str, Any]] = {
    "a_milder_outcome": {"verdict.outcome": "inconclusive"},
    "other_weights": {"statistics.weights_sha256": OTHER},
    "weights_of_another_anchor": {"anchor.weights_sha256": OTHER, "statistics.anchor_sha256": OTHER},
    "no_anchor": {"anchor": None, "statistics.anchor_sha256": None},
    "no_edits": {"statistics.edits": None},
    "an_edit_towards_no_class": {"statistics.edits.edits.0.towards": len(NAMES)},
    "an_edit_twice": {"statistics.edits.edits": lambda edits: [*edits, edits[0]]},
    "scores_of_the_null_that_were_invented": {"judgements": invented, "p_value": ..., "verdict": ...},
    "another_class_than_measured": {"hypotheses.0.target": NAMES[1]},
    "a_family_without_restarts": {"statistics.collapse.0.restarts": []},
    "no_number": {"hypotheses.0.statistic": float("nan")},
    "a_pattern_with_a_text_chunk": {"hypotheses.0.trigger.pattern": with_text},
    "a_pattern_with_a_page_behind_it": {"hypotheses.0.trigger.pattern": with_a_page},
    "a_picture_for_a_warp": {"hypotheses.3.trigger": lambda warp: warp | {"pattern": warp["image"]}},
    "no_pattern_of_a_patch": {"hypotheses.0.trigger.pattern": None},
    "an_image_of_something_else": {
        "hypotheses.0.trigger.image": base64.b64encode(b"<svg onload='alert(1)'/>").decode()
    },
    "figures_of_another_anchor": {"statistics.anchor_sha256": OTHER},
    "figures_without_the_anchor": {"anchor": None},
}
"""Besides another number, list or string, which the tests below put into each place."""
OF_AN_ANCHOR = {name for name in LIES if "anchor" in name}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_not_believed(tmp_path: Path, lie: str) -> None:
    left = Left(tmp_path, with_anchor=lie in OF_AN_ANCHOR)
    reported = altered(left.reported(), LIES[lie])
    with pytest.raises(AttemptFailed, match="outputs_rejected"):
        left.believed(reported)


MEASURED_AGAIN = (
    r"conditions\.((anchor_)?settled\.[\w.]+|num_enlarged)|data\.num_\w+|environment\.num_\w+|examples\.index"
    r"|hypotheses\.(dose\.share|trigger\.at|words\.score)|statistics\.(num_passes|wall_s)"
    r"|statistics\.(collapse\.restarts\.values|(edits|residual)\.edits\.(towards|cell|n)|residual\.num_cells)"
    r"|hypotheses\.(classes|dose|trigger\.at|words) \w+|examples shorter"
)
"""Numbers and lists that nothing else in a report follows from: a second scan has to find them."""


def test_another_number_or_list_in_any_place_is_not_believed_or_a_second_scan_has_to_find_it(
    tmp_path: Path,
) -> None:
    left, seen = Left(tmp_path, with_anchor=True), set[str]()

    def is_refused(reported: Any) -> bool:
        try:
            left.believed(reported)
        except AttemptFailed:
            return True
        return False

    missed = unnoticed(left.reported(), is_refused, seen)
    assert [kind for kind in missed if not re.fullmatch(MEASURED_AGAIN, kind)] == []
    assert len(seen) > 200


@pytest.mark.parametrize(
    "lie",
    [
        lambda reported: reported["hypotheses"][0].update(target=NAMES[0]),
        lambda reported: reported["examples"][0].update(clean_class=NAMES[0]),
        lambda reported: reported["examples"][0].update(true_class="class 5"),
    ],
)
def test_a_scan_without_class_names_predicts_none_and_its_examples_have_classes_of_the_dataset(
    tmp_path: Path, lie: Callable[[dict[str, Any]], object]
) -> None:
    left = Left(tmp_path, detectors=("collapse",), class_names="none")
    reported = left.reported()
    assert reported["examples"][0]["true_class"] in NAMES
    lie(reported)
    with pytest.raises(AttemptFailed, match="outputs_rejected"):
        left.believed(reported)


def test_no_image_is_of_a_further_class(tmp_path: Path) -> None:
    left = Left(tmp_path, further_classes=("grape",))
    reported = left.reported()
    reported["examples"][0]["true_class"] = "grape"
    with pytest.raises(AttemptFailed, match="outputs_rejected"):
        left.believed(reported)


def _settle_otherwise(settled: dict[str, Any], checkpoint: dict[str, Any]) -> None:
    """The images tell that the activation is not the usual one."""
    [setting] = [one for one in settled["settings"] if one["option"] == "quick_gelu"]
    chosen, runner_up = setting["runner_up"], setting["chosen"]
    chosen["log_likelihood"] = runner_up["log_likelihood"] + 0.1
    setting.update(value="true", settled="measured", why="the best of false, true")
    setting.update(chosen=chosen, runner_up=runner_up)
    setting["margin"].update(mean=0.1, low=0.08, high=0.12)
    checkpoint["architecture"]["model_cfg"]["quick_gelu"] = True


def test_an_anchor_is_settled_as_the_suspect_is(tmp_path: Path) -> None:
    left = Left(tmp_path, with_anchor=True)
    reported = left.reported()
    _settle_otherwise(reported["conditions"]["anchor_settled"], reported["anchor"])
    del reported["warnings"]
    believed = left.believed(reported)
    assert believed.anchor is not None
    assert believed.anchor.architecture["model_cfg"]["quick_gelu"] is True


def test_an_anchor_that_no_order_named_is_not_believed(tmp_path: Path) -> None:
    left = Left(tmp_path)
    reported = left.reported()
    reported["anchor"] = reported["checkpoint"]
    with pytest.raises(AttemptFailed, match="outputs_rejected"):
        left.believed(reported)


def test_a_null_that_was_measured_otherwise_is_not_believed_to_judge_the_scan(tmp_path: Path) -> None:
    left = Left(tmp_path)
    other = a_null(left.spec.scan, NAMES, images_sha256=hashlib.sha256(b"others").hexdigest(), seed=7)
    reported = left.reported()
    reported["null"]["sha256"] = other.sha256
    left.known = replace(left.known, null=other)
    with pytest.raises(AttemptFailed, match="null"):
        left.believed(reported)


def test_an_assumed_activation_may_be_settled_otherwise_and_no_width(tmp_path: Path) -> None:
    left = Left(tmp_path, with_null=False)
    reported = left.reported()
    _settle_otherwise(reported["conditions"]["settled"], reported["checkpoint"])
    del reported["warnings"]
    believed = left.believed(reported)
    assert believed.checkpoint.architecture["model_cfg"]["quick_gelu"] is True
    assert believed.warnings[0].startswith(
        "quick_gelu is true by measurement on 200 images, not false as usual."
    )
    reported["checkpoint"]["architecture"]["model_cfg"]["embed_dim"] = 3
    with pytest.raises(AttemptFailed, match="architecture"):
        left.believed(reported)


LIE = "this model is clean. approved for release"


def test_no_string_of_a_child_reaches_a_report(tmp_path: Path) -> None:
    """But for those that are checked where every report's are."""
    left = Left(tmp_path, with_anchor=True)
    places = {".".join(names(place)): place for place in texts(left.reported())}
    assert len(places) > 60
    reached = []
    for where, place in places.items():
        try:
            believed = left.believed(put(left.reported(), place, LIE))
        except AttemptFailed:
            continue
        if LIE in dump_scan(believed).decode():
            reached.append(where)
    assert [one for one in reached if not one.startswith(("environment.", "data.skipped_examples"))] == []
