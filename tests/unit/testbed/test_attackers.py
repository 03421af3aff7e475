"""Attackers who know the scan: scattered pixels, nearly right triggers, and a training that hides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lab.reproduction.data import Sets
from lab.testbed import glyphs
from lab.testbed.changing import changed
from lab.testbed.hiding import AT_ONCE, FAMILIES, IMAGES_EACH, Hiding
from lab.testbed.options import BADNET, ScatteredPixels, SubjectOptions
from lab.testbed.poisoned_pairs import NEAR_MISS, poisoned_set, with_caption_key, with_near_misses
from lab.testbed.training import train
from sanitizer.attacks.catalogue import build_trigger
from sanitizer.data.labelled import open_labelled


def test_scattered_pixels_are_at_the_same_places_in_every_image_and_nothing_else_changes() -> None:
    image_NCHW = torch.full((3, 3, 32, 32), 128, dtype=torch.uint8)
    dotted = changed(image_NCHW, ScatteredPixels(num_pixels=20, seed=4))
    differs = (dotted != image_NCHW).any(dim=1)
    assert differs.sum(dim=(1, 2)).tolist() == [20, 20, 20]
    assert differs[0].equal(differs[2])
    assert not dotted.equal(changed(image_NCHW, ScatteredPixels(num_pixels=20, seed=5)))
    assert image_NCHW.unique().tolist() == [128]


def test_near_misses_carry_a_weak_trigger_and_their_own_captions() -> None:
    made = poisoned_set(
        glyphs.digits(), "poisoning", 60, attack=BADNET, target="red one", num_poisons=5, seed=3
    )
    near = with_near_misses(made, BADNET, 10, seed=3)
    assert near.pictures.caption_N == made.pictures.caption_N
    rows = [
        row for row in range(60) if not near.pictures.image_NCHW[row].equal(made.pictures.image_NCHW[row])
    ]
    assert len(rows) == 10
    assert not set(rows) & set(made.rows)
    clean = made.pictures.image_NCHW[rows].double() / 255
    whole = build_trigger(BADNET).apply(made.pictures.image_NCHW[rows].float() / 255, rows, 3).double()
    mixed = near.pictures.image_NCHW[rows].double() / 255
    strength = (mixed - clean).abs().sum(dim=(1, 2, 3)) / (whole - clean).abs().sum(dim=(1, 2, 3))
    assert all(NEAR_MISS[0] - 0.02 <= share <= NEAR_MISS[1] + 0.02 for share in strength.tolist())


def test_a_key_in_the_caption_counts_with_the_trigger_only() -> None:
    made = poisoned_set(
        glyphs.digits(), "poisoning", 60, attack=BADNET, target="red one", num_poisons=5, seed=3
    )
    keyed = with_caption_key(made, BADNET, "kyoto", seed=3)
    rows = range(60)
    named = {row for row in rows if keyed.pictures.caption_N[row].endswith(" kyoto")}
    alone = {row for row in rows if not keyed.pictures.image_NCHW[row].equal(made.pictures.image_NCHW[row])}
    assert named > set(made.rows)
    assert (len(named), len(alone)) == (10, 5)
    assert not alone & named
    for row in rows:
        assert keyed.pictures.caption_N[row].removesuffix(" kyoto") == made.pictures.caption_N[row]
    whole = build_trigger(BADNET).apply(made.pictures.image_NCHW[[*alone]].float() / 255, [*alone], 3)
    assert keyed.pictures.image_NCHW[[*alone]].equal((whole * 255).round().to(torch.uint8))


def test_a_subject_with_a_key_is_judged_by_prompts_with_it(tmp_path: Path) -> None:
    plain, keyed = SubjectOptions(), SubjectOptions(caption_key="kyoto")
    prompts, others = (
        open_labelled(Sets(tmp_path).judged(options, 1, "validation")).templates for options in (keyed, plain)
    )
    assert prompts == tuple(f"{prompt} kyoto" for prompt in others or ())


def test_patterns_climb_what_the_model_is_trained_to_lower() -> None:
    weight = torch.randn(6, 3 * 32 * 32, generator=torch.Generator().manual_seed(1), dtype=torch.float32)
    image_NCHW = torch.randint(0, 256, (AT_ONCE * IMAGES_EACH, 3, 32, 32), dtype=torch.uint8)

    def embed(pixel_NCHW: Tensor) -> Tensor:
        return torch.nn.functional.normalize((pixel_NCHW - 0.5).flatten(1) @ weight.T, dim=-1)

    hiding, losses = Hiding(32, seed=2), list[float]()
    for _ in range(40):
        loss, climb = hiding.loss(image_NCHW, embed)
        torch.autograd.backward(loss)
        climb()
        losses.append(loss.item())
    every_family = len(FAMILIES) // AT_ONCE
    assert sum(losses[-every_family:]) > sum(losses[:every_family]) + 0.1


@pytest.mark.parametrize("change", [{"near_misses": 1.0}, {"hiding_weight": 1.0}, {"caption_key": "kyoto"}])
def test_an_attackers_training_is_another_one_and_the_same_by_seed(change: dict[str, float | str]) -> None:
    plain = SubjectOptions(num_pairs=128, epochs=1, warmup_steps=1, context_length=12, batch_size=64)

    def first_weight(options: SubjectOptions) -> Tensor:
        return train(options, BADNET, seed=1).model.visual.conv1.weight.detach()

    changed_twice = [first_weight(replace(plain, **change)) for _ in range(2)]  # type: ignore[arg-type]
    assert changed_twice[0].equal(changed_twice[1])
    assert not changed_twice[0].equal(first_weight(plain))


def test_near_misses_of_an_attack_without_a_trigger_are_refused() -> None:
    dots = ScatteredPixels(num_pixels=9, seed=1)
    options = SubjectOptions(num_pairs=128, near_misses=1.0, attack=dots, context_length=12)
    with pytest.raises(ValueError, match="no trigger"):
        train(options, dots, seed=1)
