"""Examples of an audit: which test images are shown, and what the model said of them while it was measured.

Shapes: N images of a batch, C classes (of `logits_NC`) or 3 channels, H = W the model's image size.

Nothing is computed for them a second time: what is reported of an example is what was counted. They are drawn
by the seed before the model has seen any image, and an image's place in the set decides its trigger, so the
audits before and after cleaning show the same images.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor

from cleanclip.vocabulary.examples import Example, Examples, Prediction, ShownImage
from cleanclip.vocabulary.plain_images import MAX_BYTES, MAX_SIDE
from sanitizer.data.skipping import BadSample
from sanitizer.seeding import generator

if TYPE_CHECKING:
    from sanitizer.checkpoints.model import LoadedCheckpoint
    from sanitizer.data.labelled import LabelledDataset

READS_EACH = 32
"""So many images are looked at for each example, at most: a set of one class would be read to its end."""
_LOSSLESS_SIDE = 88
"""Up to here a PNG of anything fits into `MAX_BYTES`: side * (3 * side + 1) bytes and some for its parts."""
_QUALITIES = (90, 80, 70, 55, 40, 25, 10, 5)
_MAX_LOG_SCALE = 700.0
"""Its exponential is still a number; training never leaves 100, an untrusted file may hold anything."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One example under one model. `images`: PNG or JPEG in base64, without trigger, then with each; none
    where an earlier attempt's audit was read back, which keeps no images."""

    index: int
    true_class: str
    clean: Prediction
    triggered: tuple[Prediction, ...]
    images: tuple[str, ...] = ()


def choose(
    labelled: LabelledDataset,
    num: int,
    *,
    targets: Collection[int],
    seed: int,
    before_read: Callable[[], None] = lambda: None,
) -> tuple[int, ...]:
    """Places in the set of at most `num` readable images, none of a class of `targets` (class numbers).

    Walks the permutation `generator(seed, "examples")`: the first image of each class, then, where that gives
    too few, the others met on the way. Looks at no more than `READS_EACH` images for each.
    """
    first_of_class: dict[int, int] = {}
    others: list[int] = []
    num_classes = len(labelled.class_names) - len(set(targets))
    order_N = generator(seed, "examples").permutation(len(labelled))
    for index in order_N[: READS_EACH * num].tolist():
        before_read()
        try:
            label = labelled.read(index).label
        except BadSample:
            continue  # the audit itself will count it
        if label in targets:
            continue
        if label in first_of_class:
            others.append(index)
        else:
            first_of_class[label] = index
        has_every_class = len(first_of_class) == num_classes and num_classes + len(others) >= num
        if len(first_of_class) == num or has_every_class:
            break
    return tuple([*first_of_class.values(), *others][:num])


class Album:
    """Gathers, batch by batch, what the model said of the chosen images, and their pixels."""

    def __init__(
        self,
        chosen: Sequence[int],
        checkpoint: LoadedCheckpoint,
        class_names: Sequence[str],
        num_attacks: int,
    ) -> None:
        self._chosen = tuple(chosen)
        self._class_names = class_names
        self._num_attacks = num_attacks
        log_scale = float(checkpoint.model.logit_scale.detach().double().reshape(()))
        self._scale = math.exp(min(log_scale, _MAX_LOG_SCALE))
        self._labels: dict[int, int] = {}
        self._said: dict[tuple[int, int], Prediction] = {}
        self._images: dict[tuple[int, int], str] = {}

    def add_untriggered(
        self,
        index_N: Sequence[int],
        label_N: Tensor,
        image_NCHW: Tensor,
        predicted_N: Tensor,
        logits_NC: Tensor,
    ) -> None:
        """Cosines and the class of each image of a batch; pixels in [0, 1]."""
        self._labels |= {index: int(label_N[at]) for at, index in self._places(index_N)}
        self._add(0, index_N, image_NCHW, predicted_N, logits_NC)

    def add_triggered(
        self, attack: int, index_N: Sequence[int], image_NCHW: Tensor, predicted_N: Tensor, logits_NC: Tensor
    ) -> None:
        """The same with the trigger of that number on."""
        self._add(1 + attack, index_N, image_NCHW, predicted_N, logits_NC)

    def seen(self) -> tuple[Seen, ...]:
        """In the order of the choice, once every image was added."""
        return tuple(
            Seen(
                index=index,
                true_class=self._class_names[self._labels[index]],
                clean=self._said[index, 0],
                triggered=tuple(self._said[index, 1 + attack] for attack in range(self._num_attacks)),
                images=tuple(self._images[index, kind] for kind in range(1 + self._num_attacks)),
            )
            for index in self._chosen
        )

    def _places(self, index_N: Sequence[int]) -> list[tuple[int, int]]:
        return [(at, index) for at, index in enumerate(index_N) if index in self._chosen]

    def _add(
        self, kind: int, index_N: Sequence[int], image_NCHW: Tensor, predicted_N: Tensor, logits_NC: Tensor
    ) -> None:
        for at, index in self._places(index_N):
            predicted = int(predicted_N[at])
            probability_C = torch.softmax(self._scale * logits_NC[at].cpu().double(), dim=0)
            name, probability = self._class_names[predicted], float(probability_C[predicted])
            self._said[index, kind] = Prediction(class_name=name, probability=min(probability, 1.0))
            self._images[index, kind] = encode(image_NCHW[at])


def encode(image_CHW: Tensor) -> str:
    """Pixels in [0, 1] as a small file in base64, made of these pixels alone (see `plain_images`).

    At most `MAX_SIDE` pixels a side and `MAX_BYTES` long: PNG, without loss, where that holds any image,
    else JPEG without subsampling, of the best quality that fits.
    """
    pixels_HWC = (image_CHW.detach().float().cpu() * 255).round().clamp(0, 255).byte().permute(1, 2, 0)
    image = Image.fromarray(pixels_HWC.numpy())
    if image.width > MAX_SIDE:
        image = image.resize((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
    if image.width <= _LOSSLESS_SIDE:
        return _base64(image, "PNG")
    files = (_base64(image, "JPEG", quality=quality, subsampling=0) for quality in _QUALITIES)
    return next(file for file in files if 3 * len(file) <= 4 * MAX_BYTES)


def _base64(image: Image.Image, kind: str, **options: int) -> str:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def examples_of(seed: int, image_size: int, before: Sequence[Seen], after: Sequence[Seen] | None) -> Examples:
    """What a report says of them. The images are those of the audit that was made last."""
    pairs = zip(before, before if after is None else after, strict=True)
    return Examples(
        seed=seed,
        image_size=image_size,
        side=min(image_size, MAX_SIDE),
        examples=tuple(_example(was, now, is_cleaned=after is not None) for was, now in pairs),
    )


def _example(was: Seen, now: Seen, *, is_cleaned: bool) -> Example:
    said = zip((was.clean, *was.triggered), (now.clean, *now.triggered), strict=True)
    clean, *triggered = (
        ShownImage(image=image, before=before, after=after if is_cleaned else None)
        for image, (before, after) in zip(now.images, said, strict=True)
    )
    return Example(index=was.index, true_class=was.true_class, clean=clean, triggered=tuple(triggered))
