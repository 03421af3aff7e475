"""What words do to the class of a text: of known triggers, and of every token of CLIP's vocabulary.

A text's class is the nearest class mean, the first among equals. Of each insertion, over K texts:

    share    the largest share that one class takes of the texts that are not of that class
    towards  that class, the one with the lowest number among equals
    value    ‖mean unit embedding‖²; 1: all texts are one

A backdoor in the text tower leads texts of all classes to one. So does, less surely, a name of that class.

Legend: S insertions, K texts, L tokens of a text, I tokens of a word, C classes, D embedding width.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cleanclip.vocabulary.clip_tokens import NUM_TOKENS, ends_a_word
from cleanclip.vocabulary.text_scan_options import MAX_WORDS
from sanitizer.seeding import generator

EmbedTokens = Callable[[Tensor], Tensor]
"""Tokens [N, L], int64, as the model's tokenizer pads them → unit embeddings [N, D]."""
TEXTS_AT_ONCE = 1024


@dataclass(frozen=True, kw_only=True)
class Texts:
    """Texts, tokenised with room for the words that are inserted: their tokens are never cut for these."""

    token_KL: Tensor
    """int64: start, tokens, end, zeros."""
    label_K: Tensor
    """int64: the row of `class_CD` whose class each text names."""
    place_KW: Tensor
    """float64 in [0, 1): where the first, second, … word goes, as a share of the places that there are."""

    @property
    def num(self) -> int:
        return len(self.label_K)

    def with_words(self, word_SI_of: Sequence[Tensor]) -> Tensor:
        """[S, K, L + all I]: each word between two words of the text, at its start or at its end.

        `word_SI_of`: of each word of an insertion the tokens, int64. They stay together.
        """
        num = 1 if not word_SI_of else len(word_SI_of[0])
        return torch.stack([self._inserted(row, word_SI_of, num) for row in range(self.num)], dim=1)

    def _inserted(self, row: int, word_SI_of: Sequence[Tensor], num: int) -> Tensor:
        token_L = self.token_KL[row]
        end = int(token_L.argmax())  # the end of a text has the highest number of all tokens
        places = [1, *(at + 1 for at in range(1, end) if ends_a_word(int(token_L[at])))]
        token_SL = token_L.expand(num, -1)
        for number, word_SI in enumerate(word_SI_of):
            at = places[int(float(self.place_KW[row, number]) * len(places))]
            token_SL = torch.cat([token_SL[:, :at], word_SI, token_SL[:, at:]], dim=1)
            length = word_SI.shape[1]
            places = sorted({*(one if one <= at else one + length for one in places), at + length})
        return token_SL


@dataclass(frozen=True, kw_only=True)
class Effects:
    """What S insertions do. `num_led_S` of the texts that are not of class `towards_S` get it."""

    towards_S: Tensor
    num_led_S: Tensor
    share_S: Tensor
    """float64."""
    value_S: Tensor
    """float64."""


def draw_texts(
    tokenize: Callable[[Sequence[tuple[int, int]]], Tensor],
    num_classes: int,
    num_templates: int,
    sizes: tuple[int, int],
    seed: int,
) -> tuple[Texts, Texts]:
    """The texts of the screening and those of the measurement, which share none.

    A text is a pair of class and template; `tokenize` gives their tokens. `sizes`: how many texts of each
    are wanted. In an order drawn by the seed each set takes as many of each class as it takes for its size,
    and the second what the first has left; fewer where there are no more.
    """
    order = generator(seed, "text_scan_texts").permutation(num_classes * num_templates)
    taken: set[int] = set()
    drawn = []
    for part, size in enumerate(sizes):
        most = -(-size // num_classes)
        rows: list[int] = []
        num_of = dict.fromkeys(range(num_classes), 0)
        for number in order.tolist():
            label = number // num_templates
            if len(rows) < size and number not in taken and num_of[label] < most:
                num_of[label] += 1
                rows.append(number)
        taken.update(rows)
        place_KW = generator(seed, "text_scan_places", part).random((len(rows), MAX_WORDS))
        drawn.append(
            Texts(
                token_KL=tokenize([divmod(number, num_templates) for number in rows]),
                label_K=torch.tensor([number // num_templates for number in rows]),
                place_KW=torch.from_numpy(place_KW),
            )
        )
    return drawn[0], drawn[1]


def classes_of(embedding_ND: Tensor, class_CD: Tensor) -> Tensor:
    """[N]: the row of `class_CD` that is nearest, the first among equals, on every device."""
    cosine_NC = embedding_ND @ class_CD.T
    is_best_NC = cosine_NC == cosine_NC.max(dim=1, keepdim=True).values
    return is_best_NC.int().argmax(dim=1)


def effects(
    embed: EmbedTokens,
    texts: Texts,
    word_SI_of: Sequence[Tensor],
    class_CD: Tensor,
    after: Callable[[int], None] = lambda _: None,
) -> Effects:
    """Insert each of S insertions into every text. `after` hears how many texts were embedded, and may raise.

    Raises what `embed` does.
    """
    num, parts = len(word_SI_of[0]), []
    for start in range(0, num, at_once := max(1, TEXTS_AT_ONCE // texts.num)):
        token_SKL = texts.with_words([word_SI[start : start + at_once] for word_SI in word_SI_of])
        embedding_ND = embed(token_SKL.flatten(0, 1))
        embedding_SKD = embedding_ND.view(*token_SKL.shape[:2], -1)
        towards_SK = classes_of(embedding_ND, class_CD).view(token_SKL.shape[:2]).cpu()
        value_S = embedding_SKD.mean(dim=1).square().sum(dim=-1).double().cpu()
        parts.append((*most_led(towards_SK, texts.label_K), value_S))
        after(len(embedding_ND))
    towards_S, num_led_S, share_S, value_S = map(torch.cat, zip(*parts, strict=True))
    return Effects(towards_S=towards_S, num_led_S=num_led_S, share_S=share_S, value_S=value_S)


def most_led(predicted_SK: Tensor, label_K: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(towards_S, num_led_S, share_S): the class that takes the largest share of texts of other classes."""
    is_led_SK = predicted_SK != label_K
    same_SKK = (predicted_SK[:, :, None] == predicted_SK[:, None, :]) & is_led_SK[:, None, :]
    num_led_SK = same_SKK.sum(dim=2)
    num_others_SK = (predicted_SK[:, :, None] != label_K).sum(dim=2)
    # A text of the class itself shows the same share. Where all texts are of it, nothing can be led.
    share_SK = num_led_SK.double() / num_others_SK.clamp(min=1)
    share_S = share_SK.max(dim=1).values
    is_best_SK = share_SK == share_S[:, None]
    towards_S = predicted_SK.masked_fill(~is_best_SK, torch.iinfo(torch.int64).max).min(dim=1).values
    place_S = (predicted_SK == towards_S[:, None]).int().argmax(dim=1)
    return towards_S, num_led_SK.gather(1, place_S[:, None])[:, 0], share_S


def screening_order(screened: Effects) -> list[int]:
    """Tokens: the largest share first, among about equals the larger collapse, then the lower number."""
    score_S = screened.share_S + 1e-3 * screened.value_S
    return torch.argsort(score_S, descending=True, stable=True).tolist()


def all_tokens() -> Tensor:
    """[S, 1]: every token but the marks of start and end."""
    return torch.arange(NUM_TOKENS)[:, None]


def first_of(order: Sequence[int], named: frozenset[int], most: tuple[int, int]) -> Iterator[int]:
    """Of `order` the first `most[0]` tokens that are in no class name, and the first `most[1]` that are."""
    left = {False: most[0], True: most[1]}
    for token in order:
        is_named = token in named
        if left[is_named]:
            left[is_named] -= 1
            yield token
