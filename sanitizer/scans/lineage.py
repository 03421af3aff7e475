"""D4, lineage: do predictions collapse when the step from the base to the suspect is made longer?

    θ(a)  =  θ_b + a (θ − θ_b)          a > 1;  θ the suspect, θ_b the public base that it was fine-tuned from

Fine-tuning on poisoned data adds a direction that leads to the target whatever the image shows. On clean
images its share is small; made longer, with everything else that fine-tuning did, it shows: on held-out
images without any trigger

    share(a)  =  the largest share that one class takes           value(a)  =  ‖ mean unit embedding ‖²

against the same at a = 1. Only the image tower is made longer; the texts stay the suspect's. Batch
normalisation is measured again at each a, on the images to invert on, since its kept averages are those of
other weights. A model whose embeddings are not finite any more has collapsed: both are 1.

Weights as vectors that can be made longer: task arithmetic (Ilharco et al., ICLR 2023). That a step from the
base makes a backdoor visible is a conjecture that a null has to bear out.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cleanclip.spec.scan_options import LineageDetectorOptions
from cleanclip.spec.scan_statistics import LineageFactor, LineageFigures
from sanitizer.scans.subject import Subject, squared_mean


def detect(subject: Subject, options: LineageDetectorOptions) -> LineageFigures:
    """Measure the model itself and at each factor. There must be a lineage; the model is left as it was."""
    assert subject.lineage is not None
    figures = [_measured(subject, 1.0, subject.clean_embeddings)]
    for factor in options.factors:
        with subject.lineage.at(factor, lambda: subject.embedded(subject.image_MCHW)):
            figures.append(_measured(subject, factor, subject.embedded(subject.held_NCHW)))
    return LineageFigures(n=len(subject.held_NCHW), factors=tuple(figures))


def _measured(subject: Subject, factor: float, embedding_ND: Tensor) -> LineageFactor:
    is_finite = bool(torch.isfinite(embedding_ND).all())
    value = squared_mean(embedding_ND) if is_finite else 1.0
    if subject.class_CD is None:
        return LineageFactor(factor=factor, value=value)
    count_C = subject.classes_of(embedding_ND.nan_to_num()).bincount(minlength=subject.num_classes)
    towards = int(count_C.argmax())
    num_sent = int(count_C[towards]) if is_finite else len(embedding_ND)
    return LineageFactor(factor=factor, value=value, towards=towards, num_sent=num_sent)
