"""What a cleaning costs beside CleanCLIP, in turn: `python -m lab.reproduction.cost --folder F`.

Each round fine-tunes the same development model by every method's whole recipe, one after the other, on one
thread. Processor time, which other work on the machine disturbs less than the clock; a line a round is
appended to docs/reproduction/cost.jsonl. The models are made if they do not lie in F.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch

from cleanclip.spec.recipe import Recipe
from lab.reproduction.cells import ORDER_SEED
from lab.reproduction.development import MODELS, NUM_PAIRS, VARIANTS, DevelopmentModel
from lab.reproduction.measuring import made_with
from lab.reproduction.row_files import append
from lab.reproduction.running import Folders, run_with_needs
from sanitizer.checkpoints.model import load_canonical
from sanitizer.data.pairs import open_pairs
from sanitizer.training.loop import finetune

OUT = Path(__file__).resolve().parents[2] / "docs" / "reproduction" / "cost.jsonl"
MEASURED, METHODS = ("resnet-badnet", "vit-five"), ("cleanclip", "uar", "par")


def measure(model: DevelopmentModel, root: Path) -> dict[str, Any]:
    """One round: processor seconds by method."""
    torch.set_num_threads(1)
    run_with_needs(model.subject, root)
    seconds = {method: _cpu_s(model, VARIANTS[method].recipe, root) for method in METHODS}
    return {"model": model.name, "cpu_s": seconds, "made_with": made_with()}


def _cpu_s(model: DevelopmentModel, recipe: Recipe, root: Path) -> float:
    folders, seed = Folders(root), model.subject.seed
    checkpoint = load_canonical(folders.of(model.subject))
    pairs = open_pairs(folders.sets.pairs(model.subject.options, None, seed, NUM_PAIRS, 0))
    began = time.process_time()
    finetune(checkpoint, pairs, recipe, seed=ORDER_SEED + seed, device=torch.device("cpu"))
    return round(time.process_time() - began, 1)


def table(lines: Sequence[Mapping[str, Any]]) -> str:
    """A row a model and method: seconds, and the ratio to CleanCLIP's of the same round."""
    if not lines:
        return "Not measured yet."
    rows = ["| model | method | rounds | CPU s | by CleanCLIP's of the same round |", "|---|---|---|---|---|"]
    for name in dict.fromkeys(line["model"] for line in lines):
        rounds = [line["cpu_s"] for line in lines if line["model"] == name]
        for method in METHODS:
            took = _spread([one[method] for one in rounds], 0)
            ratio = _spread([one[method] / one["cleanclip"] for one in rounds], 2)
            rows.append(f"| {name} | {method} | {len(rounds)} | {took} | {ratio} |")
    return "\n".join(rows)


def _spread(values: Sequence[float], digits: int) -> str:
    middle, low, high = (f"{one:.{digits}f}" for one in (median(values), min(values), max(values)))
    return f"{middle} ({low} to {high})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--folder", type=Path, required=True, help="weights and images of the development models"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    for _ in range(given.rounds):
        for model in MODELS:
            if model.name not in MEASURED:
                continue
            line = measure(model, given.folder)
            append(given.out, json.dumps(line))
            print(json.dumps(line["cpu_s"]), flush=True)


if __name__ == "__main__":
    main()
