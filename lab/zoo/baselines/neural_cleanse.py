"""Neural Cleanse (Wang et al., IEEE S&P 2019): the class that a remarkably small mask leads to.

For each class t, over masks m and patterns p:   min  CE( f((1 − m) x + m p), t ) + λ · |m|₁

λ follows success, so that m shrinks as long as 99 % of the images go to t (section IV-C). A class's size is
that of the smallest mask that reached it; of a class that none reached, the whole image. The anomaly index of
a class below the median is (median − size) / (1.4826 · MAD) (section IV-D); the paper flags 2 and more.

Logits are CLIP's: cosines times `logit_scale`. Steps are far fewer than the paper's, as it does itself where
classes are many (section V-C). Legend: C classes, n images for each, D embedding width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from lab.zoo.baselines.masks import Weights, drawn
from sanitizer.perturbations.ascent import to_unit
from sanitizer.scans.subject import Subject
from sanitizer.seeding import generator

_MAD_OF_NORMAL = 1.4826


@dataclass(frozen=True, kw_only=True)
class NeuralCleanseOptions:
    """Adam on all classes, `classes_at_once` side by side."""

    num_steps: int = 100
    images_per_class: int = 8
    classes_at_once: int = 20
    learning_rate: float = 0.2
    first_weight: float = 1.0
    """λ, of the mask's share of the image (the paper's norm counts pixels: by their number larger)."""
    success: float = 0.99
    logit_scale: float = 50.0
    start: float = 0.3


def sizes(subject: Subject, options: NeuralCleanseOptions) -> Tensor:
    """[C]: each class's smallest mask, as a share of the image; 1 where none leads to it."""
    assert subject.class_CD is not None
    parts = [
        _sizes_of(subject, chunk, options)
        for chunk in torch.split(torch.arange(subject.num_classes), options.classes_at_once)
    ]
    return torch.cat(parts)


def anomaly_indices(size_C: Tensor) -> Tensor:
    """[C], 0 for a class at or above the median. If most sizes are equal the MAD is 0: all indices are 0."""
    size_C = size_C.double()
    median = size_C.quantile(0.5)
    spread = _MAD_OF_NORMAL * (size_C - median).abs().quantile(0.5)
    if spread == 0:
        return torch.zeros_like(size_C)
    return ((median - size_C) / spread).clamp_min(0)


def _sizes_of(subject: Subject, class_K: Tensor, options: NeuralCleanseOptions) -> Tensor:
    assert subject.class_CD is not None
    first, num_classes, each = int(class_K[0]), len(class_K), options.images_per_class
    stream, seed = "zoo_neural_cleanse", subject.seed
    masks = drawn(num_classes, subject.image_size, seed=seed + first, stream=stream, start=options.start)
    optimizer = torch.optim.Adam([masks.a_KHW, masks.b_K3HW], lr=options.learning_rate, betas=(0.5, 0.9))
    weights = Weights(num_classes, first=options.first_weight)
    smallest_K = torch.ones(num_classes)
    wanted_N = class_K.repeat_interleave(each)
    for step in range(options.num_steps):
        draws = generator(seed, f"{stream}_images", first, step)
        rows = draws.integers(len(subject.image_MCHW), size=len(wanted_N))
        embedding_ND = subject.embed(masks.apply(to_unit(subject.image_MCHW[rows.tolist()])))
        subject.meter.both_ways(len(rows))
        logit_NC = options.logit_scale * embedding_ND.float() @ subject.class_CD.T
        works_K = (logit_NC.argmax(dim=1) == wanted_N).float().reshape(num_classes, each).mean(dim=1)
        entropy_N = cross_entropy(logit_NC, wanted_N, reduction="none")
        size_K, reached_K = masks.sizes(), works_K >= options.success
        smallest_K = torch.where(reached_K, torch.minimum(smallest_K, size_K.detach()), smallest_K)
        # The sum over classes, which do not meet: each has its own mask and images.
        loss = (entropy_N.reshape(num_classes, each).mean(dim=1) + weights.value_K * size_K).sum()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        weights.follow(reached_K)
    return smallest_K
