"""DECREE (Feng et al., CVPR 2023): the smallest mask under which an encoder gives all images one embedding.

Over masks m and patterns p:   min  − mean over i ≠ j of cos( f(x_i ⊕ (m, p)), f(x_j ⊕ (m, p)) ) + λ · |m|₁

λ follows success: the mean cosine is to stay at `cosine` or above. What is judged is the norm of the smallest
such mask by the largest possible one ("PL1"); the paper calls an encoder backdoored below 0.1. No class is
named by the method; where the trigger leads is looked up afterwards. Legend: K restarts, n images for each.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lab.zoo.baselines.masks import Masks, Weights, drawn
from sanitizer.perturbations.ascent import to_unit
from sanitizer.scans.subject import Subject
from sanitizer.seeding import generator


@dataclass(frozen=True, kw_only=True)
class DecreeOptions:
    """Adam from several starts; the smallest mask of all counts."""

    num_steps: int = 150
    restarts: int = 3
    images_per_restart: int = 12
    learning_rate: float = 0.2
    first_weight: float = 0.3
    cosine: float = 0.97
    """The paper has 0.99 on large encoders; the images of a batch here are few."""
    start: float = 0.3


@dataclass(frozen=True, kw_only=True)
class Inverted:
    """`size` is PL1, 1 where no mask reached the cosine; `mask` the pair at that time, or at the end."""

    size: float
    mask: Masks


def mean_cosine(embedding_KnD: Tensor) -> Tensor:
    """[K]: the mean cosine of two different images of each restart, from unit rows.

    n² · |mean|² counts all pairs, n of them of an image with itself.
    """
    num_images = embedding_KnD.shape[1]
    squared_K = embedding_KnD.mean(dim=1).square().sum(dim=-1)
    return (num_images * squared_K - 1) / (num_images - 1)


def invert(subject: Subject, options: DecreeOptions) -> Inverted:
    """Deterministic by the subject's seed."""
    restarts, each = options.restarts, options.images_per_restart
    masks = drawn(restarts, subject.image_size, seed=subject.seed, stream="zoo_decree", start=options.start)
    optimizer = torch.optim.Adam([masks.a_KHW, masks.b_K3HW], lr=options.learning_rate, betas=(0.5, 0.9))
    weights = Weights(restarts, first=options.first_weight)
    size, kept = 1.0, None
    for step in range(options.num_steps):
        draws = generator(subject.seed, "zoo_decree_images", step)
        rows = draws.integers(len(subject.image_MCHW), size=restarts * each).tolist()
        embedding_ND = subject.embed(masks.apply(to_unit(subject.image_MCHW[rows])))
        subject.meter.both_ways(len(rows))
        cosine_K = mean_cosine(embedding_ND.float().reshape(restarts, each, -1))
        size_K = masks.sizes()
        reached_K = cosine_K.detach() >= options.cosine
        reached_size_K = torch.where(reached_K, size_K.detach(), torch.ones(restarts))
        best = int(reached_size_K.argmin())
        if reached_size_K[best] < size:
            size, kept = float(reached_size_K[best]), _copy(masks, best)
        optimizer.zero_grad()
        torch.autograd.backward((weights.value_K * size_K - cosine_K).sum())
        optimizer.step()
        weights.follow(reached_K)
    return Inverted(size=size, mask=kept or _copy(masks, 0))


@torch.no_grad()
def sent_to(subject: Subject, mask: Masks) -> Tensor:
    """[C]: how many held-out images each class takes under the mask."""
    parts = []
    for part in torch.split(subject.held_NCHW, subject.at_once):
        parts.append(subject.classes_of(subject.embed(mask.apply(to_unit(part)))))
        subject.meter.forward(len(part))
    return torch.cat(parts).bincount(minlength=subject.num_classes)


def _copy(masks: Masks, number: int) -> Masks:
    rows = slice(number, number + 1)
    return Masks(masks.a_KHW[rows].detach().clone(), masks.b_K3HW[rows].detach().clone())
