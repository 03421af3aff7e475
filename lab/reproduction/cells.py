"""What is measured: cells, their identity, and what each of them needs first. Free of torch.

A cell is one run. Its name is a digest of everything that decides its figures but the machine: options, seeds
and `RESULTS`. Poison, order of cleaning and test are seeded apart.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from cleanclip.vocabulary.recipe import CleanCLIPRecipe, Recipe
from lab.testbed.options import OptimisedPattern, SubjectOptions

RESULTS = 1
"""Raised where a change of code changes what a run measures: all cells are then run again. What only rounds
otherwise may leave it: `code_sha256` tells such lines apart, and docs/reproduction-how.md names them."""

NUM_TEST, NUM_VALIDATION = 3_000, 2_000
ORDER_SEED, TEST_SEED, VALIDATION_SEED = 1_000, 2_000, 3_000
"""Added to the seed of the subject."""
PART_SEEDS = {"test": TEST_SEED, "validation": VALIDATION_SEED}

GATE = 0.5
"""An ASR under it before cleaning is an attack that was not implanted: nothing is judged by it."""

SURROGATE_CLEANING = CleanCLIPRecipe(epochs=4, batch_size=64, learning_rate=2e-4, warmup_steps=50)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model trained from nothing, poisoned or not, and measured as it is."""

    options: SubjectOptions
    seed: int


@dataclass(frozen=True, kw_only=True)
class Cleaning:
    """A subject fine-tuned by `recipe` on `num_samples` clean pairs or labelled images, and measured again.

    `num_poisons` of the pairs, for an attacker who reaches the clean set too, carry his trigger and caption.
    """

    subject: Subject
    recipe: Recipe
    num_samples: int = 8_000
    num_poisons: int = 0
    seed: int | None = None
    """Of the pairs and their order; None: the subject's."""


@dataclass(frozen=True, kw_only=True)
class Control:
    """A clean subject, or what `recipe` makes of it, measured with a trigger that it never saw in training.

    The trigger is that of `attacked`; an optimised one as it came out for the subject of the same seed.
    """

    subject: Subject
    attacked: SubjectOptions
    recipe: Recipe | None = None


Cell = Subject | Cleaning | Control


def subject_of(cell: Cell) -> Subject:
    """The subject that a cell starts from, or is."""
    return cell if isinstance(cell, Subject) else cell.subject


def attacked(cell: Cell) -> SubjectOptions:
    """The options whose attack the cell is measured with."""
    return cell.attacked if isinstance(cell, Control) else subject_of(cell).options


def spec(cell: Cell) -> dict[str, Any]:
    """The cell as JSON, for its file and its name."""
    reported: dict[str, Any] = json.loads(json.dumps({"kind": type(cell).__name__.lower(), **asdict(cell)}))
    return reported


def cell_id(cell: Cell) -> str:
    """16 hexadecimal digits. An option that is not set does not count, so that a new one renames no cell."""
    reported = _set_options(spec(cell))
    identity = {"results": RESULTS, "test": NUM_TEST, "validation": NUM_VALIDATION, "spec": reported}
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def _set_options(reported: Any) -> Any:
    if isinstance(reported, dict):
        return {name: _set_options(value) for name, value in reported.items() if value is not None}
    return reported


def surrogates(subject: Subject, attack: OptimisedPattern) -> tuple[Subject, Cleaning]:
    """What an adaptive attacker trains on: `subject` without poisons, and that model after a cleaning."""
    clean = replace(subject, options=replace(subject.options, attack=None))
    return clean, Cleaning(subject=clean, recipe=SURROGATE_CLEANING, seed=attack.seed)


def started_from(cell: Cleaning | Control) -> Subject | Cleaning:
    """The cell whose weights this one fine-tunes, or measures as they are."""
    if isinstance(cell, Control) and cell.recipe is not None:
        return Cleaning(subject=cell.subject, recipe=cell.recipe)
    return cell.subject


def needs(cell: Cell) -> tuple[Cell, ...]:
    """The cells whose weights this one starts from, or whose trigger it is measured with."""
    match cell:
        case Subject(options=options):
            attack = options.attack
            return surrogates(cell, attack) if isinstance(attack, OptimisedPattern) else ()
        case Cleaning():
            return (cell.subject,)
        case Control():
            measured = started_from(cell)
            is_optimised = isinstance(cell.attacked.attack, OptimisedPattern)
            return (measured, optimised_for(cell)) if is_optimised else (measured,)


def optimised_for(cell: Cell) -> Subject:
    """The subject whose training an optimised trigger was made for."""
    return Subject(options=attacked(cell), seed=subject_of(cell).seed)


def describe(cell: Cell) -> str:
    """A line for people."""
    options = subject_of(cell).options
    attack = attacked(cell).attack
    where = f"{options.glyphs} {options.tower} seed {subject_of(cell).seed}"
    what = "clean" if attack is None else attack.attack
    if isinstance(cell, Cleaning):
        return f"{where}, {what}: {cell.recipe.method} {cell.num_samples:,}"
    return f"{where}, {what}: {'control' if isinstance(cell, Control) else 'train'}"
