"""Canaries: do triggers that we plant ourselves predict what a recipe does to one that we do not know?

    python -m lab.reproduction.canaries --folder F --raw FILE [--model NAME] [--variant NAME] [--most N]

Half of the surrogate triggers, drawn by a seed, are implanted into a copy of a development model until each
works; every recipe is run on that copy and measured by the canaries. A row a recipe, resumable. What the same
recipe does to the original model's true triggers stands in development.jsonl. Lab only: nothing is chosen by
it until it is shown to help.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from cleanclip.spec.attack_options import kind_of, surrogates_of
from cleanclip.spec.recipe import AttackOptions, AuditOptions, LabelConsistentOptions, WaNetOptions
from cleanclip.spec.report import Difference, Estimate
from lab.reproduction import developing, row_files
from lab.reproduction.canary_choice import Outcome, Regret, choose, regret, spearman
from lab.reproduction.cells import ORDER_SEED, VALIDATION_SEED
from lab.reproduction.development import MODELS, VARIANTS, DevelopmentModel, Variant
from lab.reproduction.grid import CLEANCLIP
from lab.reproduction.measuring import audited, made_with
from lab.reproduction.row_files import Rows
from lab.reproduction.running import Folders, run_with_needs
from lab.testbed import glyphs as glyph_sets
from lab.testbed.options import Planted, trigger_of
from lab.testbed.pictures import INKS
from sanitizer.audits.statistics import paired_difference
from sanitizer.checkpoints.model import LoadedCheckpoint, load_canonical
from sanitizer.data.pairs import open_pairs
from sanitizer.pipeline.cleaned import write_cleaned
from sanitizer.seeding import generator
from sanitizer.training.loop import finetune

WORKS, MOST_ROUNDS = 0.95, 8
IMPLANTING = replace(CLEANCLIP, lambda2=0.0, epochs=3, learning_rate=5e-4)
"""After four such rounds one ResNet had triangles at 94 % and Blended at 75 %; at 2e-4 and with half
of the poisons 13 and 43 % after six."""
NUM_PAIRS, POISON_SHARE = 8_000, 0.05
IMPLANT_SEED = 20_000
"""Added to the model's seed, so that the implanted pairs are not those of the cleaning."""
RECIPES = ("uar", "uar short", "uar weak alone", "uar no inversion", "cleanclip", "par")
_CPU = torch.device("cpu")


class NotImplanted(Exception):
    """A canary does not work after `MOST_ROUNDS`; the message has the ASR of each."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One recipe on the copy of one model. `implanted` and `asr`: by canary, before and after the recipe."""

    id: str
    model: str
    recipe: str
    targets: dict[str, str]
    implanted: dict[str, Estimate]
    asr: dict[str, Estimate]
    ca_lost: Difference
    """From the copy with canaries, paired, on validation images."""
    cpu_s: float
    made_with: dict[str, str]

    @property
    def outcome(self) -> Outcome:
        """By the canaries."""
        return outcome_of(self.asr, self.ca_lost)


ROWS = Rows(Row)


def outcome_of(asr: Mapping[str, Estimate], ca_lost: Difference) -> Outcome:
    """The worst of some triggers; 0 without one."""
    return Outcome(
        worst_asr=max((one.value for one in asr.values()), default=0.0),
        worst_asr_high=max((one.high for one in asr.values()), default=0.0),
        ca_lost=ca_lost.value,
        ca_lost_high=ca_lost.high,
    )


def canaries_of(model: DevelopmentModel) -> tuple[Planted, ...]:
    """Half of the suites' triggers of kinds that are not the model's own, each with a target of its own.

    Warps and label-consistent poisons are left out: a few epochs of fine-tuning do not implant them. In the
    order of generator(seed, "canaries").
    """
    surrogates = [
        one
        for one in surrogates_of(())
        if kind_of(one) not in model.kinds() and not isinstance(one, WaNetOptions | LabelConsistentOptions)
    ]
    draws = generator(model.subject.seed, "canaries")
    order = draws.permutation(len(surrogates)).tolist()[: -(-len(surrogates) // 2)]
    taken = {target.split(" ", 1)[1] for _, target in model.attacks()}
    nouns = [noun for noun in glyph_sets.load(model.subject.options.glyphs).nouns if noun not in taken]
    inks = list(INKS)
    chosen = draws.permutation(len(nouns)).tolist()
    return tuple(
        Planted(
            attack=surrogates[number],
            target_ink=inks[int(draws.integers(len(inks)))],
            target_noun=nouns[chosen[place]],
        )
        for place, number in enumerate(order)
    )


def with_canaries(model: DevelopmentModel, root: Path) -> tuple[Path, dict[str, Estimate]]:
    """The folder of the copy, and the ASR of each canary. Raises NotImplanted."""
    folders, canaries = Folders(root), canaries_of(model)
    source, seed = run_with_needs(model.subject, root), model.subject.seed
    folder = root / "canaries" / _digest(_identity(model))
    if not (folder / "model.safetensors").is_file():
        checkpoint, options = load_canonical(source), model.subject.options
        num_poisons = round(POISON_SHARE * NUM_PAIRS)
        pairs = open_pairs(
            folders.sets.pairs(options, None, IMPLANT_SEED + seed, NUM_PAIRS, num_poisons, planted=canaries)
        )
        for round_number in range(MOST_ROUNDS):
            finetune(checkpoint, pairs, IMPLANTING, seed=IMPLANT_SEED + seed + round_number, device=_CPU)
            asr, _ = measure(checkpoint, model, root)
            if min(one.value for one in asr.values()) >= WORKS:
                break
        else:
            shares = ", ".join(f"{name} {one.value:.1%}" for name, one in asr.items())
            raise NotImplanted(f"After {MOST_ROUNDS} rounds the canaries of {model.name} have {shares}.")
        folder.mkdir(parents=True, exist_ok=True)
        write_cleaned(folder, checkpoint, source, recipe=IMPLANTING, seed=seed, output_layout="open_clip")
    return folder, measure(load_canonical(folder), model, root)[0]


def measure(
    checkpoint: LoadedCheckpoint, model: DevelopmentModel, root: Path
) -> tuple[dict[str, Estimate], list[bool]]:
    """ASR by canary, and for each validation image whether it is classified right."""
    options, seed, canaries = model.subject.options, model.subject.seed, canaries_of(model)
    judged = Folders(root).sets.judged(options, seed, "validation")
    aimed = tuple(replace(_trigger(one), target=one.target) for one in canaries)
    audit = AuditOptions(target=options.target, attacks=aimed)
    result = audited(checkpoint, judged, audit, VALIDATION_SEED + seed)
    return (
        {name_of(one): found.asr for one, found in zip(canaries, result.figures.attacks, strict=True)},
        result.correct_N.tolist(),
    )


def _trigger(canary: Planted) -> AttackOptions:
    trigger = trigger_of(canary.attack)
    assert trigger is not None, "canaries are triggers of the suites"
    return trigger


def name_of(canary: Planted) -> str:
    """Its kind and target: two of one kind have two targets."""
    return f"{kind_of(_trigger(canary))} to {canary.target}"


def run(model: DevelopmentModel, name: str, root: Path) -> Row:
    """Plant the canaries if they are not there, clean the copy by the variant of that name, measure it."""
    torch.set_num_threads(1)
    folder, implanted = with_canaries(model, root)
    variant, seed, options = VARIANTS[name], model.subject.seed, model.subject.options
    checkpoint = load_canonical(folder)
    _, before = measure(checkpoint, model, root)
    pairs = open_pairs(Folders(root).sets.pairs(options, None, seed, variant.num_pairs, 0))
    started = time.process_time()
    finetune(checkpoint, pairs, variant.recipe, seed=ORDER_SEED + seed, device=_CPU)
    cpu_s = time.process_time() - started
    asr, after = measure(checkpoint, model, root)
    return Row(
        id=row_id(model, variant),
        model=model.name,
        recipe=name,
        targets={name_of(one): one.target for one in canaries_of(model)},
        implanted=implanted,
        asr=asr,
        ca_lost=paired_difference(before, after),
        cpu_s=round(cpu_s, 1),
        made_with=made_with(),
    )


def row_id(model: DevelopmentModel, variant: Variant) -> str:
    """Over what decides a row but the code."""
    return _digest([*_identity(model), developing.row_id(model, variant)])


def _identity(model: DevelopmentModel) -> list[str]:
    planted = [json.dumps(asdict(one), sort_keys=True) for one in canaries_of(model)]
    return [developing.row_id(model, None), *planted, repr(IMPLANTING), f"{NUM_PAIRS} {POISON_SHARE} {WORKS}"]


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(list(parts)).encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One model: how well the canaries' order of the recipes is the true one, and what their choice costs."""

    model: str
    recipes: tuple[str, ...]
    rho: float | None
    regret: Regret


def judged(rows: Sequence[Row], developed: Sequence[developing.Row]) -> list[Judged]:
    """Of each model with two recipes or more that were run on both: copy and original."""
    truth: dict[str, dict[str, Outcome]] = {}
    for one in developed:
        if one.test is not None and one.ca_lost is not None and one.test.asr:
            truth.setdefault(one.model, {})[one.method] = outcome_of(one.test.asr, one.ca_lost)
    found = []
    for model in dict.fromkeys(row.model for row in rows):
        known = truth.get(model, {})
        told = {row.recipe: row.outcome for row in rows if row.model == model and row.recipe in known}
        if len(told) < 2:
            continue
        true = {name: known[name] for name in told}
        worst = ([one.worst_asr for one in side.values()] for side in (told, true))
        rho = spearman(*worst)
        cost = regret(choose(told), true, best=choose(true))
        found.append(Judged(model=model, recipes=tuple(told), rho=rho, regret=cost))
    return found


def table(rows: Sequence[Row], developed: Sequence[developing.Row]) -> str:
    """A row a model; a sentence where nothing was run."""
    lines = [
        "| model | recipes | Spearman's ρ | chosen by canaries | best by the truth | ASR, points worse "
        "| CA lost, points more |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in judged(rows, developed):
        rho = "" if one.rho is None else f"{one.rho:.2f}"
        cost = one.regret
        lines.append(
            f"| {one.model} | {', '.join(one.recipes)} | {rho} | {cost.chosen} | {cost.best} "
            f"| {100 * cost.asr:.1f} | {100 * cost.ca_lost:.1f} |"
        )
    return "\n".join(lines) if len(lines) > 2 else "No model has two recipes that were run on both."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the plan names and was not run yet; returns the exit code, 1 where no canary was planted."""
    parser = row_files.parser("canaries", __doc__, [model.name for model in MODELS])
    parser.add_argument("--variant", action="append", choices=RECIPES)
    given = parser.parse_args(arguments)
    known, made, failed = {row.id for row in ROWS.read(given.raw)}, 0, False
    for model in MODELS:
        names = [name for name in RECIPES if given.variant is None or name in given.variant]
        if given.model is not None and model.name not in given.model:
            continue
        for name in names:
            if row_id(model, VARIANTS[name]) in known:
                continue
            if made == given.most:
                return int(failed)
            try:
                row = run(model, name, given.folder)
            except NotImplanted as error:
                print(error, file=sys.stderr)
                failed = True
                break
            ROWS.append(given.raw, row)
            made += 1
            print(f"{row.model} {row.recipe}: {row.outcome}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
