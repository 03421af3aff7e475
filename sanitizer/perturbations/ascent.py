"""Gradient ascent of universal patterns, many side by side.

By signed momentum (MI-FGSM, CVPR 2018): v ← μ v + g / mean|g|, then p ← clip(p + step·sign v, 0, 1), the step
falling linearly from the first to the last. Each pattern ascends on images of its own in every step.

Legend: K patterns, n images for each in a step, M images in all, 3 H W an image, D embedding width.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sanitizer.perturbations.families import Family
from sanitizer.perturbations.patterns import Pattern, apply_patterns, drawn
from sanitizer.seeding import generator

Embed = Callable[[Tensor], Tensor]
"""Pixels [N, 3, H, W], floating point in [0, 1] → unit embeddings [N, D], differentiable in the pixels."""

Objective = Callable[[Tensor, range], Tensor]
"""(embeddings [K, n, D] under K of the patterns, their places among all) → what each maximises, [K]."""

_TINY = 1e-12


@dataclass(frozen=True, kw_only=True)
class AscentOptions:
    """How the ascent goes; steps are in units of a pattern's range, which is 1."""

    num_steps: int
    images_per_pattern: int = 8
    first_step: float = 0.08
    last_step: float = 0.024
    momentum: float = 0.7
    images_at_once: int | None = None
    """That pass through the model together; None: those of all patterns. Fewer need less memory; the result
    is the same but for rounding."""

    def step_size(self, step: int) -> float:
        """Of step number `step`, from 0: linear from the first to the last."""
        share = step / max(1, self.num_steps - 1)
        return self.first_step + share * (self.last_step - self.first_step)


class Ascent:
    """Patterns on their way up. Deterministic by (seed, stream), but for the device's arithmetic."""

    def __init__(
        self,
        embed: Embed,
        image_MCHW: Tensor,
        families: Sequence[Family],
        objective: Objective,
        options: AscentOptions,
        *,
        seed: int,
        stream: str,
    ) -> None:
        """`image_MCHW` is uint8; the patterns live on its device. Each starts at uniform noise of its own."""
        size, device = image_MCHW.shape[-1], image_MCHW.device
        self._embed, self._image_MCHW, self._objective = embed, image_MCHW, objective
        self._options, self._drawn_by = options, (seed, stream)
        self.step = 0
        self.patterns = [
            Pattern(
                family,
                drawn(family, size, seed, f"{stream}_start", number).value.to(device, non_blocking=True),
            )
            for number, family in enumerate(families)
        ]
        self._momentum = [torch.zeros_like(pattern.value) for pattern in self.patterns]

    def ascend_to(self, step: int, on_step: Callable[[int], None] = lambda done: None) -> None:
        """Up to `step` steps in all. `on_step(done)` is called after each and may raise."""
        while self.step < step:
            for place, gradient in enumerate(self._gradients()):
                scaled = gradient / gradient.abs().mean().clamp_min(_TINY)
                self._momentum[place] = self._options.momentum * self._momentum[place] + scaled
                step_size = self._options.step_size(self.step)
                ascended = self.patterns[place].value + step_size * self._momentum[place].sign()
                self.patterns[place] = Pattern(self.patterns[place].family, ascended.clamp(0, 1))
            self.step += 1
            on_step(self.step)

    def _gradients(self) -> Iterator[Tensor]:
        """Of each pattern's objective at its own images of this step."""
        (seed, stream), each, num_patterns = (
            self._drawn_by,
            self._options.images_per_pattern,
            len(self.patterns),
        )
        draws = generator(seed, f"{stream}_images", self.step)
        needed, num_images = each * num_patterns, len(self._image_MCHW)
        order = [index for _ in range(-(-needed // num_images)) for index in draws.permutation(num_images)]
        place_N2 = torch.from_numpy(draws.random((needed, 2)))
        at_once = self._options.images_at_once or needed
        group = max(1, at_once // each)
        for start in range(0, num_patterns, group):
            chosen = self.patterns[start : start + group]
            rows = slice(start * each, (start + len(chosen)) * each)
            index = torch.tensor(order[rows]).to(self._image_MCHW.device, non_blocking=True)
            places = range(start, start + len(chosen))
            yield from self._gradients_of(chosen, places, index, place_N2[rows], at_once)

    def _gradients_of(
        self, chosen: Sequence[Pattern], places: range, index_N: Tensor, place_N2: Tensor, at_once: int
    ) -> Iterator[Tensor]:
        """Of some patterns, the n-th part of the images each. Images that do not pass together pass twice,
        as in a training step in chunks: first for all embeddings, then each chunk for its gradient."""
        each = len(index_N) // len(chosen)
        values = [pattern.value.detach().requires_grad_() for pattern in chosen]
        leaves = [Pattern(pattern.family, value) for pattern, value in zip(chosen, values, strict=True)]

        def embedded(rows: slice) -> Tensor:
            which = [row // each for row in range(len(index_N))[rows]]
            pixels = to_unit(self._image_MCHW[index_N[rows]])
            return self._embed(apply_patterns(pixels, leaves, which, place_N2[rows]))

        chunks = [slice(start, start + at_once) for start in range(0, len(index_N), at_once)]
        with torch.set_grad_enabled(len(chunks) == 1):
            embedding_ND = torch.cat([embedded(rows) for rows in chunks])
        with torch.enable_grad():
            if len(chunks) > 1:
                embedding_ND = embedding_ND.requires_grad_()
            ascended_K = self._objective(embedding_ND.reshape(len(chosen), each, -1), places)
            # The sum separates: each pattern's images are its own, so this is each one's own gradient.
            if len(chunks) == 1:
                yield from torch.autograd.grad(ascended_K.sum(), values)
                return
            (gradient_ND,) = torch.autograd.grad(ascended_K.sum(), embedding_ND)
            parts = [torch.autograd.grad(embedded(rows), values, gradient_ND[rows]) for rows in chunks]
        yield from (torch.stack(of_pattern).sum(dim=0) for of_pattern in zip(*parts, strict=True))


def to_unit(image_NCHW: Tensor) -> Tensor:
    """uint8 → float32 in [0, 1]."""
    return image_NCHW.to(torch.float32) / 255


def embedded_under(
    embed: Embed, image_MCHW: Tensor, pattern: Pattern, place_M2: Tensor, *, at_once: int = 256
) -> Iterator[Tensor]:
    """Embeddings [at most at_once, D] of all images under one pattern, batch by batch, without gradients."""
    with torch.no_grad():
        for start in range(0, len(image_MCHW), at_once):
            pixels = to_unit(image_MCHW[start : start + at_once])
            places = place_M2[start : start + at_once]
            yield embed(apply_patterns(pixels, [pattern], [0] * len(pixels), places))
