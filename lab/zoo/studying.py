"""What a scan's report would say of the patterns that were found in one model. Judges nothing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cleanclip.spec.scan_report import MOST_NAMES, NamedWord
from lab.zoo.rows import FoundPattern
from sanitizer.checkpoints.model import LoadedCheckpoint
from sanitizer.scans.hypotheses import Study
from sanitizer.scans.naming import Vocabulary, score
from sanitizer.scans.opening import ScanImages
from sanitizer.scans.statistics import Found
from sanitizer.scans.subject import Subject
from sanitizer.scans.word_texts import word_embedder
from sanitizer.scans.words import words


class _Listening(Vocabulary):
    """The vocabulary, which tells where words stand for the shift that it named last."""

    shift_D: Tensor

    def name(self, shift_D: Tensor, clean_ND: Tensor) -> tuple[NamedWord, ...]:
        self.shift_D = shift_D
        return super().name(shift_D, clean_ND)

    def places(self) -> dict[str, int]:
        """Of every word, from 1; of words with the same score the later ones count as before."""
        assert self._word_WD is not None
        score_W = score(self.shift_D, self._word_WD)
        at_least_W = len(score_W) - torch.searchsorted(score_W.sort().values, score_W)
        return dict(zip(words(), at_least_W.tolist(), strict=True))


def found_patterns(
    found: Sequence[Found],
    subject: Subject,
    checkpoint: LoadedCheckpoint,
    class_names: Sequence[str],
    targets: Sequence[str],
) -> tuple[FoundPattern, ...]:
    """Each with its ASR, the first words of the open vocabulary, and an image with and without it."""
    num_images, num_held_out = len(subject.image_MCHW), len(subject.held_NCHW)
    images = ScanImages(
        image_MCHW=subject.image_MCHW,
        held_NCHW=subject.held_NCHW,
        held_index=tuple(range(num_images, num_images + num_held_out)),
        held_label=subject.label_N,
        labelled_names=tuple(class_names),
        skipped=(),
        num_enlarged=0,
    )
    vocabulary = _Listening(word_embedder(checkpoint, torch.device("cpu")))
    study = Study(subject, images, class_names, vocabulary)
    patterns = []
    for one in found:
        hypothesis = study.of(one)
        example = next(iter(study.examples(one, hypothesis, 1)), None)
        place_of = vocabulary.places()
        known = {word for name in class_names for word in name.split() if word in place_of}
        patterns.append(
            FoundPattern(
                family=one.family.name,
                target=hypothesis.target,
                asr=hypothesis.asr,
                words=tuple(named.word for named in hypothesis.words),
                known_words=tuple(sorted(known, key=lambda word: place_of[word])[:MOST_NAMES]),
                places={
                    word: place_of[word] for target in targets for word in target.split() if word in place_of
                },
                image=hypothesis.trigger.image,
                clean_example=None if example is None else example.clean,
                example=None if example is None else example.triggered,
            )
        )
    return tuple(patterns)
