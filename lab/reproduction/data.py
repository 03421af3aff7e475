"""The images of the cells as shards on disk, written once.

`Sets` answers with folders, which hold what `testbed` composes for the same arguments.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cleanclip.vocabulary.attack_options import AttackOptions
from lab.reproduction.cells import NUM_TEST, NUM_VALIDATION, ORDER_SEED, PART_SEEDS
from lab.testbed import glyphs as glyph_sets
from lab.testbed.glyphs import Part
from lab.testbed.options import TURQUOISE, PaperColour, SubjectOptions
from lab.testbed.pictures import compose
from lab.testbed.poisoned_pairs import poisoned_set
from lab.testbed.shards import write_labelled, write_pairs
from lab.testbed.writing import made_whole

SIZES = {"test": NUM_TEST, "validation": NUM_VALIDATION}


@dataclass(frozen=True)
class Sets:
    """Below `folder`, one folder a set."""

    folder: Path

    def judged(self, options: SubjectOptions, seed: int, part: Part, *, on_paper: bool = False) -> Path:
        """The labelled images of `part` that a subject of this seed is judged by."""
        glyphs = glyph_sets.load(options.glyphs)
        name = f"{options.glyphs}-{part}-{seed}{'-turquoise' if on_paper else ''}"

        paper = TURQUOISE if on_paper else None
        composed = partial(compose, glyphs, part, SIZES[part], seed=PART_SEEDS[part] + seed, paper=paper)
        return made_whole(self.folder / name, lambda folder: write_labelled(glyphs, composed(), folder))

    def labelled(self, options: SubjectOptions, seed: int, num_images: int) -> Path:
        """Labelled images to fine-tune on."""
        glyphs = glyph_sets.load(options.glyphs)
        name = f"{options.glyphs}-labelled-{seed}-{num_images}"
        composed = partial(compose, glyphs, "cleaning", num_images, seed=ORDER_SEED + seed)
        return made_whole(self.folder / name, lambda folder: write_labelled(glyphs, composed(), folder))

    def pairs(
        self,
        options: SubjectOptions,
        attack: AttackOptions | PaperColour | None,
        seed: int,
        num_pairs: int,
        num_poisons: int,
    ) -> Path:
        """Pairs to fine-tune on, with `num_poisons` poisons of `attack`."""
        glyphs = glyph_sets.load(options.glyphs)

        def make(folder: Path) -> None:
            pairs = poisoned_set(
                glyphs,
                "cleaning",
                num_pairs,
                attack=attack,
                target=options.target,
                num_poisons=num_poisons if attack else 0,
                seed=ORDER_SEED + seed,
            )
            write_pairs(pairs.pictures, folder)

        name = f"{options.glyphs}-pairs-{seed}-{num_pairs}"
        if num_poisons:
            who = (attack, options.target)
            name += f"-{num_poisons}-poisons-{hashlib.sha256(repr(who).encode()).hexdigest()[:8]}"
        return made_whole(self.folder / name, make)
