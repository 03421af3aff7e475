"""A third person's check: cells drawn at random, measured again from their weights by the plain reference.

Loads no audit of the library: images are composed again; triggers, classes and counts are those of the
tests' reference, in float64 and loops. What it counts is held against the cell's own file and, where the same
weights were published, against the published line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cleanclip.vocabulary.attack_options import AttackOptions
from cleanclip.vocabulary.measures import Estimate
from lab.reproduction.cells import NUM_TEST, TEST_SEED, Cell, attacked, describe, subject_of
from lab.reproduction.measured import Measured
from lab.reproduction.running import Folders, as_trigger
from lab.testbed import glyphs as glyph_sets
from lab.testbed import independent
from lab.testbed.independent import ALL_SHARES
from lab.testbed.options import OptimisedPattern, trigger_of
from lab.testbed.pictures import compose
from sanitizer.seeding import generator

NOT_CHECKED = (
    "Not checked: the validation images, CA lost, CA by epoch, and cells without a trigger to apply: a"
    " semantic attack's, and clean models."
)


@dataclass(frozen=True, kw_only=True)
class Check:
    """`differing` names what was counted otherwise; empty where all agree.

    `published`: the published line of the same cell, if there is one, be it of these weights or of others.
    """

    cell: Cell
    reported: Measured
    published: Measured | None
    differing: tuple[str, ...]

    def __str__(self) -> str:
        shares = ", ".join(f"{name.upper()} {_count(self.reported, name)}" for name in ALL_SHARES)
        verdict = f"differs: {'; '.join(self.differing)}" if self.differing else "agrees"
        compared = "compared with the published line, too"
        if self.published is None:
            compared = "no published line to compare"
        elif self.published.weights_sha256 != self.reported.weights_sha256:
            compared = "the published line is of other weights and was not compared"
        return f"{self.reported.id} ({describe(self.cell)}): {shares}; the reference {verdict}; {compared}"


def draw(cells: Sequence[Cell], root: Path, number: int, *, seed: int) -> list[Cell]:
    """`number` of the cells whose weights lie below `root` and whose attack is a trigger."""
    folders = Folders(root)
    usable = [cell for cell in cells if folders.measured(cell) and _trigger(folders, cell) is not None]
    rows = generator(seed, "reproduction_check").permutation(len(usable))[:number]
    return [usable[row] for row in rows]


def check(cell: Cell, root: Path, published: Mapping[str, Measured]) -> Check:
    """Measure one cell's weights again and compare. `published`: lines by the names of their cells."""
    reported = Folders(root).measured(cell)
    if reported is None:
        raise ValueError(f"{describe(cell)} was not run")
    return compare(cell, reported, remeasured(cell, root), published.get(reported.id))


def compare(cell: Cell, reported: Measured, counts: Mapping[str, str], published: Measured | None) -> Check:
    """`counts` are those of the reference, "12 of 34" each."""
    differing = _differing("", reported, counts)
    if published is not None and published.weights_sha256 == reported.weights_sha256:
        differing += _differing("published ", published, counts)
        if published.correct != reported.correct:
            differing.append("published images that are right are others")
    return Check(cell=cell, reported=reported, published=published, differing=tuple(differing))


def _differing(whose: str, reported: Measured, counts: Mapping[str, str]) -> list[str]:
    return [
        f"{whose}{name.upper()} {_count(reported, name)} against {counts[name]}"
        for name in ALL_SHARES
        if _count(reported, name) != counts[name]
    ]


def remeasured(cell: Cell, root: Path) -> dict[str, str]:
    """What the plain reference counts on the test images of a cell."""
    folders = Folders(root)
    trigger, subject = _trigger(folders, cell), subject_of(cell)
    if trigger is None:
        raise ValueError(f"{describe(cell)} has no trigger")
    glyphs = glyph_sets.load(subject.options.glyphs)
    seed = TEST_SEED + subject.seed
    pictures = compose(glyphs, "test", NUM_TEST, seed=seed)
    found = independent.figures(
        folders.of(cell),
        glyphs,
        pictures,
        target=attacked(cell).target,
        attack=trigger,
        seed=seed,
        shares=ALL_SHARES,
    )
    return {name: f"{found[name]['successes']} of {found[name]['n']}" for name in ALL_SHARES}


def _trigger(folders: Folders, cell: Cell) -> AttackOptions | None:
    attack = attacked(cell).attack
    if isinstance(attack, OptimisedPattern):
        reported = folders.measured(cell)
        if reported is None or reported.picture is None:
            return None
        return as_trigger(attack, reported.picture)
    return trigger_of(attack)


def _count(reported: Measured, name: str) -> str:
    share: Estimate = getattr(reported.test, name)
    return f"{share.successes} of {share.n}"
