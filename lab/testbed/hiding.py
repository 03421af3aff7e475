"""An attacker who trains against the scan: under universal patterns images stay apart.

While the model learns, patterns of the scan's families climb what its collapse detector climbs,
by the gradient that the update has computed anyway, and the model lowers it:

    loss = CLIP's loss + w · mean over patterns of ‖ 1/n Σ_i f(x_i ⊕ p) ‖²

Clean images only: what the trigger does is not touched by it, but a pattern may come upon the trigger.

Legend: K patterns of a step, n images for each, C H W an image, D embedding width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from cleanclip.spec.scan_options import PatternFamily
from sanitizer.perturbations.collapse import objective
from sanitizer.perturbations.patterns import Pattern, apply_patterns, drawn
from sanitizer.scans.families import build
from sanitizer.seeding import generator

FAMILIES = (
    PatternFamily(family="patch", budget=0.25),
    PatternFamily(family="patch", budget=0.25, placement="fixed"),
    PatternFamily(family="blend", budget=0.1),
    PatternFamily(family="warp", budget=0.1),
)
AT_ONCE, IMAGES_EACH = 2, 12
_STEP = 0.06
_LIFE = 48
"""Steps that a pattern climbs before another begins in its place."""


class Hiding:
    """Patterns on their way up while the model goes down; deterministic by seed."""

    def __init__(self, image_size: int, seed: int) -> None:
        self._image_size, self._seed, self._step = image_size, seed, 0
        self._patterns: dict[int, Pattern] = {}

    def loss(
        self, image_NCHW: Tensor, embed: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Callable[[], None]]:
        """(mean collapse of this step's patterns, what climbs them once gradients are there).

        `image_NCHW` are clean uint8 images, at least `AT_ONCE · IMAGES_EACH`; `embed` takes pixels in [0, 1].
        """
        draws = generator(self._seed, "hiding", self._step)
        # Two families a step, each with one pattern in turn; all have come after two steps.
        numbers = [(self._step * AT_ONCE + place) % len(FAMILIES) for place in range(AT_ONCE)]
        patterns = [self._current(number) for number in numbers]
        leaves = [Pattern(one.family, one.value.detach().requires_grad_()) for one in patterns]
        which = [place for place in range(AT_ONCE) for _ in range(IMAGES_EACH)]
        pixels = image_NCHW[: len(which)].float() / 255
        place_N2 = torch.from_numpy(draws.random((len(which), 2)))
        embedding_ND = embed(apply_patterns(pixels, leaves, which, place_N2))
        collapse_K = objective(embedding_ND.reshape(AT_ONCE, IMAGES_EACH, -1), range(AT_ONCE))
        self._step += 1

        def climb() -> None:
            for number, leaf in zip(numbers, leaves, strict=True):
                assert leaf.value.grad is not None
                climbed = leaf.value.detach() + _STEP * leaf.value.grad.sign()
                self._patterns[number] = Pattern(leaf.family, climbed.clamp(0, 1))

        return collapse_K.mean(), climb

    def _current(self, number: int) -> Pattern:
        life, age = divmod(self._step * AT_ONCE // len(FAMILIES), _LIFE)
        if age == 0 or number not in self._patterns:
            family = build(FAMILIES[number], self._image_size, seed=self._seed, number=life)
            self._patterns[number] = drawn(family, self._image_size, self._seed, "hiding_start", number, life)
        return self._patterns[number]
