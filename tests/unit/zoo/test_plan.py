"""The plan: every model is decided by its name."""

from typing import cast

import pytest

from lab.reproduction.grid import SEEDS
from lab.testbed import glyphs, pictures
from lab.testbed.options import TintedImage
from lab.testbed.poisoned_pairs import poisoned_set
from lab.zoo import plan
from lab.zoo.plan import BEDS, CLEAN_SPLITS, SPLITS, BedName, in_order, model

ALL_BEDS = cast(tuple[BedName, ...], tuple(BEDS))


def test_no_two_models_share_a_seed_and_none_has_a_seed_of_the_reproduction() -> None:
    seeds = [one.seed for one in in_order(SPLITS, ALL_BEDS)]
    assert len(set(seeds)) == len(seeds) == 3 * (60 + 30 + 40 + 60 + 60)
    assert not set(seeds) & set(SEEDS)


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
