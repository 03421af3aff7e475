"""Runs recipes on the development models: `python -m lab.reproduction.developing --folder F --raw FILE`.

One row for each model as it came and for each model and variant, of test and of validation images; a run that
failed leaves a row with its error. What a raw file holds already is not run again. `--attackers` runs those
of `attackers` instead. One thread.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

from cleanclip.spec.recipe import AuditOptions, BadNetOptions, Recipe, UARRecipe, to_json
from cleanclip.spec.report import Difference, Estimate
from lab.reproduction import row_files
from lab.reproduction.ablating import ablate
from lab.reproduction.attackers import ATTACKERS, ATTACKERS_PLAN, LATER_ATTACKERS, LATER_ATTACKERS_PLAN
from lab.reproduction.cells import ORDER_SEED, PART_SEEDS, without_later
from lab.reproduction.data import Sets
from lab.reproduction.development import (
    LATER,
    MODELS,
    NONE,
    NUM_PAIRS,
    PLAN,
    VARIANTS,
    DevelopmentModel,
    Variant,
)
from lab.reproduction.measuring import audited, made_with
from lab.reproduction.opening import gate_of
from lab.reproduction.row_files import Rows
from lab.reproduction.running import Folders, as_trigger, run_with_needs
from lab.reproduction.variants import applied, average, pulled_back
from lab.testbed.glyphs import Part
from lab.testbed.options import OptimisedPattern, SubjectOptions
from lab.testbed.pictures import IMAGE_SIZE
from sanitizer.audits.statistics import paired_difference
from sanitizer.checkpoints.model import LoadedCheckpoint, load_canonical
from sanitizer.data.pairs import PairDataset, open_pairs
from sanitizer.pipeline.cleaned import write_cleaned
from sanitizer.training.loop import finetune

_CPU = torch.device("cpu")


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
    changes: dict[str, Any] | None = None
    """Of the run, beside the recipe; None: none."""
    test: Figures | None = None
    validation: Figures | None = None
    ca_lost: Difference | None = None
    """Paired, on the test images."""
    cpu_s: float = 0.0
    """Processor seconds of the fine-tuning; 0 where the weights are made of those of another row."""
    weights_sha256: str = ""
    error: str = ""
    made_with: dict[str, str]


ROWS = Rows(Row)


def row_id(model: DevelopmentModel, variant: Variant | None) -> str:
    """16 hexadecimal digits over what decides a row but the code. An option at its default does not count, so
    that a new one renames no row."""
    identity: dict[str, Any] = {
        "model": without_later(json.loads(json.dumps(asdict(model.subject)))),
        "recipe": None if variant is None else _set_options(variant.recipe),
        "num_pairs": NUM_PAIRS if variant is None else variant.num_pairs,
    }
    if changes := _changes(variant):
        identity["changes"] = changes
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def _set_options(recipe: Recipe) -> dict[str, Any]:
    usual = to_json(type(recipe)())
    return {
        name: value for name, value in to_json(recipe).items() if name == "method" or value != usual[name]
    }


def _changes(variant: Variant | None) -> dict[str, Any] | None:
    if variant is None or variant.changes == NONE:
        return None
    usual = asdict(NONE)
    changed = {name: value for name, value in asdict(variant.changes).items() if value != usual[name]}
    return dict(json.loads(json.dumps(changed)))


def run(model: DevelopmentModel, name: str | None, root: Path) -> Row:
    """Clean `model` by the variant of that name (None: leave it as it is) and measure it."""
    torch.set_num_threads(1)
    for subject in filter(None, (model.pattern_of, model.subject)):
        run_with_needs(subject, root)
    variant = None if name is None else VARIANTS[name]
    if variant is None:
        checkpoint, cpu_s, lost = load_canonical(Folders(root).of(model.subject)), 0.0, None
        test, _ = measure(checkpoint, model, root, "test")
    else:
        checkpoint, cpu_s = cleaned(model, variant, root)
        test, correct = measure(checkpoint, model, root, "test")
        lost = paired_difference(right_before(model, root), correct)
    validation, _ = measure(checkpoint, model, root, "validation")
    return replace(
        _bare_row(model, name),
        test=test,
        validation=validation,
        ca_lost=lost,
        cpu_s=round(cpu_s, 1),
        weights_sha256=checkpoint.weights_sha256,
    )


def cleaned(model: DevelopmentModel, variant: Variant, root: Path) -> tuple[LoadedCheckpoint, float]:
    """The cleaned model and the processor seconds of its fine-tuning, 0 if its weights were there."""
    folders, recipe = Folders(root), variant.recipe
    source = folders.of(model.subject)
    folder, cpu_s = _trained(model, variant, root), 0.0
    if not (folder / "model.safetensors").is_file():
        checkpoint, started = load_canonical(source), time.process_time()
        seed, options = ORDER_SEED + model.subject.seed, model.subject.options
        pairs = open_pairs(_pairs(folders.sets, options, model.subject.seed, variant))
        _start(checkpoint, pairs, model, variant, root)
        with applied(variant.changes, load_canonical(source).model):
            if variant.changes.is_trained:
                finetune(checkpoint, pairs, recipe, seed=seed, device=_CPU)
        cpu_s = time.process_time() - started
        folder.mkdir(parents=True, exist_ok=True)
        write_cleaned(folder, checkpoint, source, recipe=recipe, seed=seed, output_layout="open_clip")
    checkpoint = load_canonical(folder)
    if others := variant.changes.averaged_with:
        average(checkpoint, [load_canonical(_trained(model, VARIANTS[name], root)) for name in others])
    if variant.changes.kept < 1:
        pulled_back(checkpoint, load_canonical(source), variant.changes.kept)
    return checkpoint, cpu_s


def _start(
    checkpoint: LoadedCheckpoint, pairs: PairDataset, model: DevelopmentModel, variant: Variant, root: Path
) -> None:
    """Put the weights that the run starts from into the image tower."""
    start, seed = variant.changes.starts_from, ORDER_SEED + model.subject.seed
    if start == "ablation":
        assert isinstance(variant.recipe, UARRecipe)
        ablate(checkpoint, pairs, variant.recipe, seed=seed)
    elif start:
        other, _ = cleaned(model, VARIANTS[start], root)
        checkpoint.model.visual.load_state_dict(other.model.visual.state_dict())


def _pairs(sets: Sets, options: SubjectOptions, seed: int, variant: Variant) -> Path:
    """What `variant` is trained on; of another kind only where it says so."""
    if variant.changes.trained_on == "leaves":
        return sets.leaves(seed, variant.num_pairs, IMAGE_SIZE)
    if variant.changes.trained_on == "digits":
        options = replace(options, glyphs="digits")
    return sets.pairs(options, None, seed, variant.num_pairs, 0)


def _trained(model: DevelopmentModel, variant: Variant, root: Path) -> Path:
    """Where the weights lie that the fine-tuning of `variant` ends with."""
    changes = replace(variant.changes, kept=1.0, averaged_with=())
    return root / "development" / row_id(model, replace(variant, changes=changes))


@cache
def right_before(model: DevelopmentModel, root: Path) -> list[bool]:
    """For each test image whether the model as it came classifies it right."""
    measured = Folders(root).measured(model.subject)
    assert measured is not None
    return measured.is_right


def measure(
    checkpoint: LoadedCheckpoint, model: DevelopmentModel, root: Path, part: Part
) -> tuple[Figures, list[bool]]:
    """The figures of one part by the model's true triggers, and for each image whether it is classified
    right."""
    options, seed = model.subject.options, model.subject.seed
    attacks = [replace(attack, target=target) for attack, target in _attacks(model, root)]
    audit = AuditOptions(target=options.target, attacks=tuple(attacks) or (BadNetOptions(),))
    judged = Folders(root).sets.judged(options, seed, part)
    result = audited(checkpoint, judged, audit, PART_SEEDS[part] + seed)
    told = dict(zip(model.families, result.figures.attacks, strict=False)) if attacks else {}
    figures = Figures(
        ca=result.figures.ca,
        asr={family: measured.asr for family, measured in told.items()},
        pa={family: measured.pa for family, measured in told.items()},
    )
    return figures, result.correct_N.tolist()


def _attacks(model: DevelopmentModel, root: Path) -> list[tuple[Any, str]]:
    """Each attack of `model` as it is applied, and its target class."""
    measured = Folders(root).measured(model.pattern_of or model.subject)
    picture = None if measured is None else measured.picture
    return [
        (as_trigger(attack, picture or "") if isinstance(attack, OptimisedPattern) else attack, target)
        for attack, target in model.attacks()
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the plan names and was not run yet; returns the exit code, 1 where a run failed.

    Raises HeldOut for the attackers, until the recipes are frozen.
    """
    models = {model.name: model for model in (*MODELS, *ATTACKERS, *LATER_ATTACKERS)}
    parser = row_files.parser("developing", __doc__, models)
    parser.add_argument("--attackers", action="store_true", help="those who know uar, after its freeze")
    parser.add_argument("--variant", action="append", choices=["before", *VARIANTS])
    given = parser.parse_args(arguments)
    if given.attackers:
        gate_of().opened()
    plan = (*ATTACKERS_PLAN, *LATER_ATTACKERS_PLAN) if given.attackers else (*PLAN, *LATER)
    known = {row.id for row in ROWS.read(given.raw) if not row.error}
    failed = made = 0
    for model_name, name in ((model, name) for model, names in plan for name in names):
        model = models[model_name]
        is_asked = model_name in (given.model or models) and name in (given.variant or [name])
        if made == given.most:
            break
        if not is_asked or row_id(model, VARIANTS.get(name)) in known:
            continue
        row = _attempt(model, None if name == "before" else name, given.folder)
        failed, made = failed + bool(row.error), made + 1
        ROWS.append(given.raw, row)
        print(_line(row), flush=True)
    return int(failed > 0)


def _attempt(model: DevelopmentModel, name: str | None, root: Path) -> Row:
    try:
        return run(model, name, root)
    except Exception as error:  # noqa: BLE001 - a run that failed is a row too
        return replace(_bare_row(model, name), error=f"{type(error).__name__}: {error}")


def _bare_row(model: DevelopmentModel, name: str | None) -> Row:
    variant = None if name is None else VARIANTS[name]
    return Row(
        id=row_id(model, variant),
        model=model.name,
        seed=model.subject.seed,
        method=name or "before",
        recipe=None if variant is None else to_json(variant.recipe),
        num_pairs=NUM_PAIRS if variant is None else variant.num_pairs,
        changes=_changes(variant),
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
