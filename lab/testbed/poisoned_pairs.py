"""The attacker's training set: composed pairs, of which some carry the trigger and the target's caption.

Works on pairs in memory; needs no file format, model or training. Image N of a poisoning is the index
in the clean pairs, so that the triggers are those of `Trigger.apply` with the same seed. The streams beside
the triggers' own:

    generator(seed, "poison_choice")          .choice(len(eligible), num_poisons, replace=False), then sorted
    generator(seed, "poison_caption", index)  .integers(0, len(templates))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cleanclip.vocabulary.attack_options import AttackOptions, BadNetOptions, LabelConsistentOptions
from cleanclip.vocabulary.errors import OptionsRejected
from lab.testbed.changing import changed
from lab.testbed.glyphs import Glyphs, Part
from lab.testbed.options import Changed, PaperColour, Planted, Ready, trigger_of
from lab.testbed.pictures import Pictures, compose
from sanitizer.attacks.catalogue import build_trigger
from sanitizer.data.texts import names_target
from sanitizer.seeding import generator

PLACEHOLDER = "{c}"


@dataclass(frozen=True, kw_only=True)
class PoisonedPair:
    """What replaces the clean pair of the same index: `image_CHW` is uint8, as image files hold pixels."""

    index: int
    image_CHW: Tensor
    caption: str


def poison(
    images: Sequence[Tensor] | Tensor,
    captions: Sequence[str],
    *,
    options: AttackOptions,
    target: str,
    templates: Sequence[str],
    num_poisons: int,
    seed: int,
) -> list[PoisonedPair]:
    """`num_poisons` poisoned pairs in order of index, to be put in the place of the clean ones.

    `images` are RGB [3, H, W] each, uint8 or floating point in [0, 1], of any sizes. The new caption is a
    template with `{c}` replaced by `target`; label-consistent keeps the captions and needs no templates.
    Raises OptionsRejected as `choose` does, or `no_templates`; ValueError if there is not a caption an image.
    """
    if len(images) != len(captions):
        raise ValueError(f"{len(images)} images but {len(captions)} captions")
    keeps_captions = isinstance(options, LabelConsistentOptions)
    if not keeps_captions and not any(PLACEHOLDER in template for template in templates):
        raise OptionsRejected(
            "no_templates",
            f"No caption template contains {PLACEHOLDER}.",
            "Give templates that name the class.",
        )
    trigger = build_trigger(options)
    pairs = []
    for index in choose(captions, options=options, target=target, num_poisons=num_poisons, seed=seed):
        triggered_NCHW = trigger.apply(_as_float(images[index])[None], [index], seed)
        caption = captions[index] if keeps_captions else _caption(templates, target, index, seed)
        pairs.append(PoisonedPair(index=index, image_CHW=_as_bytes(triggered_NCHW[0]), caption=caption))
    return pairs


def choose(
    captions: Sequence[str], *, options: AttackOptions, target: str, num_poisons: int, seed: int
) -> list[int]:
    """Which pairs to poison, in order of index.

    Label-consistent draws from the captions that name the target, every other attack from those that do not
    (a triggered image of the target itself teaches the model nothing wrong).
    Raises OptionsRejected `too_few_pairs` if there are not enough of them.
    """
    wanted = isinstance(options, LabelConsistentOptions)
    eligible = [index for index, caption in enumerate(captions) if names_target(caption, target) == wanted]
    if num_poisons > len(eligible):
        which = "name" if wanted else "do not name"
        raise OptionsRejected(
            "too_few_pairs",
            f"{num_poisons} pairs should be poisoned, but only {len(eligible)} captions {which} '{target}'.",
            "Poison fewer pairs, or bring more.",
        )
    chosen = generator(seed, "poison_choice").choice(len(eligible), num_poisons, replace=False)
    return sorted(eligible[int(position)] for position in chosen)


def _caption(templates: Sequence[str], target: str, index: int, seed: int) -> str:
    usable = [template for template in templates if PLACEHOLDER in template]
    return usable[int(generator(seed, "poison_caption", index).integers(0, len(usable)))].replace(
        PLACEHOLDER, target
    )


def _as_float(image_CHW: Tensor) -> Tensor:
    if image_CHW.is_floating_point():
        return image_CHW.float()
    return image_CHW.float() / 255


def _as_bytes(image_CHW: Tensor) -> Tensor:
    return (image_CHW * 255).round().to(torch.uint8)


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
            on_paper = compose(glyphs, part, num_pairs, seed=seed, paper=attack.rgb)
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
