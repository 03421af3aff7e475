"""`python -m lab.siglip PART`: trains small SigLIPs, and cleans each as the service does.

A row of docs/uar/siglip.jsonl is one model: what the report of its cleaning says before and after, and what
`counting` says of the same files. A row is made once, and a cleaning that was cut short continues. Exit
codes: 0 done, 1 the time is over.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import save_file

from cleanclip.spec.audit_figures import AuditFigures
from cleanclip.spec.jobspec import TOKENIZERS_VARIABLE, WEIGHTS_NAME, SanitizeSpec
from cleanclip.spec.recipe import AuditOptions, DeclaredOptions, UARRecipe, to_json
from cleanclip.spec.recommended import with_recommended
from lab.reproduction.cells import PART_SEEDS
from lab.reproduction.data import SIZES, Sets
from lab.reproduction.measuring import made_with, sources_sha256
from lab.siglip.counting import figures
from lab.siglip.plan import JUDGED_ON, SEEDS, TRAINING, Model, Part, models, trigger
from lab.siglip.training import HEADS, Texts, train
from lab.testbed import glyphs as glyph_sets
from lab.testbed.options import trigger_of
from lab.testbed.pictures import compose
from lab.testbed.poisoned_pairs import poisoned_set
from lab.zoo.rows import append_line, whole_lines
from lab.zoo.running import alone
from sanitizer.checkpoints.inspection import inspect_upload
from sanitizer.pipeline.operations import sanitize
from sanitizer.pipeline.places import Places
from sanitizer.run import Run

ROOT = Path(__file__).resolve().parents[2]
NUM_PAIRS = 8_000
ORDERED = UARRecipe(trained_on="images_of_pairs")
GIVEN = ("trained_on",)
"""What an order gives; the other options have their recommended values."""


def main(arguments: list[str] | None = None) -> int:
    """Run what is missing."""
    parser = argparse.ArgumentParser(prog="python -m lab.siglip", description=__doc__)
    parser.add_argument("part", choices=SEEDS)
    parser.add_argument("--only", default="", help="a part of the names of models")
    parser.add_argument("--minutes", type=float, help="begin nothing after so many")
    parser.add_argument("--rows", type=Path, default=ROOT / "docs" / "uar" / "siglip.jsonl")
    parser.add_argument("--weights", type=Path, default=ROOT / "var" / "siglip")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    started = time.monotonic()
    with alone(given.weights):
        for model in models(cast(Part, given.part)):
            known = {json.loads(line)["model"] for line in whole_lines(given.rows)}
            if given.only not in model.name or model.name in known:
                continue
            if given.minutes is not None and time.monotonic() - started > 60 * given.minutes:
                return 1
            append_line(json.dumps(run(model, given.weights)).encode() + b"\n", given.rows)
    return 0


def run(model: Model, weights: Path) -> dict[str, Any]:
    """Train, read as an upload, audit, clean, audit, and count again; the row."""
    glyphs, options, seed = glyph_sets.load(model.options.glyphs), model.options, model.seed
    implanted = trigger_of(options.attack)
    attack = implanted or trigger(seed)
    folder, part = weights / model.name, JUDGED_ON[model.part]
    judges = PART_SEEDS[part] + seed  # of images and triggers: other places than in training
    texts, upload, read = Texts(glyphs), folder / "siglip.safetensors", folder / "read"
    started = time.process_time()
    folder.mkdir(exist_ok=True)
    if not upload.is_file():
        num_poisons = round(options.num_pairs * options.poison_share) if implanted else 0
        pairs = poisoned_set(
            glyphs, "poisoning", options.num_pairs, attack=implanted, target=options.target,
            num_poisons=num_poisons, seed=seed,
        ).pictures  # fmt: skip
        trained = train(
            pairs, texts, options, seed=seed, say=lambda line: print(model.name, line, flush=True)
        )
        save_file(trained.state_dict(), folder / "half")
        (folder / "half").replace(upload)
    os.environ[TOKENIZERS_VARIABLE] = str(weights)
    (weights / f"{texts.sha256}.json").write_bytes(texts.content)
    declared = DeclaredOptions(tokenizer=texts.sha256, num_heads_vision=HEADS, num_heads_text=1)
    inspect_upload(upload, read, declared=declared, filename=upload.name)
    sets = Sets(weights / "sets")
    report = sanitize(
        Places(
            checkpoint=read,
            data=sets.judged(options, seed, part),
            training=sets.pairs(options, None, seed, NUM_PAIRS, 0),
            out=folder / "cleaned",
            state=folder / "state",
        ),
        SanitizeSpec(
            audit=AuditOptions(target=options.target, attacks=(attack,)),
            recipe=with_recommended(ORDERED, GIVEN, ("VisionTransformer", "small")),
            recipe_given=GIVEN,
            seed=judges,
            searches=False,
        ),
        Run(device=torch.device("cpu")),
    )
    shutil.rmtree(folder / "state")
    test = compose(glyphs, part, SIZES[part], seed=judges)
    before, after = (
        figures(file, glyphs, test, target=options.target, attack=attack, seed=judges)
        for file in (upload, folder / "cleaned" / WEIGHTS_NAME)
    )
    assert report.after is not None
    assert report.ca_lost is not None
    assert report.recipe_source is not None
    return {
        "model": model.name,
        "part": model.part,
        "seed": seed,
        "target": options.target,
        "attack": to_json(attack),
        "training": {name: getattr(options, name) for name in TRAINING},
        "recipe": to_json(report.recipe),
        "recommended_from": report.recipe_source.recommended_from,
        "num_parameters": report.checkpoint.num_parameters,
        "before": _shares(report.before),
        "after": _shares(report.after),
        "lost": asdict(report.ca_lost),
        "counted": {"before": before, "after": after},
        "cpu_s": round(time.process_time() - started),
        "made_with": made_with() | {"study_sha256": sources_sha256(Path(__file__).parent)},
    }


def _shares(audited: AuditFigures) -> dict[str, Any]:
    (attack,) = audited.attacks
    return {"ca": asdict(audited.ca), "asr": asdict(attack.asr), "pa": asdict(attack.pa)}


if __name__ == "__main__":
    sys.exit(main())
