"""What a found pattern does on held-out images: where it leads, how often, at which dose. Judges nothing.

Figures are those of the attack that an audit would be given, image file and all, where there is one. Images
of the target's class are not counted in ASR, as everywhere. Legend: N held-out images, C classes, D width.
"""

import hashlib
from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from cleanclip.vocabulary.attack_options import CustomPatchOptions, SIGOptions
from cleanclip.vocabulary.found_triggers import FoundAttack, FoundTrigger
from cleanclip.vocabulary.image_edits import Edit
from cleanclip.vocabulary.measures import Estimate
from cleanclip.vocabulary.null_set import NullPattern
from cleanclip.vocabulary.scan_options import PatternFamily
from cleanclip.vocabulary.scan_report import (
    MOST_NAMES,
    DosePoint,
    Hypothesis,
    ImageCell,
    NamedClass,
    ScanExample,
)
from cleanclip.vocabulary.scan_statistics import DoseRate
from sanitizer.attacks.catalogue import build_trigger
from sanitizer.audits.example_images import encode
from sanitizer.audits.statistics import wilson
from sanitizer.perturbations.ascent import to_unit
from sanitizer.perturbations.patterns import Pattern, apply_patterns
from sanitizer.scans import image_edits
from sanitizer.scans.attacks import as_file, place_of, shown
from sanitizer.scans.families import build
from sanitizer.scans.naming import Vocabulary
from sanitizer.scans.opening import ScanImages
from sanitizer.scans.statistics import Found
from sanitizer.scans.subject import Subject
from sanitizer.seeding import generator

DOSES = (0.25, 0.5, 0.75, 1.0)
CELL_EXAMPLES = 4


class Study:
    """Of the patterns found in one model. `vocabulary` None: words are not looked for; `rows_of_cell` says
    which held-out images each cell of `residual` has."""

    def __init__(
        self,
        subject: Subject,
        images: ScanImages,
        class_names: Sequence[str],
        vocabulary: Vocabulary | None,
        rows_of_cell: Mapping[int, Sequence[int]] | None = None,
    ) -> None:
        self._subject, self._images, self._class_names = subject, images, class_names
        self._vocabulary, self._rows_of_cell = vocabulary, rows_of_cell or {}
        self._clean_ND = subject.clean_embeddings
        self._clean_N = subject.classes_of(self._clean_ND).tolist() if class_names else []

    def of(self, found: Found) -> Hypothesis:
        """Measure one pattern on every held-out image."""
        target = None if found.target is None else self._class_names[found.target]
        size, example = self._subject.image_size, to_unit(self._subject.held_NCHW[0])
        image = encode(shown(found.pattern, size, example))
        trigger = FoundTrigger(
            family=found.family,
            image=image,
            image_sha256=hashlib.sha256(b64decode(image)).hexdigest(),
            pattern=as_file(found.pattern, size),
            at=place_of(found.pattern, size),
        )
        attack = trigger.attack(target)
        embedding_ND = self._under(found, attack, 1.0)
        predicted_N = self._subject.classes_of(embedding_ND).tolist() if self._class_names else []
        shift_D = embedding_ND.double().mean(dim=0) - self._clean_ND.double().mean(dim=0)
        hypothesis = Hypothesis(
            detector=found.detector,
            trigger=trigger,
            target=target,
            classes=self._classes(predicted_N),
            words=() if self._vocabulary is None else self._vocabulary.name(shift_D, self._clean_ND),
            statistic=found.statistic,
        )
        if found.target is None:
            return hypothesis
        asr, floor = self._rate(predicted_N, found.target), self._rate(self._clean_N, found.target)
        cell = self._cell(found, predicted_N)
        doses = [(dose, self._under(found, attack, dose)) for dose in DOSES[:-1]]
        curve = [
            (dose, self._rate(self._subject.classes_of(one).tolist(), found.target)) for dose, one in doses
        ]
        return replace(
            hypothesis,
            asr=asr,
            pa=self._pa(predicted_N),
            untriggered_target_rate=floor,
            dose=tuple(DosePoint(share=dose, asr=one) for dose, one in [*curve, (1.0, asr)]),
            cell=cell,
        )

    def examples(self, found: Found, hypothesis: Hypothesis, num: int) -> tuple[ScanExample, ...]:
        """The first held-out images that are not of the target's class, and are not called so without the
        pattern either: their order was drawn by the seed."""
        known = self._rows_of_cell[found.cell] if found.cell else range(len(self._images.held_label))
        rows = [
            row
            for row in known
            if self._images.held_label[row] != found.target
            and not (self._class_names and self._clean_N[row] == found.target)
        ][:num]
        if not rows:
            return ()
        clean_NCHW = to_unit(self._subject.held_NCHW[rows])
        triggered_NCHW = self._changed(found, hypothesis.attack, 1.0, rows)
        with torch.no_grad():
            embedding_ND = self._subject.embed(triggered_NCHW)
        triggered_N = self._subject.classes_of(embedding_ND).tolist() if self._class_names else []
        name = self._class_names.__getitem__
        return tuple(
            ScanExample(
                index=self._images.held_index[row],
                true_class=self._images.labelled_names[self._images.held_label[row]],
                clean=encode(clean_NCHW[at]),
                clean_class=name(self._clean_N[row]) if self._class_names else None,
                triggered=encode(triggered_NCHW[at]),
                triggered_class=name(triggered_N[at]) if self._class_names else None,
            )
            for at, row in enumerate(rows)
        )

    def _cell(self, found: Found, predicted_N: Sequence[int]) -> ImageCell | None:
        """None for what is measured in all images."""
        if not found.cell:
            return None
        assert found.target is not None
        rows = self._rows_of_cell[found.cell]
        return ImageCell(
            number=found.cell,
            asr=self._rate(predicted_N, found.target, rows),
            examples=tuple(encode(to_unit(self._subject.held_NCHW[row])) for row in rows[:CELL_EXAMPLES]),
        )

    def _under(self, found: Found, attack: FoundAttack | None, dose: float) -> Tensor:
        """[N, D]: embeddings of the held-out images under the attack, or the pattern, at this dose."""
        parts = []
        num, at_once = len(self._subject.held_NCHW), self._subject.at_once
        for start in range(0, num, at_once):
            rows = list(range(start, min(start + at_once, num)))
            with torch.no_grad():
                parts.append(self._subject.embed(self._changed(found, attack, dose, rows)))
            self._subject.meter.forward(len(rows))
        return torch.cat(parts)

    def _changed(self, found: Found, attack: FoundAttack | None, dose: float, rows: list[int]) -> Tensor:
        subject = self._subject
        image_NCHW = to_unit(subject.held_NCHW[rows])
        if isinstance(found.pattern, Edit):
            return image_edits.apply(found.pattern, image_NCHW, dose)
        if attack is not None:
            index_N = [self._images.held_index[row] for row in rows]
            return build_trigger(_at_dose(attack, dose)).apply(image_NCHW, index_N, subject.seed)
        assert isinstance(found.family, PatternFamily)
        weaker = replace(found.family, budget=dose * found.family.budget)
        family = build(weaker, subject.image_size, seed=subject.seed)
        place_N2 = torch.from_numpy(generator(subject.seed, "scan_place").random((len(rows), 2)))
        return apply_patterns(image_NCHW, [Pattern(family, found.pattern.value)], [0] * len(rows), place_N2)

    def _rate(self, predicted_N: Sequence[int], target: int, rows: Sequence[int] | None = None) -> Estimate:
        """How many images of other classes, of all or of these rows, are given to the target."""
        labels = self._images.held_label
        chosen = range(len(labels)) if rows is None else rows
        counted = [predicted_N[row] for row in chosen if labels[row] != target]
        return wilson(sum(given == target for given in counted), len(counted))

    def _pa(self, predicted_N: Sequence[int]) -> Estimate:
        labels = self._images.held_label
        right = sum(given == label for given, label in zip(predicted_N, labels, strict=True))
        return wilson(right, len(labels))

    def _classes(self, predicted_N: Sequence[int]) -> tuple[NamedClass, ...]:
        """Where most held-out images go, those of that class among them."""
        counts = {given: predicted_N.count(given) for given in dict.fromkeys(predicted_N)}
        first = sorted(counts, key=lambda given: (-counts[given], given))[:MOST_NAMES]
        return tuple(
            NamedClass(class_name=self._class_names[given], share=wilson(counts[given], len(predicted_N)))
            for given in first
        )


def as_null_pattern(hypothesis: Hypothesis) -> NullPattern | None:
    """What a null keeps of it. None where it has no target."""
    if hypothesis.asr is None or hypothesis.pa is None:
        return None
    return NullPattern(
        detector=hypothesis.detector,
        family=hypothesis.trigger.family.group,
        asr=hypothesis.asr.value,
        pa=hypothesis.pa.value,
        dose=tuple(DoseRate(share=one.share, asr=one.asr.value) for one in hypothesis.dose),
    )


def _at_dose(attack: FoundAttack, dose: float) -> FoundAttack:
    if isinstance(attack, CustomPatchOptions):
        return replace(attack, size=dose * attack.size)
    assert not isinstance(attack, SIGOptions), "an edit has a dose of its own"
    return replace(attack, alpha=dose * attack.alpha)
