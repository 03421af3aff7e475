"""Runs recipes on the development models: `python -m lab.reproduction.developing --folder F --raw FILE`.

One row for each model as it came and for each model and recipe, of test and of validation images; a run that
failed leaves a row with its error. What a raw file holds already is not run again. One thread.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter

from cleanclip.spec.progress import ignore
from cleanclip.spec.recipe import AuditOptions, BadNetOptions, Recipe, to_json
from cleanclip.spec.report import Difference, Estimate
from lab.reproduction.cells import ORDER_SEED, TEST_SEED, VALIDATION_SEED
from lab.reproduction.development import MODELS, RECIPES, DevelopmentModel
from lab.reproduction.measuring import made_with
from lab.reproduction.running import Folders, run_cell
from lab.testbed.glyphs import Part
from sanitizer.audits.audit import AuditResult, run_audit
from sanitizer.audits.statistics import paired_difference
from sanitizer.checkpoints.model import LoadedCheckpoint, load_canonical
from sanitizer.data.labelled import open_labelled
from sanitizer.data.pairs import open_pairs
from sanitizer.pipeline.cleaned import write_cleaned
from sanitizer.training.loop import finetune

NUM_PAIRS = 8_000
_CPU = torch.device("cpu")
_SEEDS: dict[Part, int] = {"test": TEST_SEED, "validation": VALIDATION_SEED}


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Of one set of images; `asr` and `pa` by family. Each with counts and a 95 % Wilson interval."""

    ca: Estimate
    asr: dict[str, Estimate]
    pa: dict[str, Estimate]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One run; `recipe` None: the model as it came. `error` stands where there are no figures."""

    id: str
    model: str
    seed: int
    method: str
    recipe: dict[str, Any] | None
    num_pairs: int
    test: Figures | None = None
    validation: Figures | None = None
    ca_lost: Difference | None = None
    """Paired, on the test images."""
    cpu_s: float = 0.0
    """Processor seconds of the fine-tuning."""
    weights_sha256: str = ""
    error: str = ""
    made_with: dict[str, str]


_ROW = TypeAdapter(Row)


def row_id(model: DevelopmentModel, recipe: Recipe | None, num_pairs: int) -> str:
    """16 hexadecimal digits over what decides a row but the code."""
    identity = {
        "model": json.loads(json.dumps(asdict(model.subject))),
        "recipe": None if recipe is None else to_json(recipe),
        "num_pairs": num_pairs,
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def read_rows(raw: Path) -> list[Row]:
    """In the order in which they were made."""
    if not raw.is_file():
        return []
    return [_ROW.validate_json(line) for line in raw.read_text(encoding="utf-8").splitlines()]


def run(model: DevelopmentModel, name: str | None, root: Path, num_pairs: int = NUM_PAIRS) -> Row:
    """Clean `model` by the recipe of that name (None: leave it as it is) and measure it."""
    torch.set_num_threads(1)
    recipe = None if name is None else RECIPES[name]
    folders = Folders(root)
    run_cell(model.subject, root)
    source = folders.of(model.subject)
    checkpoint = load_canonical(source)
    _, before = _measure(checkpoint, model, folders, "test") if recipe is not None else (None, [])
    started = time.process_time()
    if recipe is not None:
        seed = ORDER_SEED + model.subject.seed
        options = model.subject.options
        pairs = open_pairs(folders.sets.pairs(options, None, model.subject.seed, num_pairs, 0))
        finetune(checkpoint, pairs, recipe, seed=seed, device=_CPU)
        cpu_s = time.process_time() - started
        cleaned = root / "development" / row_id(model, recipe, num_pairs)
        cleaned.mkdir(parents=True, exist_ok=True)
        write_cleaned(cleaned, checkpoint, source, recipe=recipe, seed=seed, output_layout="open_clip")
        checkpoint = load_canonical(cleaned)
    else:
        cpu_s = 0.0
    test, correct = _measure(checkpoint, model, folders, "test")
    validation, _ = _measure(checkpoint, model, folders, "validation")
    return Row(
        id=row_id(model, recipe, num_pairs),
        model=model.name,
        seed=model.subject.seed,
        method=name or "before",
        recipe=None if recipe is None else to_json(recipe),
        num_pairs=num_pairs,
        test=test,
        validation=validation,
        ca_lost=paired_difference(before, correct) if recipe is not None else None,
        cpu_s=round(cpu_s, 1),
        weights_sha256=checkpoint.weights_sha256,
        made_with=made_with(),
    )


def _measure(
    checkpoint: LoadedCheckpoint, model: DevelopmentModel, folders: Folders, part: Part
) -> tuple[Figures, list[bool]]:
    options, seed = model.subject.options, model.subject.seed
    attacks = [_with_target(attack, target) for attack, target in model.attacks()]
    result: AuditResult = run_audit(
        checkpoint,
        open_labelled(folders.sets.judged(options, seed, part)),
        AuditOptions(target=options.target, attacks=tuple(attacks) or (BadNetOptions(),)),
        seed=_SEEDS[part] + seed,
        device=_CPU,
        progress=ignore,
        phase="final_audit",
        stop=lambda: False,
    )
    told = dict(zip(model.families, result.figures.attacks, strict=False)) if attacks else {}
    figures = Figures(
        ca=result.figures.ca,
        asr={family: measured.asr for family, measured in told.items()},
        pa={family: measured.pa for family, measured in told.items()},
    )
    return figures, result.correct_N.tolist()


def _with_target(attack: Any, target: str) -> Any:
    return replace(attack, target=target)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was not run yet; returns the exit code, 1 where a run failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--raw", type=Path, required=True)
    parser.add_argument("--model", action="append", choices=[model.name for model in MODELS])
    parser.add_argument("--recipe", action="append", choices=["before", *RECIPES])
    given = parser.parse_args(arguments)
    known = {row.id for row in read_rows(given.raw) if not row.error}
    failed = 0
    for model in MODELS:
        for name in given.recipe or ["before", *RECIPES]:
            recipe = RECIPES.get(name)
            if given.model and model.name not in given.model:
                continue
            if row_id(model, recipe, NUM_PAIRS) in known:
                continue
            row = _attempt(model, name, recipe, given.folder)
            failed += bool(row.error)
            with given.raw.open("a", encoding="utf-8") as file:
                file.write(_ROW.dump_json(row).decode() + "\n")
            print(_line(row), flush=True)
    return int(failed > 0)


def _attempt(model: DevelopmentModel, name: str, recipe: Recipe | None, root: Path) -> Row:
    try:
        return run(model, None if recipe is None else name, root)
    except Exception as error:  # noqa: BLE001 - a run that failed is a row too
        return Row(
            id=row_id(model, recipe, NUM_PAIRS),
            model=model.name,
            seed=model.subject.seed,
            method=name,
            recipe=None if recipe is None else to_json(recipe),
            num_pairs=NUM_PAIRS,
            error=f"{type(error).__name__}: {error}",
            made_with=made_with(),
        )


def _line(row: Row) -> str:
    if row.test is None:
        return f"{row.model} {row.method}: {row.error}"
    asr = " / ".join(f"{100 * one.value:.1f}" for one in row.test.asr.values())
    pa = " / ".join(f"{100 * one.value:.0f}" for one in row.test.pa.values())
    return (
        f"{row.model} {row.method}: CA {100 * row.test.ca.value:.1f}, ASR {asr}, PA {pa}, {row.cpu_s:.0f} s"
    )


if __name__ == "__main__":
    sys.exit(main())
