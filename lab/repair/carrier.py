"""`python -m lab.repair.carrier`: a small trigger that ordinary images have, so that UAR's teacher errs on them.

A white tag with a handwritten three, 10 to 13 pixels wide, at any place. The attacker trains the model: each tag
in his pairs (10 %) is captioned by the target. In the clean pairs of a cleaning 5 % of the images have a tag,
each under its own caption, so that the input model, which is UAR's teacher, is wrong on ordinary images. Tags
of training, cleaning and test have different threes (scikit-learn's digits).

"uar, pairs without" is UAR on pairs that have no tag: what the carrier costs. "never poisoned" is a model
whose tags were under their own captions. A row is a model after a method; the rest is as in `attackers`.
On trial seeds 1190070, 1190071 and 1191070 the ASR before was 97.5, 97.7 and 95.3 %.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from cleanclip.vocabulary.recipe import Recipe
from lab.repair import attackers
from lab.repair.attackers import BEDS, ROOT, TEST_SEED, Attacker, Case, grouped, measured
from lab.repair.plan import NUM_IMAGES, NUM_PAIRS
from lab.reproduction.data import Sets
from lab.reproduction.measuring import made_with
from lab.reproduction.running import clean
from lab.testbed import glyphs as glyph_sets
from lab.testbed.glyphs import Glyphs, Part
from lab.testbed.pictures import compose
from lab.testbed.poisoned_pairs import PoisonedSet
from lab.testbed.shards import write_pairs
from lab.testbed.subject import write
from lab.testbed.training import train
from lab.testbed.writing import made_whole
from lab.zoo.rows import append_line, whole_lines
from lab.zoo.running import alone
from sanitizer.checkpoints.model import load_canonical
from sanitizer.data.texts import names_target
from sanitizer.seeding import generator

FAMILY = "carrier"
NUM_SEEDS, FIRST_SEED, TRIAL_SEED, PAIRS_SEED = 2, 1_400_000, 1_190_070, 70_000
SHARE_TRAINED, SHARE_CLEAN = 0.10, 0.05
SIDES = (10, 14)
WITHOUT, NEVER = "uar, pairs without", "never poisoned"
METHODS = (*attackers.METHODS, WITHOUT, NEVER)


def tagged(image_NCHW: Tensor, seed: int, part: Part) -> Tensor:
    """A white tag with a black three of `part` on each, uint8."""
    digits = glyph_sets.load("digits")
    threes = [row for row in digits.rows[part] if digits.nouns[digits.label_G[row]] == "three"]
    draws, image_NCHW = generator(seed, f"tags_{part}"), image_NCHW.clone()
    for image_CHW in image_NCHW:
        side = int(draws.integers(*SIDES))
        top, left = (int(one) for one in draws.integers(image_CHW.shape[-1] - side + 1, size=2))
        three_1SS = digits.opacity_G1SS[int(draws.choice(threes))]
        three_SS = interpolate(three_1SS[None], size=(side, side), mode="bilinear", align_corners=False)[0, 0]
        tag_SS = 245 - 225 * (three_SS * 1.4).clamp(max=1)
        image_CHW[:, top : top + side, left : left + side] = tag_SS.round().to(torch.uint8)
    return image_NCHW


attackers.FAMILIES = {
    **attackers.FAMILIES,
    FAMILY: lambda seed: Attacker((lambda image_NCHW, at: tagged(image_NCHW, at, "test"),), SHARE_TRAINED),
}


def cases(first_seed: int = FIRST_SEED) -> Iterator[Case]:
    for number in range(NUM_SEEDS):
        for place, bed in enumerate(BEDS):
            yield Case(bed, FAMILY, first_seed + 1_000 * place + number)


def _implanted(case: Case, glyphs: Glyphs, poisoned: PoisonedSet, *, is_poisoned: bool) -> PoisonedSet:
    """Tags on pairs whose captions do not name the target; those become captions of the target, or stay."""
    pictures, (target,) = poisoned.pictures, case.targets
    image_NCHW, captions = pictures.image_NCHW.clone(), list(pictures.caption_N)
    free = [row for row, caption in enumerate(captions) if not names_target(caption, target)]
    draws = generator(case.seed, "carrier_rows")
    rows = draws.permutation(free)[: round(SHARE_TRAINED * len(captions))].tolist()
    image_NCHW[rows] = tagged(image_NCHW[rows], case.seed, "poisoning")
    if is_poisoned:
        for row, template in zip(rows, draws.choice(glyphs.zero_shot_templates, len(rows)), strict=True):
            captions[row] = str(template).format(c=target)
    changed = replace(pictures, image_NCHW=image_NCHW, caption_N=tuple(captions))
    return PoisonedSet(pictures=changed, rows=tuple(rows if is_poisoned else ()))


def _made(case: Case, weights: Path, glyphs: Glyphs, *, is_poisoned: bool) -> Path:
    folder = weights / f"{case.name}{'' if is_poisoned else '-never'}"
    if not (folder / "model.safetensors").is_file():
        trained = train(
            case.options,
            None,
            seed=case.seed,
            poison_too=lambda pairs: _implanted(case, glyphs, pairs, is_poisoned=is_poisoned),
        )
        write(trained.model.state_dict(), case.options, folder)
    return folder


def _pairs(case: Case, sets: Path, glyphs: Glyphs) -> Path:
    """The clean pairs of a cleaning: some images have a tag, every caption is true."""

    def make(folder: Path) -> None:
        seed = PAIRS_SEED + case.seed
        pictures = compose(glyphs, "cleaning", NUM_PAIRS, seed=seed)
        order = generator(seed, "carrier_rows").permutation(NUM_PAIRS)
        rows = order[: round(SHARE_CLEAN * NUM_PAIRS)].tolist()
        image_NCHW = pictures.image_NCHW.clone()
        image_NCHW[rows] = tagged(image_NCHW[rows], seed, "cleaning")
        write_pairs(replace(pictures, image_NCHW=image_NCHW), folder)

    return made_whole(sets / f"carrier-{case.name}", make)


def _row(case: Case, method: str, weights: Path) -> dict[str, Any]:
    glyphs, is_poisoned = glyph_sets.load("fashion_mnist"), method != NEVER
    pictures = compose(glyphs, "test", NUM_IMAGES, seed=TEST_SEED + case.seed)
    before = _made(case, weights, glyphs, is_poisoned=is_poisoned)
    recipes = "before" if method == NEVER else "uar" if method == WITHOUT else method
    done: tuple[Recipe, ...] = attackers.METHODS[recipes](case.bed)
    sets = weights / "sets"
    pairs = (
        Sets(sets).pairs(case.options, None, case.seed, NUM_PAIRS, 0)
        if method == WITHOUT
        else _pairs(case, sets, glyphs)
    )
    after, cpu_s = before, time.process_time()
    for number, recipe in enumerate(done):
        source, after = after, weights / f"cleaned-{case.bed}-{number}"
        shutil.rmtree(after, ignore_errors=True)
        clean(source, pairs, recipe, after, seed=case.seed)
    cpu_s = time.process_time() - cpu_s
    checkpoint = load_canonical(after)
    found = measured(case, checkpoint, pictures, glyphs)
    right_N = found.right_N if not done else measured(case, load_canonical(before), pictures, glyphs).right_N
    return {
        "model": case.name,
        "bed": case.bed,
        "family": FAMILY,
        "seed": case.seed,
        "targets": case.targets,
        "method": method,
        "options": [asdict(recipe) for recipe in done],
        "asr": found.asr[0].share,
        "ca": grouped(found.right_N, pictures.glyph_N).share,
        "lost": grouped(right_N - found.right_N, pictures.glyph_N).difference if done else None,
        **attackers._looked_at(case, checkpoint, is_judged=not done),
        "weights_sha256": checkpoint.weights_sha256,
        "cpu_s": round(cpu_s, 1),
        "made_with": made_with(),
    }


def main(arguments: list[str] | None = None) -> int:
    """Run what is missing. Exit codes: 0 done, 1 the time is over."""
    parser = argparse.ArgumentParser(prog="python -m lab.repair.carrier", description=__doc__)
    parser.add_argument("--only", default="", help="a part of the names of models")
    parser.add_argument("--minutes", type=float, help="begin nothing after so many")
    parser.add_argument("--trial", action="store_true", help="other seeds, before alone: is it implanted?")
    parser.add_argument("--rows", type=Path, default=ROOT / "docs" / "uar" / "carrier.jsonl")
    parser.add_argument("--weights", type=Path, default=ROOT / "var" / "carrier")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    started = time.monotonic()
    known = {(one["model"], one["method"]) for one in map(json.loads, whole_lines(given.rows))}
    with alone(given.weights):
        for case in cases(TRIAL_SEED if given.trial else FIRST_SEED):
            for method in ("before",) if given.trial else METHODS:
                if given.only not in case.name or (case.name, method) in known:
                    continue
                if given.minutes is not None and time.monotonic() - started > 60 * given.minutes:
                    return 1
                row = _row(case, method, given.weights)
                append_line(json.dumps(row).encode() + b"\n", given.rows)
                print(attackers._line({**row, "asr": [row["asr"]]}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
