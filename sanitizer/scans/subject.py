"""The model that is scanned and the images it is scanned with, decoded once.

Legend: M images to invert on, N held-out images, 3 H W an image, C classes, D embedding width.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from cleanclip.vocabulary.errors import CheckpointRejected, OptionsRejected
from sanitizer.checkpoints.rejection import embeddings_not_finite
from sanitizer.perturbations.ascent import Embed, to_unit
from sanitizer.perturbations.patterns import Pattern, apply_patterns
from sanitizer.scans.meter import Meter
from sanitizer.seeding import generator

_ALL_ALIKE = 1 - 1e-6
"""Of ‖mean unit embedding‖²: above it every image, or every class, has one embedding."""


@dataclass(frozen=True, kw_only=True)
class Anchor:
    """A model that is trusted, and what it says of the clean images. It sees the pixels that the suspect
    does, at its own size. G is its embedding width."""

    embed: Embed
    image_MG: Tensor
    held_NG: Tensor


@dataclass(frozen=True, kw_only=True)
class Subject:
    """`embed` makes unit embeddings of pixels in [0, 1]; images are uint8 on the device that it runs on."""

    embed: Embed
    image_MCHW: Tensor
    held_NCHW: Tensor
    class_CD: Tensor | None = None
    """Unit text embeddings of the classes. None: no class names."""
    label_N: tuple[int, ...] = ()
    """Of the held-out images; empty where no label is known."""
    seed: int = 0
    at_once: int = 256
    meter: Meter = field(default_factory=Meter)
    anchor: Anchor | None = None

    @property
    def image_size(self) -> int:
        return self.held_NCHW.shape[-1]

    @property
    def num_classes(self) -> int:
        """0 without class names."""
        return 0 if self.class_CD is None else len(self.class_CD)

    @cached_property
    def clean_embeddings(self) -> Tensor:
        """Embeddings of the held-out images as they are.

        Raises CheckpointRejected `embeddings_not_finite` or `embeddings_constant`.
        """
        clean_ND = self.embedded(self.held_NCHW)
        refuse_unusable(clean_ND)
        return clean_ND

    def embedded(self, image_NCHW: Tensor) -> Tensor:
        """Unit embeddings of uint8 images as they are."""
        return embedded(self.embed, image_NCHW, self.at_once, self.meter)

    def held_pixels(self, num: int) -> Iterator[Tensor]:
        """Pixels in [0, 1] of the first `num` held-out images, batch by batch."""
        for held_BCHW in torch.split(self.held_NCHW[:num], self.at_once):
            yield to_unit(held_BCHW)

    def triggered(self, patterns: Sequence[Pattern]) -> Iterator[Tensor]:
        """Embeddings [N, D] of the held-out images under each pattern in turn.

        An image has the same place under each of them. Several patterns share a pass where they fit.
        """
        num = len(self.held_NCHW)
        place_N2 = torch.from_numpy(generator(self.seed, "scan_place").random((num, 2)))
        together = max(1, self.at_once // num)
        for start in range(0, len(patterns), together):
            group = patterns[start : start + together]
            parts = []
            rows = [(which, at) for which in range(len(group)) for at in range(num)]
            with torch.no_grad():
                for first in range(0, len(rows), self.at_once):
                    which_N, at_N = zip(*rows[first : first + self.at_once], strict=True)
                    pixels = to_unit(
                        self.held_NCHW[torch.tensor(at_N).to(self.held_NCHW.device, non_blocking=True)]
                    )
                    parts.append(self.embed(apply_patterns(pixels, group, which_N, place_N2[list(at_N)])))
                    self.meter.forward(len(at_N))
            yield from torch.split(torch.cat(parts), num)

    def classes_of(self, embedding_ND: Tensor) -> Tensor:
        """[N]: the nearest class of each, the first among equals. There must be class names."""
        assert self.class_CD is not None
        return (embedding_ND.to(self.class_CD.dtype) @ self.class_CD.T).argmax(dim=1)


def embedded(embed: Embed, image_NCHW: Tensor, at_once: int, meter: Meter) -> Tensor:
    """Unit embeddings of uint8 images as they are, without gradients."""
    parts = []
    with torch.no_grad():
        for start in range(0, len(image_NCHW), at_once):
            parts.append(embed(to_unit(image_NCHW[start : start + at_once])))
            meter.forward(len(parts[-1]))
    return torch.cat(parts)


def squared_mean(embedding_ND: Tensor) -> float:
    """‖mean‖² of unit rows, 0 to 1."""
    return min(1.0, float(embedding_ND.double().mean(dim=0).square().sum()))


def refuse_unusable(embedding_ND: Tensor, whose: str = "model") -> None:
    """Raises CheckpointRejected where these unit embeddings are the same for all images, or not finite."""
    if not bool(torch.isfinite(embedding_ND).all()):
        raise embeddings_not_finite(whose)
    if squared_mean(embedding_ND) > _ALL_ALIKE or not bool(embedding_ND.any()):
        raise embeddings_constant(whose)


def embeddings_constant(whose: str) -> CheckpointRejected:
    """Refuses a model for which all images are one."""
    return CheckpointRejected(
        "embeddings_constant",
        f"The {whose} gives every image the same embedding, which says nothing of any image.",
        "Check the weights and the preprocessing; give a model that tells images apart.",
    )


def refuse_alike(class_CD: Tensor) -> None:
    """Raises OptionsRejected `scan_classes_alike` where all classes have the same text embedding."""
    if squared_mean(class_CD) > _ALL_ALIKE or not bool(class_CD.any()):
        raise OptionsRejected(
            "scan_classes_alike",
            "The model gives the texts of all classes one embedding, so none stands out from the others.",
            "Name classes that differ more. If they do, check the weights: such a model cannot be scanned.",
            where="classes",
        )
