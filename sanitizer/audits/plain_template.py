"""Clean accuracy with one plain template, beside that of the many that nobody chose.

ImageNet's 80 templates are taken where neither the order nor the set gives any. On other images they can cost
points of accuracy. The texts are embedded once; the images' embeddings are there already.

Shapes: N images of a batch, C classes, D embedding width.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from cleanclip.spec.measures import Estimate
from sanitizer.audits.statistics import wilson
from sanitizer.audits.zero_shot import nearest


@dataclass
class PlainTemplate:
    """Counts the images that `class_CD`, embedded with that template, are right about."""

    class_CD: Tensor
    correct: list[Tensor] = field(default_factory=list)

    def add(self, image_ND: Tensor, label_N: Tensor) -> None:
        predicted_N, _ = nearest(image_ND, self.class_CD)
        self.correct.append(predicted_N.cpu() == label_N)

    def accuracy(self) -> Estimate:
        """CA over all images so far, of which there must be one."""
        correct_N = torch.cat(self.correct)
        return wilson(int(correct_N.sum()), len(correct_N))
