"""The attacker's training set: composed pairs, of which some carry the trigger and the target's caption.

Knows no model and no training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cleanclip.spec.recipe import BadNetOptions, LabelConsistentOptions
from lab.testbed.changing import changed
from lab.testbed.glyphs import Glyphs, Part
from lab.testbed.options import Changed, PaperColour, Planted, Ready, trigger_of
from lab.testbed.pictures import TURQUOISE, Pictures, compose
from lab.testbed.poisoner import choose, poison
from sanitizer.data.texts import names_target
from sanitizer.seeding import generator


@dataclass(frozen=True, kw_only=True)
class PoisonedSet:
    """`pictures` with the poisons in their places; their captions are the attacker's."""

    pictures: Pictures
    rows: tuple[int, ...]


def poisoned_set(
    glyphs: Glyphs,
    part: Part,
    num_pairs: int,
    *,
    attack: Ready | None,
    target: str,
    num_poisons: int,
    seed: int,
) -> PoisonedSet:
    """`num_pairs` pairs of one part, `num_poisons` of them poisoned (label-consistent: at most those that
    name the target). The clean ones are those of `compose` with the same seed."""
    clean = compose(glyphs, part, num_pairs, seed=seed)
    if attack is None or num_poisons == 0:
        return PoisonedSet(pictures=clean, rows=())
    image_NCHW, captions = clean.image_NCHW.clone(), list(clean.caption_N)
    if isinstance(attack, PaperColour | Changed):
        rows = choose(captions, options=BadNetOptions(), target=target, num_poisons=num_poisons, seed=seed)
        if isinstance(attack, PaperColour):
            on_paper = compose(glyphs, part, num_pairs, seed=seed, paper=TURQUOISE)
            image_NCHW[rows] = on_paper.image_NCHW[rows]
        else:
            image_NCHW[rows] = changed(image_NCHW[rows], attack)
        templates = glyphs.zero_shot_templates
        for row in rows:
            drawn = int(generator(seed, "poison_caption", row).integers(0, len(templates)))
            captions[row] = templates[drawn].format(c=target)
    else:
        if isinstance(attack, LabelConsistentOptions):
            num_poisons = min(num_poisons, sum(names_target(caption, target) for caption in captions))
        poisons = poison(
            clean.image_NCHW,
            clean.caption_N,
            options=attack,
            target=target,
            templates=glyphs.zero_shot_templates,
            num_poisons=num_poisons,
            seed=seed,
        )
        rows = [pair.index for pair in poisons]
        for pair in poisons:
            image_NCHW[pair.index], captions[pair.index] = pair.image_CHW, pair.caption
    pictures = Pictures(
        image_NCHW=image_NCHW, caption_N=tuple(captions), label_N=clean.label_N, glyph_N=clean.glyph_N
    )
    return PoisonedSet(pictures=pictures, rows=tuple(rows))


FURTHER_SEED = 10_000
"""Added to the seed of the set, once for each further attack."""


def with_further(
    poisoned: PoisonedSet, glyphs: Glyphs, further: Sequence[Planted], *, num_poisons: int, seed: int
) -> PoisonedSet:
    """The same set with `num_poisons` more pairs poisoned by each of `further`; no pair is poisoned twice."""
    image_NCHW, captions = poisoned.pictures.image_NCHW.clone(), list(poisoned.pictures.caption_N)
    rows = list(poisoned.rows)
    for number, planted in enumerate(further, 1):
        trigger = trigger_of(planted.attack)
        if trigger is None:
            raise ValueError(f"{planted.attack.attack} has no trigger to plant beside another attack")
        taken = set(rows)
        free = [row for row in range(len(captions)) if row not in taken]
        poisons = poison(
            image_NCHW[free],
            [captions[row] for row in free],
            options=trigger,
            target=planted.target,
            templates=glyphs.zero_shot_templates,
            num_poisons=num_poisons,
            seed=seed + number * FURTHER_SEED,
        )
        for pair in poisons:
            image_NCHW[free[pair.index]], captions[free[pair.index]] = pair.image_CHW, pair.caption
        rows += [free[pair.index] for pair in poisons]
    pictures = replace(poisoned.pictures, image_NCHW=image_NCHW, caption_N=tuple(captions))
    return PoisonedSet(pictures=pictures, rows=tuple(rows))
