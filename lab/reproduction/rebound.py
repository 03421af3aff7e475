"""The rebound of cleaned test subjects: `python -m lab.reproduction.rebound POISONED.pt --method par`.

A model is cleaned by the recipe of the reproduction, then trained further as the rebound audit does: at the
rate of its recipe and ten times that, measured on the way back to its own weights, too; and for longer at a
rate that all methods have in common. A line a model, method and rate is appended to a raw file. Measured on
validation images. The command takes the demo's model, or a clean one of its kind, with one seed; the part of
the final evaluation takes its varied models (`run_part`), after the freeze.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import torch

from cleanclip.spec.recipe import AuditOptions, DeclaredOptions, ReboundOptions, Recipe, parse, to_json
from cleanclip.spec.report import Report
from lab.reproduction import grid
from lab.reproduction.cells import ORDER_SEED, Subject
from lab.reproduction.development import UAR
from lab.reproduction.final import VARIED, Recipes
from lab.reproduction.grid import CLEANCLIP, DEFENCES, PAR, SEEDS
from lab.reproduction.measuring import made_with
from lab.reproduction.row_files import append, json_of
from lab.reproduction.running import Folders, run_with_needs
from lab.testbed.options import SubjectOptions, trigger_of
from sanitizer.pipeline import operations

OUT = Path("docs/reproduction/rebound.jsonl")
RECIPES: dict[str, Recipe] = {
    "cleanclip": CLEANCLIP,
    "par": PAR,
    "supervised": DEFENCES["Supervised"],
    "uar": UAR,
}
PART = ("cleanclip", "par", "uar")
"""Methods of the final evaluation's part."""
REBOUND = ReboundOptions(rates=(1.0, 10.0), steps=(10, 50, 100), interpolation_halvings=4)
COMMON_RATE = CLEANCLIP.learning_rate
"""The lowest of the methods' rates."""
COMMON_STEPS = (10, 50, 100, 300)
NUM_SAMPLES = 8_000
_DEMO = Subject(options=SubjectOptions(), seed=1)


def measure(
    source: Path,
    subject: Subject,
    recipe: Recipe,
    root: Path,
    *,
    rebound: ReboundOptions = REBOUND,
    num_samples: int = NUM_SAMPLES,
) -> Report:
    """The report of a cleaning with a rebound; `source`: the subject's weights. All lies below `root`."""
    torch.set_num_threads(1)
    options, sets, seed = subject.options, Folders(root).sets, subject.seed
    trigger = trigger_of(options.attack)
    assert trigger is not None, "the part's models have triggers"
    if recipe.training_data == "pairs":
        data = sets.pairs(options, None, seed, num_samples, 0)
    else:
        data = sets.labelled(options, seed, num_samples)
    out = root / "rebound" / f"{source.name}-{recipe.method}"
    return operations.sanitize(
        source,
        data,
        sets.judged(options, seed, "validation"),
        recipe=recipe,
        options=AuditOptions(target=options.target, attacks=(trigger,), examples=0, rebound=rebound),
        out_dir=out,
        state_folder=out / "state",
        seed=ORDER_SEED + seed,
        device="cpu",
    )


def line_of(report: Report, name: str, method: str) -> str:
    """One line of rebound.jsonl."""
    assert report.after is not None
    told = {
        "subject": name,
        "method": method,
        "ca": [to_json(report.before.ca), to_json(report.after.ca)],
        "asr": [to_json(report.before.attacks[0].asr), to_json(report.after.attacks[0].asr)],
        "rebound": to_json(report.rebound),
        "options": to_json(report.audit.rebound),
        "recipe": to_json(report.recipe),
        "seed": report.seed,
        "made_with": made_with(),
    }
    return json.dumps(told, sort_keys=True)


def at_common_rate(learning_rate: float) -> ReboundOptions:
    """Of a recipe with this rate: curves at `COMMON_RATE`, whatever the recipe's own is."""
    return ReboundOptions(rates=(COMMON_RATE / learning_rate,), steps=COMMON_STEPS)


def is_at_common_rate(line: Mapping[str, Any]) -> bool:
    """Whether a line has the curve at `COMMON_RATE`, not the one at its recipe's own."""
    return bool(line["options"] == to_json(at_common_rate(line["recipe"]["learning_rate"])))


def planned() -> tuple[tuple[str, str, int, bool], ...]:
    """Of every line of the part: model, method, seed (a line has `ORDER_SEED` more), at the common rate?"""
    made = product(SEEDS, (False, True), VARIED, PART)
    return tuple((name, method, seed, in_common) for seed, in_common, name, method in made)


def missing(lines: list[dict[str, Any]]) -> list[tuple[str, str, int, bool]]:
    """What of the part has no line."""
    known = {
        (line["subject"], line["method"], line["seed"] - ORDER_SEED, is_at_common_rate(line))
        for line in lines
    }
    return [one for one in planned() if one not in known]


def is_of_the_part(line: Mapping[str, Any]) -> bool:
    """Whether the line is held out until the freeze."""
    return line["subject"] in VARIED


def run_part(recipes: Recipes, root: Path, raw: Path) -> None:
    """Append the lines that are missing. The caller has passed the gate."""
    for name, method, seed, in_common in missing(json_of(raw)):
        attack, bed = VARIED[name]
        subject = grid.subject(attack, seed, bed)
        recipe = recipes[bed.tower] if method == "uar" else RECIPES[method]
        asked = at_common_rate(recipe.learning_rate) if in_common else REBOUND
        report = measure(run_with_needs(subject, root), subject, recipe, root, rebound=asked)
        append(raw, line_of(report, name, method))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("upload", type=Path, help="the demo's checkpoint, or a clean one of its kind")
    parser.add_argument("--method", choices=tuple(RECIPES), required=True)
    parser.add_argument("--root", type=Path, default=Path("var/rebound"))
    parser.add_argument("--poisons", type=int, default=0, help="over 0: relearning too")
    given = parser.parse_args()
    folder = given.root / given.upload.parent.name
    if not (folder / "model.safetensors").exists():
        declared = parse(DeclaredOptions, {"quick_gelu": False})
        operations.inspect(given.upload, folder, declared=declared, filename=given.upload.name)
    rebound = replace(REBOUND, poisons=given.poisons)
    report = measure(folder, _DEMO, RECIPES[given.method], given.root, rebound=rebound)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    append(OUT, line_of(report, folder.name, given.method))


if __name__ == "__main__":
    main()
