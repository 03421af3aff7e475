"""What a trigger leads to, in the words of `sanitizer.scans.words`.

    score(w)  =  ⟨ mean f(x ⊕ p) − mean f(x),  t_w − t̄ ⟩          t_w the text of word w, t̄ the mean of all

The difference of the means takes away what images have in common without a trigger, t̄ what texts have: a text
that is near everything (a hub) would come first otherwise.

Words are named only where their score is over a chance level, which is measured on the same model.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from cleanclip.vocabulary.scan_report import MOST_NAMES, NamedWord
from cleanclip.vocabulary.templates import PLAIN_TEMPLATE
from sanitizer.audits.measuring import measuring
from sanitizer.audits.zero_shot import TEXTS_AT_ONCE, text_embeddings
from sanitizer.checkpoints.model import LoadedCheckpoint
from sanitizer.data.templates import render
from sanitizer.scans.words import words

NUM_CHANCE = 20


def rank_words(
    shift_D: Tensor, vocabulary: Sequence[str], word_WD: Tensor, most: int = MOST_NAMES
) -> tuple[NamedWord, ...]:
    """The words that the embeddings moved towards the most; `shift_D` is the difference of the means."""
    score_W = score(shift_D, word_WD)
    best = torch.topk(score_W, min(most, len(vocabulary)))
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return tuple(NamedWord(word=vocabulary[number], score=value) for number, value in pairs)


def score(shift_D: Tensor, word_WD: Tensor) -> Tensor:
    """[W]: see above. Of several shifts, [D, K]: [W, K]."""
    text_WD = word_WD.double()
    return (text_WD - text_WD.mean(dim=0)) @ shift_D.to(text_WD)


def chance_level(clean_ND: Tensor, word_WD: Tensor, length: float) -> float:
    """The best score of any word for a shift of that length that means nothing: the largest of `NUM_CHANCE`
    differences between the means of two halves of the images without a trigger."""
    generator = torch.Generator().manual_seed(0)
    image_ND, shifts = clean_ND.double().cpu(), []
    for _ in range(NUM_CHANCE):
        first, second = torch.randperm(len(image_ND), generator=generator).tensor_split(2)
        shift_D = image_ND[first].mean(dim=0) - image_ND[second].mean(dim=0)
        shifts.append(shift_D * length / shift_D.norm())
    return float(score(torch.stack(shifts, dim=1), word_WD.cpu()).max())


class Vocabulary:
    """The words and their texts under one model, embedded when they are asked for the first time."""

    def __init__(self, embed_words: Callable[[Sequence[str]], Tensor]) -> None:
        self._embed_words = embed_words
        self._word_WD: Tensor | None = None

    def name(self, shift_D: Tensor, clean_ND: Tensor) -> tuple[NamedWord, ...]:
        """The first words for this shift of the embeddings, of those over the chance level of this model."""
        if self._word_WD is None:
            self._word_WD = self._embed_words(words())
        level = chance_level(clean_ND, self._word_WD, float(shift_D.double().norm()))
        return tuple(one for one in rank_words(shift_D, words(), self._word_WD) if one.score > level)


def word_embedder(checkpoint: LoadedCheckpoint, device: torch.device) -> Callable[[Sequence[str]], Tensor]:
    """Gives words their unit embeddings, each in the plain template."""

    def embed(words: Sequence[str]) -> Tensor:
        texts = [render(PLAIN_TEMPLATE, word) for word in words]
        chunks = [texts[at : at + TEXTS_AT_ONCE] for at in range(0, len(texts), TEXTS_AT_ONCE)]
        with measuring(checkpoint, device):
            word_WD = torch.cat(
                [text_embeddings(checkpoint, checkpoint.tokenize(chunk), device) for chunk in chunks]
            )
        return word_WD.clone()

    return embed
