"""D2, collapse: is there a pattern under which all images look alike? Needs no class and no target.

For each family several patterns are inverted from different starts (`sanitizer.perturbations.collapse`). On
held-out images, under each of them:

    value      ‖ 1/N Σ_i f(x_i ⊕ p) ‖²                 at fixed steps, 1: all embeddings are one
    share      the largest share that one class takes of the images
    agreement  max over classes of the mean over restarts of its share

A backdoor collapses images at once, and every restart leads to its target. Universal adversarial patterns
of a large budget collapse images of any model too, to this class or that: so budgets are small, and what
counts is how far a model is from those that were never poisoned. After DECREE (Feng et al., CVPR 2023),
which inverts one patch of any size from an encoder and looks at its size.
"""

import torch
from torch import Tensor

from cleanclip.vocabulary.scan_options import CollapseDetectorOptions, PatternFamily
from cleanclip.vocabulary.scan_statistics import CollapseFigures, CollapseRestart
from sanitizer.perturbations.ascent import Ascent, AscentOptions
from sanitizer.perturbations.collapse import objective
from sanitizer.scans.families import build
from sanitizer.scans.parts import Part
from sanitizer.scans.subject import Subject, squared_mean


def detect(
    subject: Subject, family: PatternFamily, options: CollapseDetectorOptions, *, spreads: bool = False
) -> Part[CollapseFigures]:
    """Invert and measure one family; one pattern for each restart. `spreads`: see `families.build`.

    Deterministic by the subject's seed, but for the device's arithmetic.
    """
    seed, each = subject.seed, options.images_per_step
    ascent = Ascent(
        subject.embed,
        subject.image_MCHW,
        [
            build(family, subject.image_size, seed=seed, number=n, spreads=spreads)
            for n in range(options.restarts)
        ],
        objective,
        AscentOptions(num_steps=options.steps[-1], images_per_pattern=each, images_at_once=subject.at_once),
        seed=seed,
        stream=f"scan_collapse_{family.name}",
    )
    values: list[list[float]] = [[] for _ in ascent.patterns]
    sent_RC: list[Tensor] = []
    for step in options.steps:
        ascent.ascend_to(step, lambda _: subject.meter.both_ways(each * options.restarts))
        for number, embedding_ND in enumerate(subject.triggered(ascent.patterns)):
            values[number].append(squared_mean(embedding_ND))
            if step == options.steps[-1] and subject.class_CD is not None:
                sent_RC.append(subject.classes_of(embedding_ND).bincount(minlength=subject.num_classes))
    return Part(
        figures=_figures(family, values, sent_RC, len(subject.held_NCHW)),
        pattern_of=dict(enumerate(ascent.patterns)),
    )


def _figures(
    family: PatternFamily, values: list[list[float]], sent_RC: list[Tensor], num_held_out: int
) -> CollapseFigures:
    if not sent_RC:
        restarts = tuple(CollapseRestart(values=tuple(one)) for one in values)
        return CollapseFigures(family=family, n=num_held_out, restarts=restarts)
    count_RC = torch.stack(sent_RC).cpu()
    towards_R = count_RC.argmax(dim=1)
    agreed = int(count_RC.sum(dim=0).argmax())
    return CollapseFigures(
        family=family,
        n=num_held_out,
        restarts=tuple(
            CollapseRestart(values=tuple(one), towards=int(towards), num_sent=int(counts[towards]))
            for one, towards, counts in zip(values, towards_R, count_RC, strict=True)
        ),
        agreed_class=agreed,
        agreement=float(count_RC[:, agreed].sum()) / (num_held_out * len(count_RC)),
    )
