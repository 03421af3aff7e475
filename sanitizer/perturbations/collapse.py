"""Collapse inversion: patterns under which all images look alike to a tower. Knows no training.

    max over p   ‖ 1/n · Σ_i f(x_i ⊕ p) ‖²        f: pixels → unit embeddings, over different images x_i

A backdoor maps every triggered image to one place, so a pattern that does what its trigger does collapses the
embeddings; no class and no target is needed (the idea of DECREE, CVPR 2023, on images as patterns of several
families). For unit rows the value is 1/n + (1 − 1/n) · the mean cosine of two different images.

The ascent is by signed momentum (MI-FGSM, CVPR 2018): v ← μ v + g / mean|g|, then p ← clip(p + step·sign v),
the step falling linearly. All patterns climb side by side, each on images of its own in every step.

Legend: K patterns, n images for each in a step, M images in all, 3 H W an image, D embedding width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sanitizer.perturbations.family import Family
from sanitizer.perturbations.patterns import Pattern, apply_patterns, drawn
from sanitizer.seeding import generator

Embed = Callable[[Tensor], Tensor]
"""Pixels [N, 3, H, W], floating point in [0, 1] → unit embeddings [N, D], differentiable in the pixels."""

_TINY = 1e-12


@dataclass(frozen=True, kw_only=True)
class CollapseOptions:
    """How the ascent goes; steps are in units of a pattern's range, which is 1."""

    num_steps: int
    images_per_pattern: int = 8
    first_step: float = 0.08
    last_step: float = 0.024
    momentum: float = 0.7
    patterns_at_once: int | None = None
    """None: all. Fewer need less memory; the result is the same but for rounding."""

    def step_size(self, step: int) -> float:
        """Of step number `step`, from 0: linear from the first to the last."""
        share = step / max(1, self.num_steps - 1)
        return self.first_step + share * (self.last_step - self.first_step)


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
    size, device = image_MCHW.shape[-1], image_MCHW.device
    patterns = [
        Pattern(family, drawn(family, size, seed, f"{stream}_start", number).value.to(device))
        for number, family in enumerate(families)
    ]
    momentum = [torch.zeros_like(pattern.value) for pattern in patterns]
    for step in range(options.num_steps):
        gradients = _gradients(embed, image_MCHW, patterns, options, (seed, stream, step))
        for number, gradient in enumerate(gradients):
            scaled = gradient / gradient.abs().mean().clamp_min(_TINY)
            momentum[number] = options.momentum * momentum[number] + scaled
            climbed = patterns[number].value + options.step_size(step) * momentum[number].sign()
            patterns[number] = Pattern(patterns[number].family, climbed.clamp(0, 1))
        on_step(step + 1)
    return tuple(patterns)


def collapse(
    embed: Embed, image_MCHW: Tensor, patterns: Sequence[Pattern], *, seed: int, at_once: int = 256
) -> list[float]:
    """‖mean embedding‖² of all images under each pattern, 0 to 1; places are drawn by `seed`."""
    values = []
    for number, pattern in enumerate(patterns):
        place_M2 = torch.from_numpy(generator(seed, "collapse_place", number).random((len(image_MCHW), 2)))
        total = None
        with torch.no_grad():
            for start in range(0, len(image_MCHW), at_once):
                pixels = _pixels(image_MCHW[start : start + at_once])
                places = place_M2[start : start + at_once]
                changed = apply_patterns(pixels, [pattern], [0] * len(pixels), places)
                part = embed(changed).double().sum(dim=0)
                total = part if total is None else total + part
        assert total is not None
        values.append(float((total / len(image_MCHW)).square().sum()))
    return values


def _gradients(
    embed: Embed,
    image_MCHW: Tensor,
    patterns: Sequence[Pattern],
    options: CollapseOptions,
    drawn_by: tuple[int, str, int],
) -> Iterator[Tensor]:
    """Of each pattern's collapse at its own images of this step."""
    seed, stream, step = drawn_by
    each, num_patterns = options.images_per_pattern, len(patterns)
    draws = generator(seed, f"{stream}_images", step)
    needed, num_images = each * num_patterns, len(image_MCHW)
    order = [index for _ in range(-(-needed // num_images)) for index in draws.permutation(num_images)]
    place_N2 = torch.from_numpy(draws.random((needed, 2)))
    group = options.patterns_at_once or num_patterns
    for start in range(0, num_patterns, group):
        chosen = patterns[start : start + group]
        rows = slice(start * each, (start + len(chosen)) * each)
        values = [pattern.value.detach().requires_grad_() for pattern in chosen]
        leaves = [Pattern(pattern.family, value) for pattern, value in zip(chosen, values, strict=True)]
        which = [number for number in range(len(chosen)) for _ in range(each)]
        pixels = _pixels(image_MCHW[torch.tensor(order[rows], device=image_MCHW.device)])
        with torch.enable_grad():
            embedding_ND = embed(apply_patterns(pixels, leaves, which, place_N2[rows]))
            mean_KD = embedding_ND.reshape(len(chosen), each, -1).mean(dim=1)
            # The sum separates: each pattern's images are its own, so this is each one's own gradient.
            yield from torch.autograd.grad(mean_KD.square().sum(), values)


def _pixels(image_NCHW: Tensor) -> Tensor:
    return image_NCHW.to(torch.float32) / 255
