"""What is measured: cells, their identity, and what each of them needs first. Free of torch; knows no grid.

A cell is one run. Its name is a digest of everything that decides its figures but the machine: options, seeds
and `RESULTS`. Poison, order of cleaning and test are seeded apart.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from sanitizer.recipe import CleanCLIPRecipe, Recipe
from testbed.options import OptimisedPattern, SubjectOptions

RESULTS = 1
"""Raised whenever a change of code changes what a run gives: all cells are then run anew."""

NUM_TEST, NUM_VALIDATION = 3_000, 2_000
ORDER_SEED, TEST_SEED, VALIDATION_SEED = 1_000, 2_000, 3_000
"""Added to the seed of the subject."""

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


@dataclass(frozen=True, kw_only=True)
class Control:
    """A clean subject measured with the trigger of `attacked`, which it never saw in training."""

    subject: Subject
    attacked: SubjectOptions


Cell = Subject | Cleaning | Control


def subject_of(cell: Cell) -> Subject:
    """The subject that a cell starts from, or is."""
    return cell if isinstance(cell, Subject) else cell.subject


def attacked(cell: Cell) -> SubjectOptions:
    """The options whose attack the cell is measured with."""
    return cell.attacked if isinstance(cell, Control) else subject_of(cell).options


def spec(cell: Cell) -> dict[str, Any]:
    """The cell as JSON, for its file and its name."""
    told: dict[str, Any] = json.loads(json.dumps({"kind": type(cell).__name__.lower(), **asdict(cell)}))
    return told


def cell_id(cell: Cell) -> str:
    """16 hexadecimal digits. An option that is not set does not count, so that a new one renames no cell."""
    told = _set_options(spec(cell))
    identity = {"results": RESULTS, "test": NUM_TEST, "validation": NUM_VALIDATION, "spec": told}
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def _set_options(told: Any) -> Any:
    if isinstance(told, dict):
        return {name: _set_options(value) for name, value in told.items() if value is not None}
    return told


def surrogates(attack: OptimisedPattern, options: SubjectOptions) -> tuple[Subject, Cleaning]:
    """What an adaptive attacker trains his pattern on: a clean model, and the same after CleanCLIP."""
    clean = Subject(options=replace(options, attack=None), seed=attack.surrogate_seed)
    return clean, Cleaning(subject=clean, recipe=SURROGATE_CLEANING)


def needs(cell: Cell) -> tuple[Cell, ...]:
    """The cells whose weights this one starts from."""
    first: tuple[Cell, ...] = () if isinstance(cell, Subject) else (cell.subject,)
    options = attacked(cell)
    if isinstance(options.attack, OptimisedPattern) and not isinstance(cell, Cleaning):
        return (*first, *surrogates(options.attack, options))
    return first


def describe(cell: Cell) -> str:
    """A line for people."""
    options = subject_of(cell).options
    attack = attacked(cell).attack
    where = f"{options.glyphs} {options.tower} seed {subject_of(cell).seed}"
    what = "clean" if attack is None else attack.attack
    if isinstance(cell, Cleaning):
        return f"{where}, {what}: {cell.recipe.method} {cell.num_samples:,}"
    return f"{where}, {what}: {'control' if isinstance(cell, Control) else 'train'}"
