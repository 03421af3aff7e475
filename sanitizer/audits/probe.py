"""The linear probe of an audit: does the image tower alone lead triggered images to the target?

Shapes: N images of a batch, C classes, D embedding width.

A probe reads the embeddings brought to length sqrt(D), so that a component's mean square is 1 and `c` weighs
the same in every model, before a cleaning and after. It is fitted on clean images only. Every image, with a
trigger or without, is judged by the one of the probes that was fitted without it.

Which part of a labelled set each image belongs to, class by class and by seed.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from cleanclip.vocabulary.audit_figures import ProbeAttackFigures, ProbeFigures
from cleanclip.vocabulary.cautions import check_folds
from cleanclip.vocabulary.probe_options import LinearProbeOptions
from sanitizer import seeding
from sanitizer.audits.attack_success import target_rate
from sanitizer.audits.logistic import Fitted, fit
from sanitizer.audits.statistics import wilson
from sanitizer.audits.zero_shot import first_argmax


def stratified_folds(label_N: Tensor, class_names: Sequence[str], *, num_folds: int, seed: int) -> Tensor:
    """[N]: a number under `num_folds` for each image; the parts of a class differ by one image at most, and
    so do whole parts.

    The images of class c are dealt in the order of generator(seed, "probe_folds", c).permutation, going on
    where the class before ended. Raises OptionsRejected `too_few_for_probe`.
    """
    count_C = torch.bincount(label_N, minlength=len(class_names))
    check_folds(count_C.tolist(), class_names, num_folds)
    fold_N = torch.empty_like(label_N)
    dealt = 0
    for label in range(len(class_names)):
        (place_M,) = torch.nonzero(label_N == label, as_tuple=True)
        order = seeding.generator(seed, "probe_folds", label).permutation(len(place_M))
        fold_N[place_M[torch.from_numpy(order)]] = (dealt + torch.arange(len(place_M))) % num_folds
        dealt += len(place_M)
    return fold_N


def scale_to_width(image_ND: Tensor) -> Tensor:
    """To length sqrt(D)."""
    return functional.normalize(image_ND, dim=1) * math.sqrt(image_ND.shape[1])


@dataclass
class CleanEmbeddings:
    """Of all images without a trigger, scaled, batch by batch: float32, which is all that the tower gives."""

    index: list[int] = field(default_factory=list)
    image: list[Tensor] = field(default_factory=list)
    label: list[Tensor] = field(default_factory=list)

    def add(self, index_N: Sequence[int], image_ND: Tensor, label_N: Tensor) -> None:
        self.index += index_N
        self.image.append(scale_to_width(image_ND).float())
        self.label.append(label_N.cpu())


@dataclass(frozen=True)
class FoldedProbe:
    """A probe for each fold, and by an image's index in the set the fold that it is in."""

    fitted: tuple[Fitted, ...]
    fold_of_index: dict[int, int]

    def predict(self, index_N: Sequence[int], image_ND: Tensor) -> Tensor:
        """[N] on the CPU: each by the probe that was fitted without that image."""
        fold_N = torch.tensor([self.fold_of_index[index] for index in index_N])
        predicted_N = torch.empty_like(fold_N)
        for fold in sorted(set(fold_N.tolist())):
            is_in_N = fold_N == fold
            logits_MC = self.fitted[fold].logits(scale_to_width(image_ND[is_in_N.to(image_ND.device)]))
            predicted_N[is_in_N] = first_argmax(logits_MC).cpu()
        return predicted_N


def fit_probe(
    clean: CleanEmbeddings,
    class_names: Sequence[str],
    options: LinearProbeOptions,
    *,
    seed: int,
    before_pass: Callable[[], None],
    after_fold: Callable[[int], None],
) -> FoldedProbe:
    """`before_pass()` is called before every pass over the embeddings, `after_fold(num_done)` after a fit;
    what they raise passes through. Raises OptionsRejected `too_few_for_probe`."""
    label_N = torch.cat(clean.label)
    fold_N = stratified_folds(label_N, class_names, num_folds=options.folds, seed=seed)
    image_ND = torch.cat(clean.image)
    clean.image.clear()  # they are twice in memory otherwise
    fitted = []
    for fold in range(options.folds):
        (others_M,) = torch.nonzero(fold_N != fold, as_tuple=True)
        others_M = others_M.to(image_ND.device)
        fitted.append(
            fit(
                image_ND[others_M],
                label_N.to(image_ND.device)[others_M],
                num_classes=len(class_names),
                c=options.c,
                max_iterations=options.max_iterations,
                before_pass=before_pass,
            )
        )
        after_fold(fold + 1)
    return FoldedProbe(tuple(fitted), dict(zip(clean.index, fold_N.tolist(), strict=True)))


class ProbeAnswers:
    """What the probe says of every image, without a trigger and with each."""

    def __init__(self, probe: FoldedProbe, targets: Sequence[int]) -> None:
        """`targets`: the class that each attack leads to."""
        self._probe = probe
        self._targets = targets
        self._untriggered: list[Tensor] = []
        self._triggered: list[list[Tensor]] = [[] for _ in targets]

    def add_untriggered(self, index_N: Sequence[int], image_ND: Tensor) -> None:
        self._untriggered.append(self._probe.predict(index_N, image_ND))

    def add_triggered(self, attack: int, index_N: Sequence[int], image_ND: Tensor) -> None:
        self._triggered[attack].append(self._probe.predict(index_N, image_ND))

    def figures(self, label_N: Tensor) -> ProbeFigures:
        """Of the images without a trigger."""
        predicted_N, fitted = torch.cat(self._untriggered), self._probe.fitted
        return ProbeFigures(
            accuracy=wilson(int((predicted_N == label_N).sum()), len(label_N)),
            num_iterations=max(one.num_iterations for one in fitted),
            is_converged=all(one.is_converged for one in fitted),
        )

    def figures_of_attacks(self, label_N: Tensor) -> list[ProbeAttackFigures]:
        """Of the images with each trigger, in the order of the attacks."""
        untriggered_N = torch.cat(self._untriggered)
        figures = []
        for chunks, target in zip(self._triggered, self._targets, strict=True):
            predicted_N = torch.cat(chunks)
            figures.append(
                ProbeAttackFigures(
                    asr=target_rate(predicted_N, label_N, target),
                    untriggered_target_rate=target_rate(untriggered_N, label_N, target),
                    pa=wilson(int((predicted_N == label_N).sum()), len(label_N)),
                )
            )
        return figures
