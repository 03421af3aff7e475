"""Collapse inversion: patterns under which all images look alike to a tower.

    max over p   ‖ 1/n · Σ_i f(x_i ⊕ p) ‖²        f: pixels → unit embeddings, over different images x_i

A backdoor maps every triggered image to one place, so a pattern that does what its trigger does collapses the
embeddings; no class and no target is needed (the idea of DECREE, CVPR 2023, on images as patterns of several
families). For unit rows the value is 1/n + (1 − 1/n) · the mean cosine of two different images.

Legend: K patterns, n images for each in a step, M images in all, 3 H W an image, D embedding width.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sanitizer.perturbations.ascent import Ascent, AscentOptions, Embed, embedded_under
from sanitizer.perturbations.families import Family
from sanitizer.perturbations.patterns import Pattern
from sanitizer.seeding import generator

CollapseOptions = AscentOptions


def objective(embedding_KND: Tensor, _places: range) -> Tensor:
    """[K]: the squared length of each pattern's mean embedding."""
    return embedding_KND.mean(dim=1).square().sum(dim=1)


def invert(
    embed: Embed,
    image_MCHW: Tensor,
    families: Sequence[Family],
    options: CollapseOptions,
    *,
    seed: int,
    stream: str = "collapse",
    on_step: Callable[[int], None] = lambda done: None,
) -> tuple[Pattern, ...]:
    """One pattern for each entry of `families`, on the device of `image_MCHW`, which is uint8.

    Deterministic by (seed, stream), but for the device's arithmetic. `on_step(done)` is called after each
    step and may raise, which ends the inversion.
    """
    ascent = Ascent(embed, image_MCHW, families, objective, options, seed=seed, stream=stream)
    ascent.ascend_to(options.num_steps, on_step)
    return tuple(ascent.patterns)


def collapse(
    embed: Embed, image_MCHW: Tensor, patterns: Sequence[Pattern], *, seed: int, at_once: int = 256
) -> list[float]:
    """‖mean embedding‖² of all images under each pattern, 0 to 1; places are drawn by `seed`."""
    values = []
    for number, pattern in enumerate(patterns):
        place_M2 = torch.from_numpy(generator(seed, "collapse_place", number).random((len(image_MCHW), 2)))
        parts = embedded_under(embed, image_MCHW, pattern, place_M2, at_once=at_once)
        total_D = torch.stack([part.double().sum(dim=0) for part in parts]).sum(dim=0)
        values.append(float((total_D / len(image_MCHW)).square().sum()))
    return values
