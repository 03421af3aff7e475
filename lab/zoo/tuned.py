"""`python -m lab.zoo --tuned`: are fine-tunes of one clean base a null for another fine-tune of it?

The base is the first calibration model of a bed. "null" and "same" are clean fine-tunes of it whose rate is
drawn from one range; "other" are clean fine-tunes by three other recipes, in turn; "poisoned" are as
the null is, on poisoned pairs. A scan judges each by the null. Nothing is chosen on any of them.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from cleanclip.spec.recipe import CleanCLIPRecipe
from cleanclip.spec.scan_options import ScanOptions
from lab.reproduction.running import clean
from lab.testbed import glyphs as glyph_sets
from lab.testbed.options import OptimisedPattern
from lab.testbed.poisoned_pairs import poisoned_set
from lab.testbed.shards import write_pairs
from lab.zoo.making import Started, row_of
from lab.zoo.plan import BEDS, DEVELOPMENT_FAMILIES, BedName, Model, Split, anchor_of
from lab.zoo.rows import ModelRow
from lab.zoo.running import Folders, alone, finish, opened_or_made
from lab.zoo.scanning import own_images, scan, shared_images
from sanitizer.seeding import generator

Kind = Literal["null", "same", "other", "poisoned"]
KINDS: tuple[Kind, ...] = get_args(Kind)
NUM: Mapping[Kind, int] = {"null": 19, "same": 8, "other": 6, "poisoned": 8}
_FIRST_SEED: Mapping[Kind, int] = {"null": 850_000, "same": 860_000, "other": 870_000, "poisoned": 880_000}
_SPLIT: Mapping[Kind, Split] = {
    "null": "calibration",
    "same": "test_clean",
    "other": "test_clean",
    "poisoned": "development",
}
NUM_PAIRS = 8_000
RECIPE = CleanCLIPRecipe(lambda2=0.0, epochs=4, batch_size=64, warmup_steps=20)
"""CLIP's own loss on both towers; the rate is drawn."""
_LOG_RATES, _SHARES = (-3.3, -2.7), (0.08, 0.15)
OTHERS: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("a tenth of the rate", {"learning_rate": 1e-4}),
    ("three times the epochs", {"epochs": 12, "learning_rate": 1e-3}),
    ("with CleanCLIP's second term", {"lambda2": 1.0, "learning_rate": 1e-3}),
)


def models(bed: BedName) -> list[Model]:
    """In turn, each kind as often as there are of it, so that a run cut short has some of each."""
    turns = sorted((number / NUM[kind], kind, number) for kind in KINDS for number in range(NUM[kind]))
    return [_model(bed, kind, number) for _, kind, number in turns]


def kind_of(name: str) -> Kind:
    """Of a model of this study."""
    return next(kind for kind in KINDS if name.startswith(f"tuned-{kind}-"))


def recipe_of(model: Model) -> CleanCLIPRecipe:
    """Of its fine-tuning."""
    kind, number = kind_of(model.name), int(model.name.rpartition("-")[2])
    if kind == "other":
        return replace(RECIPE, **OTHERS[number % len(OTHERS)][1])
    rate = 10 ** generator(model.seed, "zoo_recipe").uniform(*_LOG_RATES)
    return replace(RECIPE, learning_rate=round(float(rate), 6))


def _model(bed: BedName, kind: Kind, number: int) -> Model:
    seed = _FIRST_SEED[kind] + 1_000 * list(BEDS).index(bed) + number
    draws = generator(seed, "zoo_attack")
    family = list(DEVELOPMENT_FAMILIES)[number % len(DEVELOPMENT_FAMILIES)]
    options = replace(
        anchor_of(bed).options,
        attack=DEVELOPMENT_FAMILIES[family](draws, seed) if kind == "poisoned" else None,
        num_pairs=NUM_PAIRS,
        poison_share=round(float(draws.uniform(*_SHARES)), 4),
    )
    return Model(
        name=f"tuned-{kind}-{bed}-{number:03}",
        split=_SPLIT[kind],
        bed=bed,
        family=family if kind == "poisoned" else "clean",
        seed=seed,
        options=options,
    )


def run(
    folders: Folders,
    bed: BedName,
    stop_after_s: float | None,
    say: Callable[[str], None],
    *,
    on_public_images: bool = False,
) -> int:
    """Fine-tune and scan what is missing; how many models are not finished. Raises Busy; GlyphsMissing.

    `on_public_images`: the same models, on images that nobody has to send; rows of their own.
    """
    torch.set_num_threads(1)
    started, planned = time.monotonic(), models(bed)
    here = replace(folders, rows=folders.rows / ("tuned/public" if on_public_images else "tuned"))
    look = partial(scan, images_of=shared_images if on_public_images else own_images)
    with alone(folders.weights):
        for done, model in enumerate(planned):
            if stop_after_s is not None and time.monotonic() - started > stop_after_s:
                return len(planned) - done
            finish(model, ScanOptions().detectors, here, say, make=_tuner(folders, say), look=look)
            shutil.rmtree(folders.weights / model.name, ignore_errors=True)
    return 0


def _tuner(folders: Folders, say: Callable[[str], None]) -> Callable[[Model, Path], ModelRow]:
    def make(model: Model, folder: Path) -> ModelRow:
        base = anchor_of(model.bed)
        before = folders.weights / "anchors" / base.name
        known = opened_or_made(base, before, folders.rows / "tuned", say)
        started, recipe = Started(time.monotonic(), time.process_time()), recipe_of(model)
        options, pairs = model.options, folder.with_name(f"{folder.name}-pairs")
        attack = options.attack
        assert not isinstance(attack, OptimisedPattern), "none of these families is optimised"
        poisoned = poisoned_set(
            glyph_sets.load(options.glyphs),
            "poisoning",
            NUM_PAIRS,
            attack=attack,
            target=options.target,
            num_poisons=round(NUM_PAIRS * options.poison_share),
            seed=model.seed,
        )
        write_pairs(poisoned.pictures, pairs)
        try:
            clean(before, pairs, recipe, folder, seed=model.seed)
        finally:
            shutil.rmtree(pairs)
        about = {"learning_rate": recipe.learning_rate, "epochs": recipe.epochs, "lambda2": recipe.lambda2}
        return row_of(
            model,
            folder,
            attack,
            started,
            len(poisoned.rows) if attack else 0,
            **about,
            from_weights_sha256=known.weights_sha256,
        )

    return make
