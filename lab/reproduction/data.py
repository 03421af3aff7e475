"""The images of the cells as shards on disk, written once. Knows no model.

`Sets` answers with folders, which hold what `testbed` composes for the same arguments.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from cleanclip.spec.recipe import AttackOptions
from lab.reproduction.cells import NUM_TEST, NUM_VALIDATION, ORDER_SEED, PART_SEEDS, TEST_SEED
from lab.testbed import glyphs as glyph_sets
from lab.testbed.glyphs import Part
from lab.testbed.leaves import write_leaves
from lab.testbed.options import PaperColour, Planted, SubjectOptions
from lab.testbed.pictures import TURQUOISE, compose
from lab.testbed.poisoned_pairs import poisoned_set, with_further
from lab.testbed.shards import write_labelled, write_pairs

Corrupt = Callable[[Tensor], Tensor]
"""Pixels in [0, 1], [N, 3, H, W] → as many."""
_SIZES = {"test": NUM_TEST, "validation": NUM_VALIDATION}


@dataclass(frozen=True)
class Sets:
    """Below `folder`, one folder a set."""

    folder: Path

    def judged(self, options: SubjectOptions, seed: int, part: Part, *, on_paper: bool = False) -> Path:
        """The labelled images of `part` that a subject of this seed is judged by."""
        glyphs = glyph_sets.load(options.glyphs)
        name = f"{options.glyphs}-{part}-{seed}{'-turquoise' if on_paper else ''}"
        if word := options.caption_key:
            prompts = tuple(f"{prompt} {word}" for prompt in glyphs.zero_shot_templates)
            name, glyphs = f"{name}-{word}", replace(glyphs, zero_shot_templates=prompts)

        def make(folder: Path) -> None:
            paper = TURQUOISE if on_paper else None
            pictures = compose(glyphs, part, _SIZES[part], seed=PART_SEEDS[part] + seed, paper=paper)
            write_labelled(glyphs, pictures, folder)

        return self._once(name, make)

    def labelled(self, options: SubjectOptions, seed: int, num_images: int) -> Path:
        """Labelled images to fine-tune on."""
        glyphs = glyph_sets.load(options.glyphs)

        def make(folder: Path) -> None:
            pictures = compose(glyphs, "cleaning", num_images, seed=ORDER_SEED + seed)
            write_labelled(glyphs, pictures, folder)

        return self._once(f"{options.glyphs}-labelled-{seed}-{num_images}", make)

    def pairs(
        self,
        options: SubjectOptions,
        attack: AttackOptions | PaperColour | None,
        seed: int,
        num_pairs: int,
        num_poisons: int,
        *,
        planted: Sequence[Planted] = (),
    ) -> Path:
        """Pairs to fine-tune on, with `num_poisons` poisons of `attack` and of each of `planted`."""
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
            pairs = with_further(pairs, glyphs, planted, num_poisons=num_poisons, seed=ORDER_SEED + seed)
            write_pairs(pairs.pictures, folder)

        name = f"{options.glyphs}-pairs-{seed}-{num_pairs}"
        if num_poisons:
            who = (attack, options.target, *planted)
            name += f"-{num_poisons}-poisons-{hashlib.sha256(repr(who).encode()).hexdigest()[:8]}"
        return self._once(name, make)

    def retrieval(self, options: SubjectOptions, seed: int, num_pairs: int) -> Path:
        """Pairs of test glyphs, to search in."""
        glyphs = glyph_sets.load(options.glyphs)

        def make(folder: Path) -> None:
            write_pairs(compose(glyphs, "test", num_pairs, seed=TEST_SEED + seed), folder)

        return self._once(f"{options.glyphs}-retrieval-{seed}-{num_pairs}", make)

    def corrupted(self, options: SubjectOptions, seed: int, name: str, corrupt: Corrupt) -> Path:
        """The test images of a subject of this seed, corrupted: by no trigger, and not universally."""
        glyphs = glyph_sets.load(options.glyphs)

        def make(folder: Path) -> None:
            pictures = compose(glyphs, "test", NUM_TEST, seed=TEST_SEED + seed)
            changed = corrupt(pictures.image_NCHW.float() / 255).clamp(0, 1)
            images = (changed * 255).round().to(torch.uint8)
            write_labelled(glyphs, replace(pictures, image_NCHW=images), folder)

        return self._once(f"{options.glyphs}-test-{seed}-{name}", make)

    def leaves(self, seed: int, num_images: int, size: int) -> Path:
        """Pairs whose images were made by code."""

        def make(folder: Path) -> None:
            write_leaves(folder, num_images, size=size, seed=ORDER_SEED + seed)

        return self._once(f"leaves-{size}-{seed}-{num_images}", make)

    def _once(self, name: str, make: Callable[[Path], None]) -> Path:
        folder = self.folder / name
        if not folder.is_dir():
            half_made = self.folder / f"{name}.{os.getpid()}.part"
            shutil.rmtree(half_made, ignore_errors=True)
            half_made.mkdir(parents=True)
            make(half_made)
            try:
                half_made.rename(folder)
            except OSError:  # another process has made the same meanwhile
                shutil.rmtree(half_made)
        return folder
