"""A changed figure is named, in a folder that nobody signed and whose sums were made again."""

import json
from pathlib import Path
from typing import Any

import pytest

from cleanclip.evidence.verification import Verification, verify
from tests.fixtures.evidence import edit_json, sum_again
from tests.fixtures.places import Steps, numbers, put
from tests.suites import mostly_full


def forged(folder: Path, path: Steps, value: Any) -> Verification:
    edit_json(folder / "report.json", lambda report: put(report, path, value))
    sum_again(folder)
    return verify(folder)


def spelled(path: Steps) -> str:
    return ".".join(map(str, path))


_OF_THE_MEASUREMENT = {"num_templates", "num_compared", "num_image_passes", "num_text_passes", "chance"}
"""How settings were measured: no other figure of the report follows from it, or they from another."""


@pytest.mark.full  # daily: a number of each kind, tests/unit/cleanclip/test_each_lie.py
def test_every_number_of_a_report_is_held_to_the_others(unsigned: Path) -> None:
    original = (unsigned / "report.json").read_bytes()
    curve = len(json.loads(original)["training"]["curve"])
    num_tried = 0
    for path, value in numbers(json.loads(original)):
        if path[:2] == ("training", "curve") and path[2] not in {0, curve - 1}:
            continue  # one point is as another
        if path[0] == "architecture" and path[1] in _OF_THE_MEASUREMENT:
            continue
        if path[0] == "examples":
            continue  # they stand in no figure; the worker holds their seed to the order
        changed = value + 1 if isinstance(value, int) else value * 0.97 + 0.001
        found = forged(unsigned, path, changed)
        named = [one for one in found.findings if one.file == "report.json"]
        assert named, f"{spelled(path)}: nothing noticed"
        # The place itself is named, or the whole that it is a part of (an estimate, the recipe).
        places = [one.where or one.message.partition("(")[2].partition(":")[0] for one in named]
        assert any(_is_about(place, spelled(path)) for place in places), (spelled(path), places)
        num_tried += 1
        (unsigned / "report.json").write_bytes(original)
    assert num_tried > 400
    sum_again(unsigned)
    assert verify(unsigned).holds


def _is_about(place: str, path: str) -> bool:
    """Whether a finding at `place` points at `path`, at what holds it, or at its counterpart."""
    place = place.replace("[", ".").replace("]", "")
    holder, first = path.rpartition(".")[0], path.partition(".")[0]
    if first in {"policy", "audit", "before", "after", "ca_lost"} and place.startswith("verdict."):
        return True  # which follows from them
    return path.startswith(place) or place.startswith(holder) or place.partition(".")[0] == first


@pytest.mark.parametrize(
    "value", mostly_full([10**4000, -1, 1e308, None, "1"], daily=[-1, None]), ids=range(5)
)
def test_no_number_however_odd_crashes_the_check(unsigned: Path, value: Any) -> None:
    original = (unsigned / "report.json").read_bytes()
    for path, _ in list(numbers(json.loads(original)))[::11]:
        assert not forged(unsigned, path, value).holds, spelled(path)
        (unsigned / "report.json").write_bytes(original)


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        (("verdict", "outcome"), "undecided", "verdict.outcome"),
        (("verdict", "attacks", 0, "outcome"), "inconclusive", "verdict.attacks[0].outcome"),
        (("policy", "asr_at_most"), 0.2, "verdict.attacks[0].reason"),
        (("audit", "gate"), 0.1, "audit"),
        (("recipe", "epochs"), 11, "recipe"),
        (("data", 1, "num_skipped"), 3, "before.ca.n"),
        (("data", 0, "sha256"), "0" * 64, "data[0].sha256"),
        (("after", "weights_sha256"), "0" * 64, "after.weights_sha256"),
        (("checkpoint", "upload_sha256"), "0" * 64, "checkpoint.upload_sha256"),
        (("training", "wall_s"), 3.2, "training"),
        (("training", "curve", 1, "loss"), 0.1, "training.curve[1]"),
        (("environment", "torch"), "9.9", "environment"),
        (("before", "attacks", 0, "trigger_sha256"), "1" * 64, None),
        (("checkpoint", "scanners", 0, "num_issues"), 3, "checkpoint.scanners[0].num_issues"),
        (("checkpoint", "scanners", 1, "num_issues"), 1, "checkpoint.scanners[1].num_issues"),
        (("checkpoint", "scanners", 0, "verdict"), "nothing_found", "checkpoint.scanners[0].verdict"),
        (("checkpoint", "scanners", 1, "verdict"), "nothing_found", "checkpoint"),
        (("checkpoint", "architecture", "model_cfg", "embed_dim"), 25, "checkpoint.architecture"),
        (("checkpoint", "declared", "num_heads_text"), 3, "checkpoint"),
        (("checkpoint", "layout"), "research", "checkpoint"),
        (("data", 1, "num_classes"), 7, "data"),
        (("verdict", "attacks", 0, "reason"), "About 7 images.", "verdict.attacks[0].reason"),
        (("warnings", 0), "640 clean pairs for 6 classes are fewer than 75 a class.", "warnings[0]"),
        (("training", "resumed_from_steps"), [10], "training"),
        (("origin", "job_id"), "job_2", "origin.job_id"),
        (("origin", "filename"), "another.pt", "origin.filename"),
    ],
)
def test_a_changed_figure_is_named(unsigned: Path, path: Steps, value: Any, where: str | None) -> None:
    found = forged(unsigned, path, value)
    assert where in [one.where for one in found.findings], [str(one) for one in found.findings]


@pytest.mark.parametrize("sentence", ["About 7 images.", "This model is clean. Approved for release."])
def test_a_sentence_of_the_verdict_must_be_the_one_that_follows(unsigned: Path, sentence: str) -> None:
    found = forged(unsigned, ("verdict", "attacks", 0, "reason"), sentence)
    assert "verdict.attacks[0].reason" in [one.where for one in found.findings]


def test_the_architecture_is_that_of_the_configuration_beside_it(unsigned: Path) -> None:
    (unsigned / "config.json").write_text(json.dumps({"model_cfg": {"embed_dim": 512}, "preprocess_cfg": {}}))
    assert "checkpoint.architecture" in [one.where for one in verify(unsigned).findings]


def test_the_curve_is_the_same_in_both_files(unsigned: Path) -> None:
    edit_json(unsigned / "training_curve.json", lambda curve: put(curve, ("points", 2, "loss"), 1.0))
    sum_again(unsigned)
    assert [one.where for one in verify(unsigned).findings] == ["training.curve[2]"]


def test_without_new_sums_the_report_is_also_told_by_its_digest(unsigned: Path) -> None:
    edit_json(unsigned / "report.json", lambda report: put(report, ("before", "ca", "value"), 0.99))
    messages = [str(one) for one in verify(unsigned).findings]
    assert any(one.startswith("report.json: ") and "size differs" in one for one in messages)
    assert any("before.ca.value is 0.99, but" in one for one in messages)


def test_a_change_that_keeps_the_size_is_told_by_the_digest(unsigned: Path) -> None:
    weights = bytearray((unsigned / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (unsigned / "model.safetensors").write_bytes(weights)
    assert "model.safetensors" in [one.file for one in verify(unsigned).findings]


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_a_report_of_another_version_is_not_waved_through(unsigned: Path, version: Any) -> None:
    found = forged(unsigned, ("schema_version",), version)
    assert "is not a report that this version reads" in str(found.findings[0])
