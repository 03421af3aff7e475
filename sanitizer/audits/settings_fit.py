"""Which settings fit the weights: zero-shot likelihood of true labels under every plausible combination.

Shapes: N images, C classes, D embedding width, K combinations of settings.

Each tower is run once for each of its own settings; combinations are then products of embeddings. The
log-likelihood of an image is that of its true class under softmax(scale x cosine) (Radford et al., arXiv
2103.00020, section 3.1), profiled over the scale: the model's own times powers of two, whichever suits the
combination best, so that none is preferred for being less sure of itself. Two combinations are compared by
the paired differences of their images, whose mean has an interval from the normal distribution, with
Bonferroni's correction for the K - 1 comparisons. Exactly repeatable by seed. Decides nothing: see
`sanitizer.pipeline.settling`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from cleanclip.spec.measures import Estimate
from cleanclip.spec.settled import MIN_IMAGES, MIN_MARGIN, Margin
from sanitizer.audits.measuring import measuring
from sanitizer.audits.statistics import wilson
from sanitizer.audits.zero_shot import class_embeddings, image_embeddings, nearest
from sanitizer.checkpoints.model import with_settings
from sanitizer.checkpoints.settings import Settings
from sanitizer.checkpoints.tower_configs import ModifiedResNet
from sanitizer.data.pixels import normalise, to_model_pixels
from sanitizer.data.skipping import BadSample
from sanitizer.seeding import generator

if TYPE_CHECKING:
    from sanitizer.checkpoints.model import LoadedCheckpoint
    from sanitizer.data.labelled import LabelledDataset

MAX_IMAGES = 256
MAX_TEXTS = 1_000
"""Classes x templates of one pass; of more classes those of the images are kept, others drawn."""
_READS_EACH = 2
_SCALES = tuple(2.0**power for power in range(3, -7, -1))
_IMAGES_AT_ONCE = 64
_MAX_LOG_SCALE = math.log(1_000.0)  # open_clip never leaves 100; a stranger's file may hold anything


@dataclass(frozen=True, kw_only=True)
class Sample:
    """`image_NCHW` uint8, `label_N` numbers of `class_names`."""

    image_NCHW: Tensor
    label_N: Tensor
    class_names: tuple[str, ...]
    templates: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What was measured of each combination; `log_likelihood_KN` (float64) and `predicted_KN`, on the CPU."""

    combinations: tuple[Settings, ...]
    log_likelihood_KN: Tensor
    predicted_KN: Tensor
    label_N: Tensor
    num_classes: int
    num_image_passes: int
    num_text_passes: int

    def mean(self, settings: Settings) -> float:
        """Mean log-likelihood of an image, in nats."""
        return float(self.log_likelihood_KN[self.combinations.index(settings)].mean())

    def best(self, among: Callable[[Settings], bool] = lambda _: True) -> Settings:
        """The combination with the largest likelihood, the first among equals."""
        return max(filter(among, self.combinations), key=self.mean)

    def margin(self, settings: Settings, other: Settings) -> Margin:
        """How much better `one` fits than `other`."""
        at = self.combinations.index
        difference_N = self.log_likelihood_KN[at(settings)] - self.log_likelihood_KN[at(other)]
        n, mean = len(difference_N), float(difference_N.mean())
        half = self._z() * float(difference_N.std()) / math.sqrt(n)
        return Margin(mean=mean, n=n, low=mean - half, high=mean + half)

    def ca(self, settings: Settings) -> Estimate:
        """Accuracy on these images, with the usual interval."""
        return wilson(int(self._correct(settings).sum()), len(self.label_N))

    def is_above_chance(self, settings: Settings) -> bool:
        """Whether accuracy is over that of guessing, also when the best of K is what was looked at."""
        ca, z = self.ca(settings), self._z()
        chance = self.chance(settings)
        # Wilson's lower bound exceeds the chance exactly when the score test rejects it.
        return ca.value - chance > z * math.sqrt(chance * (1 - chance) / ca.n)

    def chance(self, settings: Settings) -> float:
        """The accuracy of guessing: at least 1 / C, and what the same answers dealt out at random would get
        (the chance agreement of Cohen's kappa), so that naming the commonest class is not a skill."""
        predicted_N = self.predicted_KN[self.combinations.index(settings)]
        if len(set(self.label_N.tolist())) < 2:
            return 1 / self.num_classes
        shares = [
            numbers.bincount(minlength=self.num_classes).double() / len(numbers)
            for numbers in (predicted_N, self.label_N)
        ]
        return max(1 / self.num_classes, float(shares[0] @ shares[1]))

    def tells(self, settings: Settings, other: Settings) -> bool:
        """Whether the images show that `one` fits better than `other`, by enough to matter."""
        return self.margin(settings, other).low > MIN_MARGIN

    def _correct(self, settings: Settings) -> Tensor:
        correct_N: Tensor = self.predicted_KN[self.combinations.index(settings)] == self.label_N
        return correct_N

    def _z(self) -> float:
        return NormalDist().inv_cdf(1 - 0.025 / max(1, len(self.combinations) - 1))


def draw_sample(
    labelled: LabelledDataset,
    templates: Sequence[str],
    *,
    image_size: int,
    seed: int,
    before_read: Callable[[], None] = lambda: None,
) -> Sample | None:
    """At most `MAX_IMAGES` readable images, drawn by the seed; None if there are fewer than `MIN_IMAGES`, or
    one class only. The classes they are told apart from: all, or as many as make `MAX_TEXTS` texts."""
    images, labels = [], []
    order_N = generator(seed, "settings").permutation(len(labelled))
    for index in order_N[: _READS_EACH * MAX_IMAGES].tolist():
        before_read()
        try:
            found = labelled.read(index)
        except BadSample:
            continue  # the audit itself will count it
        images.append(to_model_pixels(found.image, image_size))
        labels.append(found.label)
        if len(images) == MAX_IMAGES:
            break
    if len(images) < MIN_IMAGES or len(labelled.class_names) < 2:
        return None
    classes = _classes(len(labelled.class_names), labels, seed)
    number_of = {label: number for number, label in enumerate(classes)}
    num_templates = max(1, min(len(templates), MAX_TEXTS // len(classes)))
    return Sample(
        image_NCHW=torch.stack(images),
        label_N=torch.tensor([number_of[label] for label in labels]),
        class_names=tuple(labelled.class_names[label] for label in classes),
        templates=tuple(templates[:num_templates]),
    )


def _classes(num_classes: int, labels: Sequence[int], seed: int) -> list[int]:
    """All, or the images' own and others drawn by the seed, in their order."""
    own = set(labels)
    others = generator(seed, "settings classes").permutation(num_classes).tolist()
    drawn = [label for label in others if label not in own]
    return sorted([*own, *drawn[: max(0, MAX_TEXTS - len(own))]])


def measure(
    checkpoint: LoadedCheckpoint,
    sample: Sample,
    values: dict[str, list[Any]],
    *,
    device: torch.device,
    before_pass: Callable[[], None] = lambda: None,
) -> Fit:
    """Every combination of `values` on `sample`, in float32; the model is left as it is, on `device`.

    Raises CheckpointRejected `embeddings_not_finite`, and what `before_pass` raises.
    """
    combinations = tuple(
        Settings(**dict(zip(values, chosen, strict=True))) for chosen in product(*values.values())
    )
    images: dict[Settings, Tensor] = {}
    classes: dict[Settings, Tensor] = {}
    log_likelihoods, predictions = [], []
    with measuring(checkpoint, device):
        label_N = sample.label_N.to(device)
        for settings in combinations:
            of_images, of_classes = _of_each_tower(settings, combinations[0], checkpoint)
            if of_images not in images:
                before_pass()
                images[of_images] = _images(with_settings(checkpoint, of_images), sample, device)
            if of_classes not in classes:
                before_pass()
                classes[of_classes] = class_embeddings(
                    with_settings(checkpoint, of_classes), sample.class_names, sample.templates, device
                )
            predicted_N, cosine_NC = nearest(images[of_images], classes[of_classes])
            log_likelihoods.append(_profiled(cosine_NC, label_N, _scale(checkpoint)).cpu().double())
            predictions.append(predicted_N.cpu())
    return Fit(
        combinations=combinations,
        log_likelihood_KN=torch.stack(log_likelihoods),
        predicted_KN=torch.stack(predictions),
        label_N=sample.label_N,
        num_classes=len(sample.class_names),
        num_image_passes=len(images),
        num_text_passes=len(classes),
    )


def _of_each_tower(
    settings: Settings, first: Settings, checkpoint: LoadedCheckpoint
) -> tuple[Settings, Settings]:
    """The same settings with those of the other tower left at the first's: equal ones need one pass."""
    of_images = replace(settings, num_heads_text=first.num_heads_text)
    if isinstance(checkpoint.architecture.vision, ModifiedResNet):  # it has ReLU alone
        of_images = replace(of_images, quick_gelu=first.quick_gelu)
    return of_images, replace(settings, num_heads_vision=first.num_heads_vision)


def _images(checkpoint: LoadedCheckpoint, sample: Sample, device: torch.device) -> Tensor:
    architecture = checkpoint.architecture
    chunks = []
    for image_NCHW in torch.split(sample.image_NCHW, _IMAGES_AT_ONCE):
        pixels = normalise(
            image_NCHW.to(device).float() / 255, architecture.image_mean, architecture.image_std
        )
        chunks.append(image_embeddings(checkpoint, pixels))
    return torch.cat(chunks)


def _scale(checkpoint: LoadedCheckpoint) -> float:
    log_scale = float(checkpoint.model.logit_scale.detach().double().reshape(()))
    return math.exp(min(log_scale, _MAX_LOG_SCALE))


def _profiled(cosine_NC: Tensor, label_N: Tensor, scale: float) -> Tensor:
    """[N]: of each image log softmax at its class, at the scale whose mean is the largest."""
    found = [
        functional.log_softmax(factor * scale * cosine_NC, dim=1).gather(1, label_N[:, None])[:, 0]
        for factor in _SCALES
    ]
    return max(found, key=lambda log_likelihood_N: float(log_likelihood_N.mean()))
