"""`python -m lab.zoo --cleaned`: what one pattern does to models of the zoo before and after each method.

A cleaned model is a model of its own, named "model+method", with a row of its figures and one of the search:
docs/scanning/cleaned.
The same command goes on after an interruption.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch

from cleanclip.spec.recipe import CleanCLIPRecipe, PARRecipe, Recipe, SupervisedRecipe, UARRecipe
from cleanclip.spec.recommended import Family, recommended, with_recommended
from lab.reproduction.data import Sets
from lab.reproduction.running import clean
from lab.testbed.options import OptimisedPattern
from lab.zoo.making import Started, row_of
from lab.zoo.plan import BEDS, Model, in_order
from lab.zoo.rows import ModelRow, read_models
from lab.zoo.running import Folders, alone, finish, opened_or_made

_CHOSEN = (
    *("development-fashion-resnet-016", "development-fashion-vit-016", "test_clean-fashion-resnet-007"),
    *("test_clean-fashion-vit-004", "development-digits-resnet-002", "development-fashion-vit-017"),
    *("test_clean-digits-resnet-003", "development-fashion-resnet-018", "development-fashion-vit-018"),
    *("test_clean-fashion-vit-005", "development-fashion-resnet-017", "test_clean-fashion-resnet-008"),
    *("development-digits-resnet-003", "development-fashion-resnet-015"),
)
_ALL = {one.name: one for one in in_order(("development", "test_clean"), tuple(BEDS))}
MODELS = tuple(_ALL[name] for name in _CHOSEN)
"""Chosen, with their order, before the first of them was cleaned."""
RECIPES: tuple[Recipe, ...] = (UARRecipe(), CleanCLIPRecipe(), PARRecipe(), SupervisedRecipe())
ORDER_SEED = 8_000_000
"""Added to the model's seed: of the samples, and of the run."""
ROOT = Path(__file__).resolve().parents[2]


def run(
    folders: Folders,
    stop_after_s: float | None,
    say: Callable[[str], None],
    models: Sequence[Model] = MODELS,
) -> int:
    """Clean and search what is missing; how many models are not finished. Raises Busy; GlyphsMissing."""
    folders = replace(folders, rows=folders.rows / "cleaned")
    torch.set_num_threads(1)
    started = time.monotonic()
    with alone(folders.weights):
        for done, one in enumerate(models):
            if stop_after_s is not None and time.monotonic() - started > stop_after_s:
                return len(models) - done
            finish(one, ("collapse",), folders, say)
            for recipe, num_samples in recipes_for(one):
                named = replace(one, name=f"{one.name}+{recipe.method}")
                finish(
                    named, ("collapse",), folders, say, make=_cleaner(one, recipe, num_samples, folders, say)
                )
                shutil.rmtree(folders.weights / named.name, ignore_errors=True)
            for path in (folders.weights / one.name, folders.weights / "sets"):
                shutil.rmtree(path, ignore_errors=True)
    return 0


def recipes_for(one: Model) -> list[tuple[Recipe, int]]:
    """With the recommended values, and on how many samples; a method without any for the tower is not run."""
    family: Family = "VisionTransformer" if one.options.tower == "vit" else "ModifiedResNet"
    sources = [(recipe, recommended(recipe.method, family, "small")) for recipe in RECIPES]
    return [
        (with_recommended(recipe, (), (family, "small")), source.num_samples)
        for recipe, source in sources
        if source is not None
    ]


def _cleaner(
    one: Model, recipe: Recipe, num_samples: int, folders: Folders, say: Callable[[str], None]
) -> Callable[[Model, Path], ModelRow]:
    def make(named: Model, folder: Path) -> ModelRow:
        before = folders.weights / one.name
        opened_or_made(one, before, folders.rows, say)
        known = read_models(folders.rows)[one.name]
        started = Started(time.monotonic(), time.process_time())
        attack, sets, seed = one.options.attack, Sets(folders.weights / "sets"), ORDER_SEED + one.seed
        assert not isinstance(attack, OptimisedPattern), "none of MODELS has one"
        if recipe.training_data == "labelled":
            data = sets.labelled(one.options, seed, num_samples)
        else:
            data = sets.pairs(one.options, None, seed, num_samples, 0)
        clean(before, data, recipe, folder, seed=seed)
        return row_of(
            named,
            folder,
            attack,
            started,
            known.num_poisons,
            recipe=json.loads(json.dumps(asdict(recipe))),
            seed=seed,
            num_samples=num_samples,
            from_weights_sha256=known.weights_sha256,
            commit=_commit(),
        )

    return make


def _commit() -> str:
    command = ("git", "-C", str(ROOT), "rev-parse", "HEAD")
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
