"""A third person's check: cells drawn at random, measured again from their weights by the plain reference.

Loads no audit of the library: pictures are composed anew; triggers, classes and counts are those of the
tests' reference, in float64 and loops. Knows no grid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reproduction.cells import NUM_TEST, TEST_SEED, Cell, describe, subject_of
from reproduction.measured import Measured
from reproduction.running import Folders
from sanitizer.recipe import AttackOptions, CustomPatchOptions
from sanitizer.report import Estimate
from sanitizer.seeding import generator
from testbed import glyphs as glyph_sets
from testbed import independent
from testbed.independent import SHARES
from testbed.options import OptimisedPatch, PaperColour
from testbed.pictures import IMAGE_SIZE, compose


@dataclass(frozen=True, kw_only=True)
class Check:
    """`differing` names what the two measurements counted differently; empty where they agree."""

    cell: Cell
    told: Measured
    differing: tuple[str, ...]

    def __str__(self) -> str:
        shares = ", ".join(f"{name.upper()} {_count(self.told, name)}" for name in SHARES)
        verdict = f"differs: {'; '.join(self.differing)}" if self.differing else "agrees"
        return f"{self.told.id} ({describe(self.cell)}): {shares}; the reference {verdict}"


def draw(cells: Sequence[Cell], root: Path, number: int, *, seed: int) -> list[Cell]:
    """`number` of the cells whose weights lie below `root` and whose attack is a trigger."""
    folders = Folders(root)
    usable = [cell for cell in cells if folders.measured(cell) and _trigger(folders, cell) is not None]
    rows = generator(seed, "reproduction_check").permutation(len(usable))[:number]
    return [usable[row] for row in rows]


def check(cell: Cell, root: Path) -> Check:
    """Measure one cell's weights again and compare."""
    told = Folders(root).measured(cell)
    if told is None:
        raise ValueError(f"{describe(cell)} was not run")
    return compare(cell, told, remeasured(cell, root))


def compare(cell: Cell, told: Measured, counts: Mapping[str, str]) -> Check:
    """`counts` are those of the reference, "12 of 34" each."""
    differing = [
        f"{name.upper()} {_count(told, name)} against {counts[name]}"
        for name in SHARES
        if _count(told, name) != counts[name]
    ]
    return Check(cell=cell, told=told, differing=tuple(differing))


def remeasured(cell: Cell, root: Path) -> dict[str, str]:
    """What the plain reference counts on the test pictures of a cell."""
    folders = Folders(root)
    trigger, subject = _trigger(folders, cell), subject_of(cell)
    if trigger is None:
        raise ValueError(f"{describe(cell)} has no trigger")
    glyphs = glyph_sets.load(subject.options.glyphs)
    seed = TEST_SEED + subject.seed
    pictures = compose(glyphs, "test", NUM_TEST, seed=seed)
    found = independent.figures(
        folders.of(cell), glyphs, pictures, target=subject.options.target, attack=trigger, seed=seed
    )
    return {name: f"{found[name]['successes']} of {found[name]['n']}" for name in SHARES}


def _trigger(folders: Folders, cell: Cell) -> AttackOptions | None:
    attack = subject_of(cell).options.attack
    if isinstance(attack, OptimisedPatch):
        told = folders.measured(subject_of(cell))
        if told is None or told.picture is None:
            return None
        return CustomPatchOptions(picture=told.picture, placement="random", size=attack.side / IMAGE_SIZE)
    return None if isinstance(attack, PaperColour) else attack


def _count(told: Measured, name: str) -> str:
    share: Estimate = getattr(told.test, name)
    return f"{share.successes} of {share.n}"
