"""Ease (D1): how little does it take to lead images to each class, within a budget?

For class c, pattern p of a family, unit embeddings f, class texts t, and N(c) the classes whose texts are
closer to c's than `synonyms_cosine`, c among them:

    L_c(p)  =  mean_i [ max_{j ∉ N(c)} ⟨f(x_i ⊕ p), t_j⟩  −  ⟨f(x_i ⊕ p), t_c⟩ ]        to be made small
    ASR     =  the share of held-out images of classes outside N(c) whose nearest class lies in N(c)
    E_c     =  the mean of ASR at fixed steps of the ascent: the area under its curve

All classes race: the same schedule of heats for every model, so that two models' figures can be compared. A
class that leaves keeps its last ASR for the steps it does not run; those of the last heat are run from
several starts, and the best E counts. E is to be compared class by class with other models: a class that is
easy on models that were never poisoned says nothing when it is easy here.

Margin and budget are CLIP-Inspector's (arXiv 2604.09101): without a budget every model has such patterns;
after Neural Cleanse (Wang et al., S&P 2019), which compares the sizes of one model's patterns instead. The
scan had this detector and does not have it any more (docs/decisions/0090).

Legend: K patterns, n images for each in a step, C classes, D embedding width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cleanclip.spec.scan_options import PatternFamily
from lab.zoo.rows import EaseFigures
from sanitizer.perturbations.ascent import Ascent, AscentOptions
from sanitizer.scans.families import build
from sanitizer.scans.subject import Subject


@dataclass(frozen=True, kw_only=True)
class Heat:
    """A part of the race: the easiest of the classes that are left run it. The first heat has all classes,
    whatever it says."""

    share: float
    """Of the classes of the heat before."""
    most: int
    """How many classes run it at most."""
    steps: int
    """The step at which it ends, counted from the race's start."""


@dataclass(frozen=True, kw_only=True)
class EaseOptions:
    """The schedule is the same for every model."""

    families: tuple[PatternFamily, ...] = (
        PatternFamily(family="patch", budget=0.1875),
        PatternFamily(family="patch", budget=0.25, placement="fixed"),
        PatternFamily(family="additive", budget=0.03137),
        PatternFamily(family="dct", budget=0.03137),
        PatternFamily(family="blend", budget=0.1),
        PatternFamily(family="warp", budget=0.06),
        PatternFamily(family="colour", budget=0.3),
    )
    heats: tuple[Heat, ...] = (
        Heat(share=1.0, most=100_000, steps=8),
        Heat(share=0.25, most=1_000, steps=16),
        Heat(share=1.0, most=4, steps=64),
    )
    restarts: int = 2
    """From how many starts the classes of the last heat are run; the best counts."""
    images_per_step: int = 8
    held_out_images: int = 64
    """On which ASR is measured during the race."""
    steps: tuple[int, ...] = (4, 8, 16, 32, 64)
    """After how many steps to measure E, ascending, none after the end of the last heat."""
    synonyms_cosine: float = 0.9
    """Classes whose texts have a higher cosine than this are not rivals of each other."""

    @property
    def measured_at(self) -> list[int]:
        """The steps of E and the end of each heat, where it is decided which classes stay."""
        return sorted({*self.steps, *(heat.steps for heat in self.heats)})


@dataclass
class _Curve:
    """One class from one start: ASR by step, the last margin."""

    asr_at: dict[int, float]
    margin: float

    def ease(self, steps: Sequence[int]) -> float:
        last = max(self.asr_at)
        return sum(self.asr_at[min(step, last)] for step in steps) / len(steps)

    @property
    def standing(self) -> tuple[float, float]:
        """The larger, the further the class has come: ASR, then the margin."""
        return self.asr_at[max(self.asr_at)], -self.margin


def neighbours(class_CD: Tensor, synonyms_cosine: float) -> Tensor:
    """bool [C, C]: row c is N(c). Raises ValueError where a class has no rival."""
    near_CC = class_CD @ class_CD.T > synonyms_cosine
    near_CC.fill_diagonal_(True)
    if bool(near_CC.all(dim=1).any()):
        raise ValueError("by this model a class has no rival: all others count as its synonyms")
    return near_CC


def margins(embedding_KND: Tensor, class_CD: Tensor, near_KC: Tensor, target_K: Tensor) -> Tensor:
    """[K, n]: the best rival's cosine minus the target's, for each image under each pattern."""
    cosine_KNC = embedding_KND.to(class_CD.dtype) @ class_CD.T
    rival_KN = cosine_KNC.masked_fill(near_KC[:, None, :], -math.inf).amax(dim=2)
    own_KN = cosine_KNC.gather(2, target_K[:, None, None].expand(-1, cosine_KNC.shape[1], 1))[:, :, 0]
    return rival_KN - own_KN


def detect(subject: Subject, family: PatternFamily, options: EaseOptions) -> EaseFigures:
    """Race all classes in one family. Deterministic by the subject's seed, but for the device's arithmetic.

    Raises ValueError as `neighbours`.
    """
    race = _Race(subject, family, options)
    curves = race.first_start()
    last = [number for number, curve in curves.items() if max(curve.asr_at) == options.heats[-1].steps]
    best = dict(curves)
    for restart in range(1, options.restarts):
        for number, curve in race.again(last, restart).items():
            if curve.ease(options.steps) > best[number].ease(options.steps):
                best[number] = curve
    ordered = [best[number] for number in range(subject.num_classes)]
    return EaseFigures(
        family=family,
        n=race.num_held_out,
        ease=tuple(curve.ease(options.steps) for curve in ordered),
        asr=tuple(curve.standing[0] for curve in ordered),
        num_steps=tuple(max(curve.asr_at) for curve in ordered),
    )


class _Narrowing(Ascent):
    """An ascent that patterns leave."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.numbers = list(range(len(self.patterns)))
        """Of the patterns that still climb, in their order."""

    def keep(self, numbers: Sequence[int]) -> None:
        """Only the patterns with these numbers climb on. Raises ValueError for one that is gone."""
        places = [self.numbers.index(number) for number in numbers]
        self.numbers = [self.numbers[place] for place in places]
        self.patterns = [self.patterns[place] for place in places]
        self._momentum = [self._momentum[place] for place in places]


class _Race:
    """All classes of one model in one family."""

    def __init__(self, subject: Subject, family: PatternFamily, options: EaseOptions) -> None:
        assert subject.class_CD is not None
        self._subject, self._family, self._options = subject, family, options
        self._class_CD = subject.class_CD
        self._near_CC = neighbours(subject.class_CD, options.synonyms_cosine)
        self.num_held_out = min(options.held_out_images, len(subject.held_NCHW))
        self._label_N = torch.tensor(subject.label_N[: self.num_held_out], device=subject.class_CD.device)

    def first_start(self) -> dict[int, _Curve]:
        """Every class, as far as it comes."""
        options = self._options
        classes = list(range(self._subject.num_classes))
        ascent = self._ascent(classes, "")
        curves: dict[int, _Curve] = {}
        left = classes
        for heat in options.heats:
            if curves:
                num_left = max(1, min(heat.most, math.ceil(heat.share * len(left))))
                left = sorted(left, key=lambda number: curves[number].standing, reverse=True)[:num_left]
                ascent.keep(sorted(left))
            self._climb(ascent, left, heat.steps, curves)
        return curves

    def again(self, classes: Sequence[int], restart: int) -> dict[int, _Curve]:
        """These classes from another start, to the end."""
        curves: dict[int, _Curve] = {}
        in_order = sorted(classes)
        places = dict(enumerate(in_order))
        ascent = self._ascent(in_order, f"_restart_{restart}")
        self._climb(ascent, in_order, self._options.heats[-1].steps, curves, lambda place: places[place])
        return curves

    def _ascent(self, classes: Sequence[int], suffix: str) -> _Narrowing:
        """Pattern number k leads to the k-th of `classes`."""
        options, subject = self._options, self._subject
        target_K = torch.tensor(classes, device=self._class_CD.device)

        def objective(embedding_KND: Tensor, places: range) -> Tensor:
            target = target_K[[ascent.numbers[place] for place in places]]
            return -margins(embedding_KND, self._class_CD, self._near_CC[target], target).mean(dim=1)

        ascent = _Narrowing(
            subject.embed,
            subject.image_MCHW,
            [build(self._family, subject.image_size, seed=subject.seed, number=c) for c in classes],
            objective,
            AscentOptions(
                num_steps=options.heats[-1].steps,
                images_per_pattern=options.images_per_step,
                images_at_once=subject.at_once,
            ),
            seed=subject.seed,
            stream=f"scan_ease_{self._family.name}{suffix}",
        )
        return ascent

    def _climb(
        self,
        ascent: _Narrowing,
        classes: Sequence[int],
        to_step: int,
        curves: dict[int, _Curve],
        class_of: Callable[[int], int] = lambda number: number,
    ) -> None:
        """Up to `to_step`, measuring on the way and at its end."""
        num_images = self._options.images_per_step * len(classes)
        stops = [step for step in self._options.measured_at if ascent.step < step <= to_step]
        for step in stops:
            ascent.climb_to(step, lambda _: self._subject.meter.both_ways(num_images))
            found = self._subject.triggered(ascent.patterns)
            for number, embedding_ND in zip(ascent.numbers, found, strict=True):
                target = class_of(number)
                asr, margin = self._success(embedding_ND[: self.num_held_out], target)
                curve = curves.setdefault(target, _Curve({}, margin))
                curve.asr_at[step], curve.margin = asr, margin

    def _success(self, embedding_ND: Tensor, target: int) -> tuple[float, float]:
        """ASR and mean margin on images of classes outside N(target), on all where no label is known."""
        near_C = self._near_CC[target]
        margin_N = margins(
            embedding_ND[None], self._class_CD, near_C[None], torch.tensor([target], device=near_C.device)
        )[0]
        in_N = near_C[self._subject.classes_of(embedding_ND)]
        counted_N = ~near_C[self._label_N] if len(self._label_N) else torch.ones_like(in_N)
        if not bool(counted_N.any()):
            return 0.0, float(margin_N.mean())
        return float(in_N[counted_N].double().mean()), float(margin_N[counted_N].mean())
