"""What a trigger leads to, in the words of `sanitizer.scans.words`. Knows no detector.

    score(w)  =  ⟨ mean f(x ⊕ p) − mean f(x),  t_w − t̄ ⟩          t_w the text of word w, t̄ the mean of all

The difference of the means takes away what images have in common without a trigger, t̄ what texts have: a text
that is near everything (a hub) would come first otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from cleanclip.spec.scan_report import MOST_NAMES, NamedWord
from sanitizer.scans.words import words


def rank_words(
    shift_D: Tensor, vocabulary: Sequence[str], word_WD: Tensor, most: int = MOST_NAMES
) -> tuple[NamedWord, ...]:
    """The words that the embeddings moved towards the most; `shift_D` is the difference of the means."""
    score_W = score(shift_D, word_WD)
    best = torch.topk(score_W, min(most, len(vocabulary)))
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return tuple(NamedWord(word=vocabulary[number], score=value) for number, value in pairs)


def score(shift_D: Tensor, word_WD: Tensor) -> Tensor:
    """[W]: see above."""
    text_WD = word_WD.double()
    return (text_WD - text_WD.mean(dim=0)) @ shift_D.to(text_WD)


class Vocabulary:
    """The words and their texts under one model, embedded when they are asked for the first time."""

    def __init__(self, embed_words: Callable[[Sequence[str]], Tensor]) -> None:
        self._embed_words = embed_words
        self._word_WD: Tensor | None = None

    def name(self, shift_D: Tensor) -> tuple[NamedWord, ...]:
        """The first words for this shift of the embeddings."""
        if self._word_WD is None:
            self._word_WD = self._embed_words(words())
        return rank_words(shift_D, words(), self._word_WD)
