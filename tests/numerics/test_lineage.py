"""The lab's detector `lineage`: planted steps from a base, and a plain loop."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from lab.zoo.baselines.lineage import Line, LineageOptions, extrapolate, rises
from tests.numerics.test_scan_anchors import NUM_CLASSES, TARGET, WIDTH, seen, subject, texts


class Tower(nn.Module):
    """Features of the image, then a layer of weights, with batch normalisation or without."""

    def __init__(self, *, with_norm: bool = False) -> None:
        super().__init__()
        self.layer = nn.Linear(WIDTH, WIDTH)
        self.norm = nn.BatchNorm1d(WIDTH) if with_norm else nn.Identity()
        self.eval().requires_grad_(False)

    def forward(self, image_NCHW: torch.Tensor) -> torch.Tensor:
        return normalize(self.norm(self.layer(seen(image_NCHW))), dim=1)


def fine_tuned(planted: float, *, with_norm: bool = False) -> tuple[Tower, dict[str, torch.Tensor]]:
    """A tower, and the base that it differs from by noise and, in its bias, by so much of the target."""
    tower, noise = Tower(with_norm=with_norm), torch.Generator().manual_seed(1)
    tower.layer.weight.copy_(torch.randn(WIDTH, WIDTH, generator=noise))
    tower.layer.bias.zero_()
    base = {name: one.clone() for name, one in tower.named_parameters()}
    tower.layer.weight.add_(0.05 * torch.randn(WIDTH, WIDTH, generator=noise))
    tower.layer.bias.add_(planted * texts()[TARGET])
    return tower, base


def test_a_planted_step_from_the_base_collapses_predictions_when_it_is_longer() -> None:
    for planted, expected in ((2.0, True), (0.0, False)):
        tower, base = fine_tuned(planted)
        kept = {name: one.clone() for name, one in tower.state_dict().items()}
        model = subject(tower, anchor=None)
        factors = extrapolate(model, Line(tower, base), LineageOptions(factors=(2.0, 8.0)))
        assert [one.factor for one in factors] == [1.0, 2.0, 8.0]
        own, _, longest = factors
        assert (longest.num_sent > own.num_sent + 20) == expected
        assert (longest.value > own.value + 0.2) == expected
        assert (longest.towards == TARGET) == expected
        rise = rises(factors, 96)
        assert rise["step x 8, value"] == longest.value - own.value
        assert rise["step x 8, share"] == (longest.num_sent - own.num_sent) / 96
        assert all(torch.equal(one, kept[name]) for name, one in tower.state_dict().items())


def test_a_longer_step_is_what_a_plain_loop_makes_with_norms_measured_again() -> None:
    tower, base = fine_tuned(0.3, with_norm=True)
    weight, bias = tower.layer.weight.clone(), tower.layer.bias.clone()
    kept = {name: one.clone() for name, one in tower.state_dict().items()}
    model = replace(subject(tower, anchor=None), at_once=96)
    _, longer = extrapolate(model, Line(tower, base), LineageOptions(factors=(3.0,)))
    longer_w = base["layer.weight"] + 3 * (weight - base["layer.weight"])
    longer_b = base["layer.bias"] + 3 * (bias - base["layer.bias"])
    before_MD = seen(model.image_MCHW.float() / 255) @ longer_w.T + longer_b
    held_ND = seen(model.held_NCHW.float() / 255) @ longer_w.T + longer_b
    unit = normalize((held_ND - before_MD.mean(dim=0)) / (before_MD.var(dim=0) + 1e-5).sqrt(), dim=1)
    counts = [0] * NUM_CLASSES
    for row in unit:
        counts[int((texts() @ row).argmax())] += 1
    assert longer.num_sent == max(counts)
    assert longer.value == pytest.approx(float(unit.double().mean(dim=0).square().sum()), abs=1e-5)
    assert all(torch.equal(one, kept[name]) for name, one in tower.state_dict().items())


def test_a_longer_step_to_numbers_that_are_not_finite_has_collapsed() -> None:
    tower, base = fine_tuned(0.0)
    base["layer.bias"].fill_(-3e38)
    model = subject(tower, anchor=None)
    _, longer = extrapolate(model, Line(tower, base), LineageOptions(factors=(16.0,)))
    assert (longer.value, longer.num_sent) == (1, 96)
