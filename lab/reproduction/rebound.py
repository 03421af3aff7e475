"""The rebound of cleaned test subjects: `python -m lab.reproduction.rebound POISONED.pt --method par`.

One development model (the demo's, or a clean one of its kind), one method, one seed: cleaned by the recipe of
the reproduction, then trained further as the rebound audit does. A line is appended to docs/reproduction/
rebound.jsonl. Measured on validation pictures; no held-out subject is opened.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch

from cleanclip.spec.recipe import AuditOptions, DeclaredOptions, ReboundOptions, Recipe, parse, to_json
from cleanclip.spec.report import Report
from lab.reproduction.cells import ORDER_SEED
from lab.reproduction.data import Sets
from lab.reproduction.development import UAR
from lab.reproduction.grid import CLEANCLIP, DEFENCES, PAR
from lab.reproduction.measuring import made_with
from lab.testbed.options import BADNET, SubjectOptions
from sanitizer.pipeline import operations

OUT = Path("docs/reproduction/rebound.jsonl")
RECIPES: dict[str, Recipe] = {
    "cleanclip": CLEANCLIP,
    "par": PAR,
    "supervised": DEFENCES["Supervised"],
    "uar": UAR,
}
REBOUND = ReboundOptions(rates=(1.0, 10.0), steps=(10, 50, 100))
NUM_SAMPLES, SEED = 8_000, 1


def measure(upload: Path, method: str, root: Path, rebound: ReboundOptions) -> Report:
    """The report of a cleaning with a rebound; weights and reports lie below `root`."""
    torch.set_num_threads(1)
    options, sets = SubjectOptions(), Sets(root / "data")
    folder = root / upload.parent.name
    if not (folder / "model.safetensors").exists():
        declared = parse(DeclaredOptions, {"quick_gelu": False})
        operations.inspect(upload, folder, declared=declared, filename=upload.name)
    recipe = RECIPES[method]
    if recipe.training_data == "pairs":
        data = sets.pairs(options, BADNET, SEED, NUM_SAMPLES, 0)
    else:
        data = sets.labelled(options, SEED, NUM_SAMPLES)
    return operations.sanitize(
        folder,
        data,
        sets.judged(options, SEED, "validation"),
        recipe=recipe,
        options=AuditOptions(target=options.target, attacks=(BADNET,), examples=0, rebound=rebound),
        out_dir=root / f"{folder.name}-{method}",
        state_folder=root / f"{folder.name}-{method}" / "state",
        seed=ORDER_SEED + SEED,
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("upload", type=Path, help="a test subject's checkpoint")
    parser.add_argument("--method", choices=tuple(RECIPES), required=True)
    parser.add_argument("--root", type=Path, default=Path("var/rebound"))
    parser.add_argument("--poisons", type=int, default=0, help="over 0: relearning too")
    arguments = parser.parse_args()
    rebound = replace(REBOUND, poisons=arguments.poisons)
    report = measure(arguments.upload, arguments.method, arguments.root, rebound)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    with OUT.open("a", encoding="utf-8") as lines:
        lines.write(line_of(report, arguments.upload.parent.name, arguments.method) + "\n")


if __name__ == "__main__":
    main()
