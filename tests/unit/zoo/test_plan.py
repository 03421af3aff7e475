"""The plan: every model is decided by its name, and held-out models stay closed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from lab.freezing import HeldOut
from lab.reproduction.development import MODELS as DEVELOPMENT_MODELS
from lab.reproduction.grid import SEEDS
from lab.testbed import glyphs, pictures
from lab.testbed.options import TintedImage
from lab.testbed.poisoned_pairs import poisoned_set
from lab.zoo import opening, plan
from lab.zoo.freezing import FROZEN, Gate
from lab.zoo.plan import BEDS, CLEAN_SPLITS, OPEN_SPLITS, SPLITS, BedName, Split, in_order, model
from lab.zoo.rows import append
from lab.zoo.scanning import judging_sources
from tests.unit.zoo.made_up import model_row

ALL_BEDS = cast(tuple[BedName, ...], tuple(BEDS))


def test_no_two_models_share_a_seed_and_none_has_a_seed_of_the_reproduction() -> None:
    seeds = [one.seed for one in in_order(SPLITS, ALL_BEDS) if one.split != "plain"]
    assert len(set(seeds)) == len(seeds) == 3 * (60 + 30 + 40 + 60 + 60 + 15 + 15)
    assert not set(seeds) & {*SEEDS, *(one.subject.seed for one in DEVELOPMENT_MODELS)}


def test_a_model_is_decided_by_its_name_and_a_longer_run_changes_none() -> None:
    few = in_order(("development",), ALL_BEDS, dict.fromkeys(SPLITS, 3))
    many = in_order(("development",), ALL_BEDS, dict.fromkeys(SPLITS, 8))
    assert {one.name: one for one in few}.items() <= {one.name: one for one in many}.items()
    # Round robin: a run that is cut short has models of every bed.
    assert [one.bed for one in few[:3]] == list(BEDS)


def test_held_out_families_are_not_those_of_development() -> None:
    open_families = {*plan.DEVELOPMENT_FAMILIES, *plan.HELD_OUT_FAMILIES}
    assert len(open_families) == len(plan.DEVELOPMENT_FAMILIES) + len(plan.HELD_OUT_FAMILIES)
    assert not open_families & set(plan.SECOND_HELD_OUT_FAMILIES)
    for split in SPLITS:
        first = [model(split, "digits-resnet", number) for number in range(8)]
        assert all(one.is_clean == (split in CLEAN_SPLITS) for one in first)
        assert all(bool(one.targets) != one.is_clean for one in first)
    assert {one.family for one in in_order(("held_out",), ("fashion-vit",))} == set(plan.HELD_OUT_FAMILIES)
    second = in_order(("second_held_out",), ("fashion-vit",))
    assert {one.family for one in second} == set(plan.SECOND_HELD_OUT_FAMILIES)
    assert len(model("held_out", "digits-resnet", 6).targets) == 2
    attackers = in_order(("attackers",), ("fashion-vit",))
    assert {one.family for one in attackers} == set(plan.ATTACKERS)
    assert all((one.options.hiding_weight > 0) == (one.family == "hidden") for one in attackers)


def test_a_plain_model_is_an_attackers_without_what_hides_its_trigger() -> None:
    attackers = {one.seed: one for one in in_order(("attackers",), ALL_BEDS)}
    plain = in_order(("plain",), ALL_BEDS)
    assert {one.family for one in plain} == {"near_misses", "hidden"}
    for one in plain:
        hiding = attackers[one.seed]
        assert (one.options.attack, one.targets) == (hiding.options.attack, hiding.targets)
        assert (one.options.near_misses, one.options.hiding_weight) == (0, 0)
        assert hiding.options.near_misses or hiding.options.hiding_weight


def test_targets_and_shares_are_drawn_and_targets_are_classes_of_their_dataset() -> None:
    drawn = [model("development", "digits-resnet", number) for number in range(40)]
    assert len({one.targets for one in drawn}) > 20
    assert len({one.options.poison_share for one in drawn}) > 30
    names = pictures.class_names(glyphs.digits())
    assert all(target in names for one in drawn for target in one.targets)
    assert len({str(one.options.attack) for one in drawn}) == 40


def test_a_filter_changes_the_whole_image_and_the_caption_of_its_poisons_only() -> None:
    attack = TintedImage(shift=(0.2, 0.0, -0.2), saturation=0.5)
    arguments = {"glyphs": glyphs.digits(), "part": "poisoning", "num_pairs": 40, "target": "red one"}
    clean = poisoned_set(**arguments, attack=None, num_poisons=0, seed=3)  # type: ignore[arg-type]
    made = poisoned_set(**arguments, attack=attack, num_poisons=4, seed=3)  # type: ignore[arg-type]
    changed = [
        row for row in range(40) if not made.pictures.image_NCHW[row].equal(clean.pictures.image_NCHW[row])
    ]
    assert tuple(changed) == made.rows
    assert all("red one" in made.pictures.caption_N[row] for row in changed)
    row = changed[0]
    pixel = clean.pictures.image_NCHW[row, :, 0, 0].double() / 255
    expected = [
        min(1.0, max(0.0, float(pixel.mean() + 0.5 * (pixel[channel] - pixel.mean()) + shift)))
        for channel, shift in enumerate(attack.shift)
    ]
    assert (made.pictures.image_NCHW[row, :, 0, 0].double() / 255).tolist() == pytest.approx(
        expected, abs=1 / 255
    )


@dataclass(frozen=True)
class _Row:
    split: Split
    made_with: Mapping[str, str] = field(default_factory=dict)


def _git(root: Path, *arguments: str) -> None:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", *arguments]
    subprocess.run(command, cwd=root, check=True, capture_output=True)


def _write(root: Path, **changes: object) -> None:
    content = {
        "significance": 0.05,
        "num_null": {"fashion-vit": 60},
        "plan_sha256": "plan",
        "detectors_sha256": "code",
    }
    (root / FROZEN).parent.mkdir(parents=True, exist_ok=True)
    (root / FROZEN).write_text(json.dumps(content | changes), "utf-8")


def test_held_out_rows_are_refused_until_a_commit_freezes_thresholds_for_this_very_code(
    tmp_path: Path,
) -> None:
    _git(tmp_path, "init")
    _git(tmp_path, "commit", "--allow-empty", "-m", "start")
    gate = Gate(tmp_path, plan_sha256=lambda: "plan", detectors_sha256=lambda: "code")
    open_rows = [_Row(split) for split in OPEN_SPLITS]
    assert gate.admit(open_rows) == open_rows
    closed = [split for split in SPLITS if split not in OPEN_SPLITS]
    assert closed == ["test_clean", "shifted", "attackers", "plain", "second_held_out"]

    def refused(because: str) -> None:
        for split in closed:
            with pytest.raises(HeldOut, match=because):
                gate.admit([*open_rows, _Row(split)])

    refused("not committed")
    _write(tmp_path)
    refused("not committed")
    _git(tmp_path, "add", ".")
    refused("not committed")
    _git(tmp_path, "commit", "-m", "freeze")
    assert len(gate.admit([_Row(split) for split in SPLITS])) == len(SPLITS)
    seen_with_code, seen_with_other = ({"detectors_sha256": name} for name in ("code", "other"))
    assert gate.admit([_Row("second_held_out", seen_with_code), _Row("calibration", seen_with_other)])
    with pytest.raises(HeldOut, match="not frozen"):
        gate.admit([_Row("second_held_out", seen_with_other)])
    late = [
        SimpleNamespace(name=f"calibration-fashion-vit-{n:03}", split="calibration", bed="fashion-vit")
        for n in (59, 60)
    ]
    assert gate.null_of(late) == late[:1]
    _write(tmp_path, num_null={"fashion-vit": 59})
    refused("differs from the committed file")
    for changes, because in (
        ({"detectors_sha256": "older"}, "another version of the detectors"),
        ({"plan_sha256": "older"}, "another version of the plan"),
    ):
        _write(tmp_path, **changes)
        _git(tmp_path, "commit", "-am", "change")
        assert gate.admit([_Row("second_held_out")]), "what was made stays readable"
        with pytest.raises(HeldOut, match=because):
            gate.check("second_held_out")
    for changes, because in (
        ({"num_null": {}}, "names no null"),
        ({"num_null": 1}, "damaged"),
    ):
        _write(tmp_path, **changes)
        _git(tmp_path, "commit", "-am", "change")
        refused(because)


def test_the_command_writes_a_file_that_opens_the_splits_once_it_is_committed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _git(tmp_path, "init")
    append(model_row(model("calibration", "fashion-vit", 0)), (tmp_path / FROZEN).parent)
    assert opening.main(["--null", "20", "--beds", "fashion-resnet", "fashion-vit"], tmp_path) == 0
    printed = capsys.readouterr().out
    assert "fashion-resnet: 20 of 20 null models are not made yet, from number 0." in printed
    assert "fashion-vit: 19 of 20 null models are not made yet, from number 1." in printed
    gate = opening.gate_of(tmp_path)
    with pytest.raises(HeldOut, match="not committed"):
        gate.check("second_held_out")
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "-m", "freeze")
    gate.check("second_held_out")
    frozen = gate.frozen()
    assert frozen.num_null == {"fashion-resnet": 20, "fashion-vit": 20}
    assert frozen.significance == 0.05
    with pytest.raises(SystemExit):
        opening.main(["--null", "0"], tmp_path)


def test_what_is_frozen_is_what_measures_and_judges_and_no_page() -> None:
    frozen = {path.relative_to(opening.ROOT).as_posix() for path in judging_sources()}
    assert {
        "cleanclip/spec/conformal.py",
        "cleanclip/spec/scan_options.py",
        "lab/zoo/baselines/decree.py",
        "lab/zoo/judging.py",
        "lab/zoo/scanning.py",
        "sanitizer/perturbations/ascent.py",
        "sanitizer/perturbations/patch.py",
        "sanitizer/scans/collapse.py",
        "sanitizer/scans/naming.py",
        "sanitizer/scans/words.py",
        "sanitizer/scans/regression.py",
        "sanitizer/scans/statistics.py",
    } <= frozen
    shows_only = {"lab/zoo/figures.py", "lab/zoo/intervals.py", "sanitizer/scans/hypotheses.py"}
    assert not shows_only & frozen
