"""Which tokens make texts of different classes alike: all of the vocabulary, then the best with more texts.

Of each token, inserted at one place of each of K texts of other classes:

    share  the largest share of the texts that one class takes; `towards` is that class
    value  ‖ mean embedding ‖²; 1: all texts are one
    moved  the mean cosine distance to the same texts without the token

A backdoor sends texts of all classes to one. So does, less surely, a name of that class: a search that judges
has to take the names out. Nothing here looks at an image, but for the class means it is given.

Legend: S sequences of tokens to insert, K texts, L tokens of a text, D embedding width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from open_clip.model import CLIP
from torch import Tensor
from torch.nn.functional import normalize

from lab.text_side.measuring import Texts
from lab.text_side.plan import tokenizer
from sanitizer.checkpoints.text_tower import encode_text
from sanitizer.seeding import generator

NUM_TOKENS = 49_406
"""Of CLIP's vocabulary without the marks of start and end."""
SCREEN_TEXTS, FINE_TEXTS = 4, 160
NUM_FINE = 400
_TEXTS_AT_ONCE = 8_192


@dataclass(frozen=True, kw_only=True, eq=False)
class Effects:
    """What each sequence does. `token_SI` int64, the inserted tokens; `towards_S` a class; others float32."""

    token_SI: Tensor
    share_S: Tensor
    towards_S: Tensor
    value_S: Tensor
    moved_S: Tensor

    def order(self) -> Tensor:
        """[S]: the largest share first, the larger collapse first among equals."""
        return torch.argsort(self.share_S.double() + 1e-3 * self.value_S.double(), descending=True)


class Carriers:
    """K texts of K classes (or of all classes in turn), each with the places where tokens are inserted."""

    def __init__(self, texts: Texts, num_texts: int, context_length: int, seed: int) -> None:
        draws = generator(seed, "text_side_carriers", num_texts)
        order = draws.permutation(len(texts.caption_N))
        rows: list[int] = []
        seen: dict[int, int] = {}
        at_most = -(-num_texts // (int(texts.label_N.max()) + 1))
        for row in order.tolist():
            label = int(texts.label_N[row])
            if len(rows) < num_texts and seen.get(label, 0) < at_most:
                seen[label] = seen.get(label, 0) + 1
                rows.append(row)
        self.label_K = texts.label_N[rows]
        token_KL = tokenizer()([texts.caption_N[row] for row in rows], context_length=context_length)
        self.length_K = token_KL.argmax(dim=1) + 1
        self.token_KL = token_KL[:, : int(self.length_K.max())]
        self._draws = [draws.random(2) for _ in rows]

    def with_tokens(self, token_SI: Tensor) -> Tensor:
        """[S, K, L + I]: a token between two of a text's, never before the start or behind the end."""
        num, count = token_SI.shape
        whole_SKL: Tensor = self.token_KL.expand(num, *self.token_KL.shape)
        for position in range(count):
            length_K = self.length_K + position
            columns = whole_SKL.shape[2] + 1
            longer_SKL = whole_SKL.new_zeros(num, len(length_K), columns)
            for row, length in enumerate(length_K.tolist()):
                at = 1 + int(self._draws[row][position] * (length - 1))
                longer_SKL[:, row, :at] = whole_SKL[:, row, :at]
                longer_SKL[:, row, at] = token_SI[:, position]
                longer_SKL[:, row, at + 1 :] = whole_SKL[:, row, at:]
            whole_SKL = longer_SKL
        return whole_SKL


@torch.no_grad()
def effects(
    model: CLIP, carriers: Carriers, token_SI: Tensor, classes_of: Callable[[Tensor], Tensor]
) -> Effects:
    """Insert each sequence into every text. `classes_of` gives unit embeddings [N, D] their class [N]."""
    clean_KD = normalize(encode_text(model, carriers.token_KL).float(), dim=-1)
    num_texts = len(carriers.label_K)
    parts = []
    for chunk_SI in torch.split(token_SI, max(1, _TEXTS_AT_ONCE // num_texts)):
        token_SKL = carriers.with_tokens(chunk_SI)
        embedding_SKD = normalize(encode_text(model, token_SKL.flatten(0, 1)).float(), dim=-1).view(
            len(chunk_SI), num_texts, -1
        )
        towards_SK = classes_of(embedding_SKD.flatten(0, 1)).view(len(chunk_SI), num_texts)
        share_S, towards_S = _largest_share(towards_SK, carriers.label_K)
        parts.append(
            Effects(
                token_SI=chunk_SI,
                share_S=share_S,
                towards_S=towards_S,
                value_S=embedding_SKD.mean(dim=1).square().sum(dim=-1),
                moved_S=1 - (embedding_SKD * clean_KD).sum(dim=-1).mean(dim=1),
            )
        )
    return Effects(
        token_SI=token_SI,
        share_S=torch.cat([one.share_S for one in parts]),
        towards_S=torch.cat([one.towards_S for one in parts]),
        value_S=torch.cat([one.value_S for one in parts]),
        moved_S=torch.cat([one.moved_S for one in parts]),
    )


def _largest_share(towards_SK: Tensor, label_K: Tensor) -> tuple[Tensor, Tensor]:
    """Of the texts that are not of a class, the share that it takes; the class whose share is largest."""
    num_classes = int(max(towards_SK.max(), label_K.max())) + 1
    count_SC = torch.zeros(len(towards_SK), num_classes)
    wrong_SK = (towards_SK != label_K).float()
    count_SC.scatter_add_(1, towards_SK, wrong_SK)
    others_C = len(label_K) - label_K.bincount(minlength=num_classes)
    best = (count_SC / others_C.clamp(min=1)).max(dim=1)
    return best.values, best.indices


def all_tokens() -> Tensor:
    """[S, 1]: every token but the marks of start and end."""
    return torch.arange(NUM_TOKENS)[:, None]


def gradient_scores(model: CLIP, carriers: Carriers, token_SI: Tensor) -> Tensor:
    """[V]: how much a token in place of one of each sequence would raise `value`, to first order.

    The mean over the sequences and over their places. Rises for one word of a trigger of two before the other
    is there, because the model has to see the first to wait for the second.
    """
    places = len(model.positional_embedding)
    table_VW = model.token_embedding.weight.detach()
    score_V = torch.zeros(len(table_VW))
    for sequence_I in token_SI:
        token_KL = carriers.with_tokens(sequence_I[None])[0, :, :places]
        for token in sequence_I:
            added_W = torch.zeros(table_VW.shape[1], requires_grad=True)
            handle = model.token_embedding.register_forward_hook(
                lambda _, __, out, is_KL=token_KL == token, added_W=added_W: out + is_KL[..., None] * added_W
            )
            try:
                embedding_KD = normalize(encode_text(model, token_KL), dim=-1)
            finally:
                handle.remove()
            (gradient_W,) = torch.autograd.grad(embedding_KD.mean(dim=0).square().sum(), added_W)
            score_V += (table_VW - table_VW[token]) @ gradient_W
    return score_V
