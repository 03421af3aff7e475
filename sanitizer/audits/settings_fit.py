"""Which settings fit the weights: zero-shot likelihood of true labels under every plausible combination.

Shapes: N images, C classes, D embedding width, S scales, K combinations of settings.

Each tower is run once for each of its own settings; combinations are then products of embeddings. The
log-likelihood of an image is that of its true class under softmax(scale x cosine) (Radford et al., arXiv
2103.00020, section 3.1), profiled over the scale: the model's own times powers of two, whichever suits the
combination best, so that none is preferred for being less sure of itself. Two combinations are compared by
the paired differences of the images that both were measured on; their mean has an interval from the normal
distribution, with Bonferroni's correction for the K - 1 comparisons of each planned look. Exactly repeatable
by seed. Decides nothing: see `sanitizer.pipeline.settling`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice, product
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from cleanclip.vocabulary.measures import Estimate
from cleanclip.vocabulary.settled import ALPHA, MIN_IMAGES, MIN_MARGIN, Margin, looks
from sanitizer.audits.measuring import measuring
from sanitizer.audits.statistics import wilson
from sanitizer.audits.zero_shot import class_embeddings, image_embeddings, nearest
from sanitizer.checkpoints.model import with_settings
from sanitizer.checkpoints.settings import Settings
from sanitizer.checkpoints.timm_configs import TimmTower
from sanitizer.checkpoints.tower_configs import ModifiedResNet
from sanitizer.data.pixels import normalise, to_model_pixels
from sanitizer.data.skipping import BadSample
from sanitizer.seeding import generator

if TYPE_CHECKING:
    from sanitizer.checkpoints.model import LoadedCheckpoint
    from sanitizer.data.labelled import LabelledDataset

MAX_TEXTS = 1_000
"""Classes x templates of one pass; of more classes those of the first images are kept, others drawn."""
_SCALES = tuple(2.0**power for power in range(3, -7, -1))
_IMAGES_AT_ONCE = 64
_MAX_LOG_SCALE = math.log(1_000.0)  # open_clip never leaves 100; an untrusted file may hold anything


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What is told apart: `images` (uint8 [3, H, W], number of `class_names`) are read when they are asked
    for, once; `sizes` is how many of them each planned look is to have seen."""

    class_names: tuple[str, ...]
    templates: tuple[str, ...]
    images: Iterator[tuple[Tensor, int]]
    sizes: tuple[int, ...]


@dataclass(kw_only=True)
class Fit:
    """What was measured so far. Of each combination `log_likelihood_SN` (float64) and `predicted_N` of the
    first images, as many as it was measured on; on the CPU."""

    combinations: tuple[Settings, ...]
    num_classes: int
    num_looks: int
    """As planned."""
    label_N: Tensor
    log_likelihood_SN: dict[Settings, Tensor]
    predicted_N: dict[Settings, Tensor]
    num_image_passes: int = 0
    num_text_passes: int = 0

    def n(self, *settings: Settings) -> int:
        """How many images all of these were measured on."""
        return min(len(self.predicted_N[one]) for one in settings)

    def mean(self, settings: Settings, n: int | None = None) -> float:
        """Mean log-likelihood of the first `n` images, or of all that it was measured on, in nats."""
        return float(self._profiled(settings, n or self.n(settings)).mean())

    def best(self, among: Iterable[Settings]) -> Settings:
        """The combination with the largest likelihood, the first among equals."""
        return max(among, key=self.mean)

    def margin(self, settings: Settings, other: Settings) -> Margin:
        """How much better `settings` fits than `other`."""
        n = self.n(settings, other)
        difference_N = self._profiled(settings, n) - self._profiled(other, n)
        mean = float(difference_N.mean())
        half = self._z(self.num_looks) * float(difference_N.std()) / math.sqrt(n)
        return Margin(n=n, low=mean - half, high=mean + half)

    def ca(self, settings: Settings, n: int | None = None) -> Estimate:
        """Accuracy on the same images as `mean`, with the usual interval."""
        correct_N = self.predicted_N[settings][:n] == self.label_N[: n or self.n(settings)]
        return wilson(int(correct_N.sum()), len(correct_N))

    def is_above_chance(self, settings: Settings) -> bool:
        """Whether accuracy is over that of guessing, also when the best of K is what was looked at."""
        ca, z = self.ca(settings), self._z(num_looks=1)
        chance = self.chance(settings)
        # Wilson's lower bound exceeds the chance exactly when the score test rejects it.
        return ca.value - chance > z * math.sqrt(chance * (1 - chance) / ca.n)

    def chance(self, settings: Settings) -> float:
        """The accuracy of guessing: at least 1 / C, and what the same answers dealt out at random would get
        (the chance agreement of Cohen's kappa), so that naming the commonest class is not a skill."""
        predicted_N = self.predicted_N[settings]
        label_N = self.label_N[: len(predicted_N)]
        if len(set(label_N.tolist())) < 2:
            return 1 / self.num_classes
        shares = [
            numbers.bincount(minlength=self.num_classes).double() / len(numbers)
            for numbers in (predicted_N, label_N)
        ]
        return max(1 / self.num_classes, float(shares[0] @ shares[1]))

    def tells(self, settings: Settings, other: Settings) -> bool:
        """Whether the images show that `settings` fits better than `other`, by enough to matter."""
        return self.margin(settings, other).low > MIN_MARGIN

    def _profiled(self, settings: Settings, n: int) -> Tensor:
        """[N]: at the scale whose mean over the first `n` images is the largest."""
        log_likelihood_SN = self.log_likelihood_SN[settings][:, :n]
        return log_likelihood_SN[int(log_likelihood_SN.mean(dim=1).argmax())]

    def _z(self, num_looks: int) -> float:
        num_comparisons = max(1, len(self.combinations) - 1) * num_looks
        return NormalDist().inv_cdf(1 - ALPHA / 2 / num_comparisons)


def draw_sample(
    labelled: LabelledDataset,
    templates: Sequence[str],
    *,
    image_size: int,
    seed: int,
    before_read: Callable[[], None] = lambda: None,
) -> Sample | None:
    """The readable images in an order drawn by the seed; None if there are fewer than `MIN_IMAGES`, or one
    class only. The classes they are told apart from: all, or as many as make `MAX_TEXTS` texts."""
    sizes = looks(len(labelled))
    images = _readable(labelled, image_size, seed, before_read)
    first = list(islice(images, sizes[0]))
    if len(first) < MIN_IMAGES or len(labelled.class_names) < 2:
        return None
    classes = _classes(len(labelled.class_names), [label for _, label in first], seed)
    number_of = {label: number for number, label in enumerate(classes)}
    num_templates = max(1, min(len(templates), MAX_TEXTS // len(classes)))
    return Sample(
        class_names=tuple(labelled.class_names[label] for label in classes),
        templates=tuple(templates[:num_templates]),
        images=((image, number_of[label]) for image, label in chain(first, images) if label in number_of),
        sizes=sizes,
    )


def _readable(
    labelled: LabelledDataset, image_size: int, seed: int, before_read: Callable[[], None]
) -> Iterator[tuple[Tensor, int]]:
    for index in generator(seed, "settings").permutation(len(labelled)).tolist():
        before_read()
        try:
            found = labelled.read(index)
        except BadSample:
            continue  # the audit itself will count it
        yield to_model_pixels(found.image, image_size), found.label


def _classes(num_classes: int, labels: Sequence[int], seed: int) -> list[int]:
    """All, or the first images' own and others drawn by the seed, in their order."""
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
    undecided: Callable[[Fit], Sequence[Settings]] = lambda _: (),
    before_pass: Callable[[], None] = lambda: None,
) -> Fit:
    """Every combination of `values` on the first look of `sample`, in float32; after each look those that are
    still `undecided` on more images, until none is or no image is left. The model is left as it is, on
    `device`.

    Raises CheckpointRejected `embeddings_not_finite`, and what `before_pass` and `undecided` raise.
    """
    combinations = tuple(
        Settings(**dict(zip(values, chosen, strict=True))) for chosen in product(*values.values())
    )
    fit = Fit(
        combinations=combinations,
        num_classes=len(sample.class_names),
        num_looks=len(sample.sizes),
        label_N=torch.empty(0, dtype=torch.int64),
        log_likelihood_SN={one: torch.empty(len(_SCALES), 0, dtype=torch.float64) for one in combinations},
        predicted_N={one: torch.empty(0, dtype=torch.int64) for one in combinations},
    )
    with measuring(checkpoint, device):
        towers = _Towers(checkpoint, sample, combinations[0], device, before_pass)
        among: Sequence[Settings] = combinations
        for size in sample.sizes:
            towers.extend(fit, among, size)
            among = undecided(fit)
            if not among:
                break
    fit.num_image_passes, fit.num_text_passes = len(towers.by_images), len(towers.by_classes)
    return fit


@dataclass
class _Towers:
    """The model under the settings of each tower, and the classes that its text tower gives."""

    checkpoint: LoadedCheckpoint
    sample: Sample
    first: Settings
    device: torch.device
    before_pass: Callable[[], None]
    by_images: dict[Settings, LoadedCheckpoint] = field(default_factory=dict)
    by_classes: dict[Settings, Tensor] = field(default_factory=dict)

    def extend(self, fit: Fit, among: Sequence[Settings], size: int) -> None:
        """Measure `among` on further images of the sample, up to `size` of them."""
        while images := list(islice(self.sample.images, min(_IMAGES_AT_ONCE, size - len(fit.label_N)))):
            image_NCHW = torch.stack([image for image, _ in images])
            label_N = torch.tensor([label for _, label in images])
            embedded: dict[Settings, Tensor] = {}
            for settings in among:
                of_images, of_classes = _of_each_tower(settings, self.first, self.checkpoint)
                if of_images not in embedded:
                    embedded[of_images] = self._images(of_images, image_NCHW)
                predicted_N, cosine_NC = nearest(embedded[of_images], self._classes(of_classes))
                log_likelihood_SN = _at_each_scale(
                    cosine_NC, label_N.to(self.device), _scale(self.checkpoint)
                )
                fit.log_likelihood_SN[settings] = _joined(fit.log_likelihood_SN[settings], log_likelihood_SN)
                fit.predicted_N[settings] = _joined(fit.predicted_N[settings], predicted_N)
            fit.label_N = _joined(fit.label_N, label_N)

    def _images(self, settings: Settings, image_NCHW: Tensor) -> Tensor:
        self.before_pass()
        if settings not in self.by_images:
            self.by_images[settings] = with_settings(self.checkpoint, settings)
        architecture = self.checkpoint.architecture
        pixels = normalise(image_NCHW.to(self.device), architecture.image_mean, architecture.image_std)
        return image_embeddings(self.by_images[settings], pixels)

    def _classes(self, settings: Settings) -> Tensor:
        if settings not in self.by_classes:
            self.before_pass()
            model = with_settings(self.checkpoint, settings)
            self.by_classes[settings] = class_embeddings(
                model, self.sample.class_names, self.sample.templates, self.device
            )
        return self.by_classes[settings]


def _joined(known: Tensor, more: Tensor) -> Tensor:
    return torch.cat([known, more.cpu().to(known.dtype)], dim=-1)


def _of_each_tower(
    settings: Settings, first: Settings, checkpoint: LoadedCheckpoint
) -> tuple[Settings, Settings]:
    """The same settings with those of the other tower left at the first's: equal ones need one pass."""
    of_images = replace(settings, num_heads_text=first.num_heads_text)
    if isinstance(checkpoint.architecture.vision, ModifiedResNet | TimmTower):  # its own activation alone
        of_images = replace(of_images, quick_gelu=first.quick_gelu)
    return of_images, replace(settings, num_heads_vision=first.num_heads_vision)


def _scale(checkpoint: LoadedCheckpoint) -> float:
    log_scale = float(checkpoint.model.logit_scale.detach().double().reshape(()))
    return math.exp(min(log_scale, _MAX_LOG_SCALE))


def _at_each_scale(cosine_NC: Tensor, label_N: Tensor, scale: float) -> Tensor:
    """[S, N]: log softmax of each image at its class."""
    return torch.stack(
        [
            functional.log_softmax(factor * scale * cosine_NC, dim=1).gather(1, label_N[:, None])[:, 0]
            for factor in _SCALES
        ]
    )
