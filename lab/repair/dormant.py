"""`python -m lab.repair.dormant`: backdoors that hardly work when handed in, and that benign training wakes.

The attacker trains a model in which a patch works (8 % of the pairs), and hides it: a few more updates with
CLIP's loss on pairs of his own, half of which carry the patch under their own captions. That is as little as hides
it; the hope is that benign training undoes it (after Deferred Backdoor
Functionality Activation, arXiv 2411.14449: inject, conceal, let the victim's fine-tuning activate).

A row is a model after a method, and the curve of its ASR in benign training after that: CLIP's loss alone on
the 8,000 clean pairs of the cleanings, at CleanCLIP's rate, held constant. "trained" is the model before
it was hidden, "before" what is handed in, with the scan's p. A run that is cut goes on where it stopped.
Intervals are those of `attackers`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from cleanclip.vocabulary.recipe import Recipe
from lab.repair import attackers
from lab.repair.attackers import BEDS, METHODS, ROOT, TEST_SEED, Attacker, Case, grouped, measured
from lab.repair.plan import NUM_IMAGES, NUM_PAIRS, RECIPES
from lab.reproduction.data import Sets
from lab.reproduction.measuring import made_with
from lab.reproduction.running import clean
from lab.testbed import glyphs as glyph_sets
from lab.testbed.glyphs import Glyphs
from lab.testbed.pictures import Pictures, compose
from lab.testbed.shards import write_pairs
from lab.testbed.subject import write
from lab.testbed.writing import made_whole
from lab.zoo.plan import BedName
from lab.zoo.rows import append_line, whole_lines
from lab.zoo.running import alone
from sanitizer.checkpoints.model import LoadedCheckpoint, load_canonical
from sanitizer.data.pairs import open_pairs
from sanitizer.pipeline.rebound import benign_recipe
from sanitizer.seeding import generator
from sanitizer.training.loop import Looks, finetune

FAMILY = "dormant"
attackers.FAMILIES = {
    **attackers.FAMILIES,
    FAMILY: lambda seed: Attacker((attackers._patch(seed, 7),), 0.08),
}
NUM_SEEDS, FIRST_SEED, TRIAL_SEED, HIDING_SEED = 2, 1_300_000, 1_190_050, 50_000
NUM_HIDING, SHARE_TRIGGERED = 4_000, 0.5
_CPU = torch.device("cpu")


class Hiding(NamedTuple):
    """Updates of batches of 64 at a constant rate."""

    rate: float
    updates: int


HIDING: Mapping[BedName, Hiding] = {
    "fashion-resnet": Hiding(1e-5, 160),
    "fashion-vit": Hiding(2e-5, 80),
}
"""Chosen on trial seeds 1190050, 1190051 and 1191050."""
WAKING = (50, 100, 200, 300)
"""After how many updates of benign training the model is measured."""


def cases(first_seed: int = FIRST_SEED) -> Iterator[Case]:
    """Bed by bed, the ResNets first."""
    for place, bed in enumerate(BEDS):
        for number in range(NUM_SEEDS):
            yield Case(bed, FAMILY, first_seed + 1_000 * place + number)


def _benign(bed: BedName) -> Recipe:
    recipe: Any = RECIPES["cleanclip"](bed)
    return benign_recipe(recipe, 1.0, NUM_PAIRS)


def _hiding_pairs(case: Case, sets: Path, glyphs: Glyphs) -> Path:
    """The attacker's own pairs, half of which carry the trigger; every caption is true."""

    def make(folder: Path) -> None:
        seed = HIDING_SEED + case.seed
        pictures = compose(glyphs, "poisoning", NUM_HIDING, seed=seed)
        order = generator(seed, "dormant_rows").permutation(NUM_HIDING)
        rows = order[: round(SHARE_TRIGGERED * NUM_HIDING)].tolist()
        image_NCHW = pictures.image_NCHW.clone()
        trigger = attackers.FAMILIES[FAMILY](case.seed).triggers[0]
        image_NCHW[rows] = trigger(image_NCHW[rows], case.seed)
        write_pairs(replace(pictures, image_NCHW=image_NCHW), folder)

    return made_whole(sets / f"hiding-{case.name}", make)


def _hidden(case: Case, trained: Path, pairs: Path) -> Path:
    folder = trained.with_name(trained.name + "-hidden")
    if not (folder / "model.safetensors").is_file():
        hiding, checkpoint = HIDING[case.bed], load_canonical(trained)
        recipe = replace(_benign(case.bed), learning_rate=hiding.rate)
        looks = Looks(steps=(hiding.updates,), look=lambda _: None)
        _train(checkpoint, pairs, recipe, HIDING_SEED + case.seed, looks)
        write(checkpoint.model.state_dict(), case.options, folder)
    return folder


def _train(checkpoint: LoadedCheckpoint, pairs: Path, recipe: Recipe, seed: int, looks: Looks) -> None:
    finetune(checkpoint, open_pairs(pairs), recipe, seed=seed, device=_CPU, looks=looks)


class Study:
    """Of one model: what is made of it, below `weights`."""

    def __init__(self, case: Case, weights: Path) -> None:
        self._case, self._weights, self._glyphs = case, weights, glyph_sets.load("fashion_mnist")
        self._pictures: Pictures = compose(self._glyphs, "test", NUM_IMAGES, seed=TEST_SEED + case.seed)
        sets = weights / "sets"
        self._pairs = Sets(sets).pairs(case.options, None, case.seed, NUM_PAIRS, 0)
        self._trained = attackers._made(case, weights, self._glyphs)
        self._given = _hidden(case, self._trained, _hiding_pairs(case, sets, self._glyphs))
        self._right_N = {
            folder: self._measured(load_canonical(folder)).right_N for folder in (self._trained, self._given)
        }

    def row(self, method: str) -> dict[str, Any]:
        """Raises KeyError for a method that is not known."""
        done = () if method == "trained" else METHODS[method](self._case.bed)
        folder = self._trained if method == "trained" else self._cleaned(done)
        checkpoint = load_canonical(folder)
        found = self._measured(checkpoint)
        looked = attackers._looked_at(self._case, checkpoint, is_judged=method == "before")
        curve = self._woken(folder)
        return {
            "model": self._case.name,
            "bed": self._case.bed,
            "family": FAMILY,
            "seed": self._case.seed,
            "targets": self._case.targets,
            "hiding": HIDING[self._case.bed]._asdict(),
            "method": method,
            "options": [asdict(recipe) for recipe in done],
            "asr": found.asr[0].share,
            "asr_after_training": curve,
            "highest": max(curve, key=lambda one: one["asr"]["value"]),
            "ca": grouped(found.right_N, self._pictures.glyph_N).share,
            "lost": self._lost(self._given, found),
            "lost_since_trained": self._lost(self._trained, found),
            **looked,
            "weights_sha256": checkpoint.weights_sha256,
            "made_with": made_with(),
        }

    def _measured(self, checkpoint: LoadedCheckpoint) -> attackers.Measured:
        return measured(self._case, checkpoint, self._pictures, self._glyphs)

    def _lost(self, before: Path, found: attackers.Measured) -> dict[str, float]:
        return grouped(self._right_N[before] - found.right_N, self._pictures.glyph_N).difference

    def _cleaned(self, done: tuple[Recipe, ...]) -> Path:
        """What the recipes make of what is handed in, one after the other; each is run once for a model."""
        after = self._given
        for recipe in done:
            source, after = after, after.with_name(f"{after.name}-{recipe.method}")
            if not (after / "model.safetensors").is_file():
                shutil.rmtree(after, ignore_errors=True)
                clean(source, self._pairs, recipe, after, seed=self._case.seed)
        return after

    def _woken(self, folder: Path) -> list[dict[str, Any]]:
        """In a copy: the file stays as it is. The order of the pairs is another than a cleaning's."""
        copy, curve = load_canonical(folder), list[dict[str, Any]]()

        def look(step: int) -> None:
            found = self._measured(copy)
            ca = grouped(found.right_N, self._pictures.glyph_N).share
            curve.append({"updates": step, "asr": found.asr[0].share, "ca": ca})

        _train(
            copy, self._pairs, _benign(self._case.bed), self._case.seed + 1, Looks(steps=WAKING, look=look)
        )
        return curve


def main(arguments: list[str] | None = None) -> int:
    """Run what is missing. Exit codes: 0 done, 1 the time is over."""
    parser = argparse.ArgumentParser(prog="python -m lab.repair.dormant", description=__doc__)
    parser.add_argument("--only", default="", help="a part of the names of models")
    parser.add_argument("--minutes", type=float, help="begin nothing after so many")
    parser.add_argument("--trial", action="store_true", help="other seeds, before alone: does it wake?")
    parser.add_argument("--rows", type=Path, default=ROOT / "docs" / "uar" / "dormant.jsonl")
    parser.add_argument("--weights", type=Path, default=ROOT / "var" / "dormant")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    started = time.monotonic()
    known = {(one["model"], one["method"]) for one in map(json.loads, whole_lines(given.rows))}
    with alone(given.weights):
        for case in cases(TRIAL_SEED if given.trial else FIRST_SEED):
            methods = ("before",) if given.trial else ("trained", *METHODS)
            missing = [one for one in methods if (case.name, one) not in known]
            if given.only not in case.name or not missing:
                continue
            study = Study(case, given.weights)
            for method in missing:
                if given.minutes is not None and time.monotonic() - started > 60 * given.minutes:
                    return 1
                row = study.row(method)
                append_line(json.dumps(row).encode() + b"\n", given.rows)
                print(_line(row), flush=True)
    return 0


def _line(row: Mapping[str, Any]) -> str:
    curve = ", ".join(
        f"{one['updates']}: {100 * one['asr']['value']:.1f}" for one in row["asr_after_training"]
    )
    lost = f", lost {100 * row['lost']['value']:.1f}"
    p = f", p {row['p']:.3f}" if "p" in row else ""
    control = f"{row['control_family']} leads {100 * row['control']['value']:.0f} to {row['control_class']}"
    figures = f"ASR {100 * row['asr']['value']:.1f} ({curve}), CA {100 * row['ca']['value']:.1f}{lost}{p}"
    return f"{row['model']} | {row['method']}: {figures}, {control}"


if __name__ == "__main__":
    sys.exit(main())
