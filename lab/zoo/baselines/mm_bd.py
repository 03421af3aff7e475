"""MM-BD (Wang et al., IEEE S&P 2024): the class whose largest possible margin is too large. Needs no images.

    r_c  =  max over x in [0, 1]^(3HW) of  g_c(x) − max over k ≠ c of g_k(x),   g the logits

by projected gradient ascent from random images. A gamma distribution is fitted to all r but the largest, and
the largest of C draws from it is compared:   p = 1 − G(r_max)^C;   the paper flags p < 0.05.

g are cosines here: the p-value does not depend on their scale. The fit is by moments. Legend: C classes,
S starts for each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sanitizer.scans.subject import Subject
from sanitizer.seeding import generator


@dataclass(frozen=True, kw_only=True)
class MarginOptions:
    """Signed steps, which fall linearly to a tenth."""

    num_steps: int = 30
    starts: int = 2
    step: float = 0.06
    at_once: int = 160


def margins(subject: Subject, options: MarginOptions) -> Tensor:
    """[C]: r of every class, from the best of its starts at its end."""
    number_N = torch.arange(subject.num_classes).repeat_interleave(options.starts)
    shape = (len(number_N), 3, subject.image_size, subject.image_size)
    start_N3HW = torch.from_numpy(generator(subject.seed, "zoo_mm_bd").random(shape)).float()
    best_N = torch.cat(
        [
            _climb(subject, image, number, options)
            for image, number in zip(
                torch.split(start_N3HW, options.at_once), torch.split(number_N, options.at_once), strict=True
            )
        ]
    )
    return best_N.reshape(subject.num_classes, options.starts).max(dim=1).values


def margin(subject: Subject, image_NCHW: Tensor, number_N: Tensor) -> Tensor:
    """[N]: g_c − the largest other g, c the number of each image; differentiable in the pixels."""
    assert subject.class_CD is not None
    cosine_NC = subject.embed(image_NCHW).float() @ subject.class_CD.T
    own_N = cosine_NC.gather(1, number_N[:, None])[:, 0]
    others_NC = cosine_NC.scatter(1, number_N[:, None], -math.inf)
    return own_N - others_NC.max(dim=1).values


def log10_p(margin_C: Tensor) -> float:
    """log10 of the p-value of the largest margin; 0 where the others do not vary or are not positive."""
    sorted_C = margin_C.double().sort().values
    others, largest = sorted_C[:-1], sorted_C[-1]
    mean, variance = others.mean(), others.var()
    if mean <= 0 or variance <= 0 or largest <= 0:
        return 0.0
    shape, scale = mean.square() / variance, variance / mean
    tail = float(torch.special.gammaincc(shape, largest / scale))
    # 1 − (1 − q)^C without losing a small q.
    p = -math.expm1(len(margin_C) * math.log1p(-min(tail, 1 - 1e-15)))
    return math.log10(max(p, 1e-300))


def _climb(subject: Subject, image_N3HW: Tensor, number_N: Tensor, options: MarginOptions) -> Tensor:
    for step in range(options.num_steps):
        image_N3HW = image_N3HW.detach().requires_grad_()
        total = margin(subject, image_N3HW, number_N).sum()
        (gradient,) = torch.autograd.grad(total, image_N3HW)
        subject.meter.both_ways(len(image_N3HW))
        length = options.step * (1 - 0.9 * step / max(1, options.num_steps - 1))
        image_N3HW = (image_N3HW.detach() + length * gradient.sign()).clamp(0, 1)
    with torch.no_grad():
        return margin(subject, image_N3HW, number_N)
