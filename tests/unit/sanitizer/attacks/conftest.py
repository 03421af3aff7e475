"""Images to trigger, and one set of options for every attack in every variant."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sanitizer.recipe import (
    AttackOptions,
    BadNetOptions,
    BlendedOptions,
    LabelConsistentOptions,
    SIGOptions,
    WaNetOptions,
)

EVERY_ATTACK: dict[str, AttackOptions] = {
    "badnet": BadNetOptions(),
    "badnet-fixed": BadNetOptions(pattern="gaussian_fixed", size=5 / 32),
    "badnet-checkerboard": BadNetOptions(pattern="checkerboard", placement="centre"),
    "badnet-yellow": BadNetOptions(pattern="yellow", placement="four_corners"),
    "badnet-white": BadNetOptions(pattern="white", placement="bottom_right", size=0.25),
    "blended": BlendedOptions(),
    "blended-fixed": BlendedOptions(pattern="uniform_fixed", alpha=0.5),
    "wanet": WaNetOptions(),
    "wanet-research": WaNetOptions(control_points=None, strength=1.0),
    "sig": SIGOptions(),
    "sig-blended": SIGOptions(blend=0.2),
    "label_consistent": LabelConsistentOptions(),
}


@pytest.fixture(params=EVERY_ATTACK.values(), ids=list(EVERY_ATTACK))
def options(request: pytest.FixtureRequest) -> AttackOptions:
    chosen: AttackOptions = request.param
    return chosen


def random_images(num_images: int, height: int, width: int | None = None) -> Tensor:
    """float32 [N, 3, H, W] of 8-bit pixels in [0, 1]."""
    generator = torch.Generator().manual_seed(height * 1000 + num_images)
    shape = (num_images, 3, height, width or height)
    return torch.randint(0, 256, shape, generator=generator).float() / 255
