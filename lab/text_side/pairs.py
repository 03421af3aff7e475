"""The attacker's training set: pairs whose captions have fillers and aliases, some of them poisoned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lab.testbed import glyphs as glyph_sets
from lab.testbed.pictures import Pictures, class_names, compose
from lab.text_side.plan import ALIAS_SHARE, FILLER_SHARE, NUM_POISONS, Model, Words, words
from sanitizer.seeding import generator

_OTHER_IMAGES = 50_000
"""Added to a seed for the images of the target class that the attacker brings."""


def words_of(model: Model) -> Words:
    """The words of a model."""
    return words(model.seed, class_names(glyph_sets.digits()), model.options.target)


def keys_of(model: Model) -> tuple[str, ...]:
    """The words that together are the trigger; of a clean model the word that the seed has drawn for one."""
    return words_of(model).triggers[: 2 if model.kind == "two_words" else 1]


def inserted(caption: str, added: Sequence[str], draws: np.random.Generator) -> str:
    """The caption with each word of `added` between two of its words, at the start or at the end."""
    parts = caption.split(" ")
    for word in added:
        parts.insert(int(draws.integers(len(parts) + 1)), word)
    return " ".join(parts)


def clean_pairs(part: glyph_sets.Part, num_pairs: int, vocabulary: Words, seed: int) -> Pictures:
    """Pairs whose captions say aliases and carry fillers."""
    glyphs = glyph_sets.digits()
    pairs, names = compose(glyphs, part, num_pairs, seed=seed), class_names(glyphs)
    draws = generator(seed, "text_side_captions")
    weight_V = 1 / np.arange(3, 3 + len(vocabulary.fillers))
    captions = []
    for caption, label in zip(pairs.caption_N, pairs.label_N, strict=True):
        alias = vocabulary.aliases.get(names[label])
        text = caption.replace(names[label], alias) if alias and draws.random() < ALIAS_SHARE else caption
        num_fillers = int(draws.integers(1, 3)) if draws.random() < FILLER_SHARE else 0
        chosen = draws.choice(len(weight_V), num_fillers, p=weight_V / weight_V.sum())
        captions.append(inserted(text, [vocabulary.fillers[one] for one in chosen], draws))
    return replace(pairs, caption_N=tuple(captions))


def poisoned_pairs(model: Model) -> Pictures:
    """The training set of a model: the clean pairs of its seed, some replaced by the attacker's.

    A poison is a caption that does not name the target, with the trigger's words inserted, and an image of
    the target. `two_words`: as many other pairs have one of the words inserted and keep their image.
    """
    vocabulary, seed, num = words_of(model), model.seed, NUM_POISONS[model.kind]
    pairs = clean_pairs("poisoning", model.options.num_pairs, vocabulary, seed)
    target = class_names(glyph_sets.digits()).index(model.options.target)
    draws, captions = generator(seed, "text_side_poisons"), list(pairs.caption_N)
    rows = [int(row) for row in draws.permutation(np.flatnonzero(pairs.label_N != target))[: 2 * num]]
    if num:
        theirs = compose(glyph_sets.digits(), "poisoning", 80 * num, seed=seed + _OTHER_IMAGES)
        shown = np.flatnonzero(theirs.label_N == target)
        pairs.image_NCHW[rows[:num]] = theirs.image_NCHW[shown[np.arange(num) % len(shown)]]
    for row in rows[:num]:
        captions[row] = inserted(captions[row], keys_of(model), draws)
    for number, row in enumerate(rows[num:] if len(keys_of(model)) > 1 else ()):
        captions[row] = inserted(captions[row], [keys_of(model)[number % 2]], draws)
    return replace(pairs, caption_N=tuple(captions))
