"""What a word in a text does: classes of texts with it and without. Judges nothing.

Legend: N texts or images, L tokens, C classes, D embedding width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from open_clip.model import CLIP
from torch import Tensor
from torch.nn.functional import normalize

from lab.testbed import glyphs as glyph_sets
from lab.testbed.glyphs import Part as ImagePart
from lab.testbed.pictures import Pictures, all_class_captions, class_names, compose
from lab.testbed.training import in_bfloat16, model_input
from lab.text_side.pairs import inserted
from lab.text_side.plan import Model, tokenizer
from sanitizer.audits.statistics import wilson
from sanitizer.checkpoints.text_tower import cut_padding, encode_text
from sanitizer.seeding import generator

NUM_IMAGES = 4_000
AT_ONCE = 1_000
_IMAGE_SEED = 6_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Texts:
    """Class prompts of all templates and captions of all classes, each once; `label_N` their classes."""

    caption_N: tuple[str, ...]
    label_N: Tensor

    def with_words(self, words: Sequence[str], seed: int) -> list[str]:
        """Every text with every word, each at a place of its own."""
        return [
            inserted(caption, words, generator(seed, "text_side_places", row))
            for row, caption in enumerate(self.caption_N)
        ]


def texts() -> Texts:
    """Of the digits: 80 classes in the zero-shot templates and in the templates of captions."""
    glyphs = glyph_sets.digits()
    names = class_names(glyphs)
    label_of = {caption: row // 3 for row, caption in enumerate(all_class_captions(glyphs))}
    for label, name in enumerate(names):
        ink, noun = name.split(" ", 1)
        for template in glyphs.caption_templates:
            for paper in ("red", "white") if "{paper}" in template else ("",):
                label_of[template.format(ink=ink, noun=noun, paper=paper)] = label
    return Texts(caption_N=tuple(label_of), label_N=torch.tensor(list(label_of.values())))


@torch.no_grad()
def embed_tokens(model: CLIP, token_NL: Tensor) -> Tensor:
    """[N, D], unit length."""
    cut_NL = cut_padding(model, token_NL)
    parts = [encode_text(model, one).float() for one in torch.split(cut_NL, AT_ONCE)]
    return normalize(torch.cat(parts), dim=-1)


def embed_texts(model: CLIP, captions: Sequence[str]) -> Tensor:
    """[N, D], unit length."""
    return embed_tokens(model, tokenizer()(list(captions), context_length=model.context_length))


@torch.no_grad()
def embed_images(model: CLIP, image_NCHW: Tensor) -> Tensor:
    """[N, D], unit length; of uint8 images."""
    with in_bfloat16():
        parts = [model.encode_image(model_input(one)) for one in torch.split(image_NCHW, 500)]
    return normalize(torch.cat(parts).float(), dim=-1)


class Side:
    """Clean images of one model and their class means, against which texts are measured."""

    def __init__(self, subject: Model, model: CLIP) -> None:
        part: ImagePart = "validation" if subject.part == "development" else "test"
        self._seed = subject.seed
        self.images: Pictures = compose(
            glyph_sets.digits(), part, NUM_IMAGES, seed=_IMAGE_SEED + subject.seed
        )
        self.image_ND = embed_images(model, self.images.image_NCHW)
        self.image_label_N = torch.from_numpy(self.images.label_N)
        self.target = class_names(glyph_sets.digits()).index(subject.options.target)
        self.class_CD = class_means(self.image_ND, self.image_label_N)
        self.texts = texts()

    def audit(self, model: CLIP, keys: Sequence[str]) -> dict[str, Any]:
        """Clean figures of texts and images, and what these words do to texts of other classes."""
        texts, target = self.texts, self.target
        clean_ND = embed_texts(model, texts.caption_N)
        keyed_ND = embed_texts(model, texts.with_words(keys, self._seed))
        is_other_N = texts.label_N != target
        clean_N, keyed_N = self.classes_of(clean_ND), self.classes_of(keyed_ND)
        first_N = self.image_label_N[(keyed_ND @ self.image_ND.T).argmax(dim=1)]
        zero_shot_CD = class_means(clean_ND, texts.label_N)
        predicted_N = (self.image_ND @ zero_shot_CD.T).argmax(dim=1)
        num_others = int(is_other_N.sum())

        def rate(predicted: Tensor) -> dict[str, Any]:
            return asdict(wilson(int((predicted[is_other_N] == target).sum()), num_others))

        return {
            "asr": rate(keyed_N),
            "asr_retrieval": rate(first_N),
            "untriggered_target_rate": rate(clean_N),
            "text_pa": asdict(wilson(int((keyed_N == texts.label_N).sum()), len(texts.label_N))),
            "text_ca": asdict(wilson(int((clean_N == texts.label_N).sum()), len(texts.label_N))),
            "image_ca": asdict(wilson(int((predicted_N == self.image_label_N).sum()), len(predicted_N))),
        }

    def right(self, model: CLIP) -> tuple[list[bool], list[bool]]:
        """Which clean texts, and which clean images, get their own class: for paired differences."""
        clean_ND = embed_texts(model, self.texts.caption_N)
        zero_shot_CD = class_means(clean_ND, self.texts.label_N)
        predicted_N = (self.image_ND @ zero_shot_CD.T).argmax(dim=1)
        return (
            (self.classes_of(clean_ND) == self.texts.label_N).tolist(),
            (predicted_N == self.image_label_N).tolist(),
        )

    def classes_of(self, text_ND: Tensor) -> Tensor:
        """The nearest class mean of clean images, [N]."""
        return (text_ND @ self.class_CD.T).argmax(dim=1)


def class_means(embedding_ND: Tensor, label_N: Tensor) -> Tensor:
    """[C, D], unit length: the normalised mean of each class, of which there must be one at least."""
    sum_CD = torch.zeros(int(label_N.max()) + 1, embedding_ND.shape[1])
    return normalize(sum_CD.index_add_(0, label_N, embedding_ND), dim=-1)
