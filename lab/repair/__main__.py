"""`python -m lab.repair PART --recipes NAME …`: what each recipe makes of each model. It can go on later.

A row of docs/uar/repair.jsonl is one model under one recipe ("before": none). Weights of models before a
cleaning are kept in the folder of weights. Exit codes: 0 done, 1 the time is over.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch

from cleanclip.vocabulary.measures import Difference, Estimate
from lab.repair.arithmetic import subtract
from lab.repair.plan import (
    FROZEN,
    FROZEN_RIVALS,
    NUM_IMAGES,
    NUM_PAIRS,
    PARTS,
    RECIPES,
    RIVALS,
    Arithmetic,
    Part,
    models,
    rival_models,
    steps,
)
from lab.reproduction.data import Sets
from lab.reproduction.measuring import made_with
from lab.reproduction.running import clean
from lab.testbed import glyphs as glyph_sets
from lab.testbed.options import OptimisedPattern
from lab.testbed.subject import write
from lab.testbed.training import train
from lab.zoo.making import measure
from lab.zoo.plan import Model
from lab.zoo.rows import append_line, whole_lines
from lab.zoo.running import alone
from sanitizer.audits.statistics import paired_difference, wilson
from sanitizer.checkpoints.model import LoadedCheckpoint, load_canonical

ROOT = Path(__file__).resolve().parents[2]
TEST_SEED = 6_000


def main(arguments: list[str] | None = None) -> int:
    """Run what is missing."""
    parser = argparse.ArgumentParser(prog="python -m lab.repair", description=__doc__)
    parser.add_argument("part", choices=[*PARTS, "rivals"])
    parser.add_argument(
        "--recipes", nargs="*", choices=[*RECIPES, *RIVALS], help="by default the frozen ones"
    )
    parser.add_argument("--only", nargs="*", default=[""], help="parts of the names of models")
    parser.add_argument("--minutes", type=float, help="begin nothing after so many")
    parser.add_argument("--rows", type=Path, default=ROOT / "docs" / "uar" / "repair.jsonl")
    parser.add_argument("--weights", type=Path, default=ROOT / "var" / "repair")
    given = parser.parse_args(arguments)
    is_rivals = given.part == "rivals"
    recipes = given.recipes or (("version 1", *FROZEN_RIVALS) if is_rivals else FROZEN)
    if given.part != "development" and set(recipes) - {*FROZEN, *FROZEN_RIVALS}:
        parser.error("held-out models are run with frozen recipes alone")
    torch.set_num_threads(1)
    started = time.monotonic()
    with alone(given.weights):
        for model in rival_models() if is_rivals else models(cast(Part, given.part)):
            for recipe in ("before", *recipes):
                wanted = any(one in model.name for one in given.only)
                if not wanted or (model.name, recipe) in _known(given.rows):
                    continue
                if given.minutes is not None and time.monotonic() - started > 60 * given.minutes:
                    return 1
                row = _run(model, recipe, given.weights)
                append_line(json.dumps(row).encode() + b"\n", given.rows)
                print(_line(row), flush=True)
    return 0


def _known(rows: Path) -> set[tuple[str, str]]:
    return {(one["model"], one["recipe"]) for one in map(json.loads, whole_lines(rows))}


def _run(model: Model, recipe: str, weights: Path) -> dict[str, Any]:
    before, cpu_s = weights / model.name, time.process_time()
    attack = model.options.attack
    assert not isinstance(attack, OptimisedPattern)
    if not (before / "model.safetensors").is_file():
        write(train(model.options, attack, seed=model.seed).model.state_dict(), model.options, before)
        cpu_s = time.process_time()
    after, done = before, () if recipe == "before" else steps(recipe, model.bed)
    for number, step in enumerate(done):
        source, after = after, weights / f"cleaned-{number}"
        shutil.rmtree(after, ignore_errors=True)
        pairs = Sets(weights / "sets").pairs(model.options, None, model.seed, NUM_PAIRS, 0)
        if isinstance(step, Arithmetic):
            subtract(source, pairs, step, after, seed=model.seed)
        else:
            clean(source, pairs, step, after, seed=model.seed)
    cpu_s = time.process_time() - cpu_s
    options = [asdict(step) for step in done]
    checkpoint = load_canonical(after)
    right, asr = _measured(model, checkpoint)
    right_before = right if recipe == "before" else _measured(model, load_canonical(before))[0]
    return {
        "model": model.name,
        "part": model.split,
        "bed": model.bed,
        "family": model.family,
        "target": model.options.target,
        "seed": model.seed,
        "attack": None if attack is None else asdict(attack),
        "recipe": recipe,
        "options": options[0] if len(options) == 1 else options or None,
        "ca": asdict(wilson(sum(right), len(right))),
        "lost": asdict(paired_difference(right_before, right)),
        "asr": None if asr is None else asdict(asr),
        "weights_sha256": checkpoint.weights_sha256,
        "cpu_s": round(cpu_s, 1),
        "made_with": made_with(),
    }


def _measured(model: Model, checkpoint: LoadedCheckpoint) -> tuple[list[bool], Estimate | None]:
    """Which images are classified right, and the ASR over those of other classes."""
    attack = model.options.attack
    assert not isinstance(attack, OptimisedPattern)
    right, asr = measure(
        checkpoint,
        glyph_sets.load(model.options.glyphs),
        [] if attack is None else [(attack, model.options.target, model.seed)],
        part="validation" if model.split == "development" else "test",
        num_images=NUM_IMAGES,
        seed=TEST_SEED + model.seed,
    )
    return right, next(iter(asr), None)


def _line(row: dict[str, Any]) -> str:
    lost = Difference(**row["lost"])
    asr = "" if row["asr"] is None else f", ASR {100 * Estimate(**row['asr']).value:.1f}"
    ca = 100 * Estimate(**row["ca"]).value
    figures = f"CA {ca:.1f}, lost {100 * lost.value:.1f}{asr}, {row['cpu_s']:.0f} CPU-s"
    return f"{row['model']} | {row['recipe']}: {figures}"


if __name__ == "__main__":
    sys.exit(main())
