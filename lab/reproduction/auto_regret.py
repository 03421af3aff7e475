"""What the choice of `method: auto` costs beside the best one, on models whose triggers are known.

    python -m lab.reproduction.auto_regret --folder F --raw FILE [--model NAME] [--most N]

The ladder of a development model runs to its end, given the suites' triggers of kinds that the model does
not carry. Those that it adds by itself, its surrogates, are then of kinds that the model carries; they do
not count in the choice, so that it knows none of the true ones. Each look is measured by the true triggers,
too, on test images. A row a model, resumable; the ladder's choice under a policy and the best one follow from
the row.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import patch

import torch

from cleanclip.spec.attack_options import AttackOptions, kind_of, surrogates_of
from cleanclip.spec.auto_figures import RungFigures, Validated
from cleanclip.spec.choosing import Judge, choose, places_of
from cleanclip.spec.ladder import ladder
from cleanclip.spec.progress import ignore
from cleanclip.spec.recipe import AuditOptions, AutoRecipe, Policy
from cleanclip.spec.report import Difference, Estimate
from lab.reproduction import developing, row_files
from lab.reproduction.canaries import outcome_of
from lab.reproduction.canary_choice import Outcome, Regret, regret
from lab.reproduction.cells import ORDER_SEED
from lab.reproduction.development import MODELS, NUM_PAIRS, DevelopmentModel
from lab.reproduction.development_table import interval
from lab.reproduction.measuring import made_with
from lab.reproduction.row_files import Rows
from lab.reproduction.running import Folders, run_with_needs
from sanitizer.audits.statistics import paired_difference
from sanitizer.audits.validation import Measured
from sanitizer.checkpoints.model import LoadedCheckpoint, load_canonical
from sanitizer.data.labelled import open_labelled
from sanitizer.data.pairs import open_pairs
from sanitizer.pipeline import advice, ladder_run
from sanitizer.pipeline.ladder_looks import Looks
from sanitizer.ranks.shared_training import Sources

ORDERED = AutoRecipe()
_CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class Truth:
    """One model by the true triggers, on test images; `ca_lost` paired with the input model."""

    asr: dict[str, Estimate]
    ca_lost: Difference | None = None


@dataclass(frozen=True, kw_only=True)
class Row:
    """One model. `truth`: of every look in the order of the ladder; of the input model `true_before`."""

    id: str
    model: str
    seed: int
    attacks: tuple[AttackOptions, ...]
    """That the ladder was given."""
    num_validation: int
    num_test: int
    before: Validated
    rungs: tuple[RungFigures, ...]
    true_before: Truth
    truth: tuple[Truth, ...]
    made_with: dict[str, str]


ROWS = Rows(Row)


def regret_of(row: Row, policy: Policy, gate: float = AuditOptions.gate) -> Regret:
    """Of the look that the ladder chooses by its validation figures, beside `best` by the truth."""
    judge = Judge(before=row.before, kinds=[*map(kind_of, row.attacks)], policy=policy, gate=gate)
    choice = choose([_without_surrogates(rung) for rung in row.rungs], judge)
    assert choice is not None, "a row has a look"
    names = {place: _name(row.rungs, place) for place in places_of(row.rungs)}
    worked = [family for family, was in row.true_before.asr.items() if was.value >= gate]
    outcomes = {name: _outcome(truth, worked) for name, truth in zip(names.values(), row.truth, strict=True)}
    return regret(names[choice.rung, choice.look], outcomes, best=best(outcomes, policy))


def _without_surrogates(rung: RungFigures) -> RungFigures:
    looks = (replace(look, figures=replace(look.figures, surrogates=())) for look in rung.looks)
    return replace(rung, looks=tuple(looks))


def best(outcomes: Mapping[str, Outcome], policy: Policy) -> str:
    """The least excess over the policy's limits by the bounds; of those that meet it the least upper bound of
    the worst ASR. The first of equals."""

    def rank(one: Outcome) -> tuple[float, float]:
        over = (one.worst_asr_high - policy.asr_at_most, one.ca_lost_high - policy.ca_lost_at_most)
        return max(0.0, *over), one.worst_asr_high

    return min(outcomes, key=lambda name: rank(outcomes[name]))


def table(rows: Sequence[Row], policy: Policy) -> str:
    """A row a model; a sentence where nothing was run."""
    if not rows:
        return "Not measured yet.\n"
    lines = [
        "| model | seed | n | looks | chosen | ASR %, CA lost | best by the truth | ASR %, CA lost | "
        "ASR, points worse | CA lost, points more |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        found = regret_of(row, policy)
        truth = dict(zip((_name(row.rungs, at) for at in places_of(row.rungs)), row.truth, strict=True))
        lines.append(
            f"| {row.model} | {row.seed} | {row.num_test:,} | {len(truth)} "
            f"| {found.chosen} | {_told(truth[found.chosen])} | {found.best} | {_told(truth[found.best])} "
            f"| {100 * found.asr:.1f} | {100 * found.ca_lost:.1f} |"
        )
    return "\n".join(lines) + "\n"


def _told(truth: Truth) -> str:
    worst = max(truth.asr.items(), key=lambda item: item[1].value, default=None)
    parts = [] if worst is None else [f"{worst[0]} {interval(worst[1])}"]
    return ", ".join([*parts, "" if truth.ca_lost is None else interval(truth.ca_lost)])


def _outcome(truth: Truth, worked: Sequence[str]) -> Outcome:
    assert truth.ca_lost is not None, "of a look"
    return outcome_of({family: truth.asr[family] for family in worked}, truth.ca_lost)


def _name(rungs: Sequence[RungFigures], place: tuple[int, int]) -> str:
    rung = rungs[place[0]]
    return f"{rung.name} after {rung.looks[place[1]].epoch}"


def given_to(model: DevelopmentModel) -> tuple[AttackOptions, ...]:
    """The suites' triggers of kinds that the model does not carry."""
    return tuple(one for one in surrogates_of(()) if kind_of(one) not in model.kinds())


def run(model: DevelopmentModel, root: Path) -> Row:
    """Climb the ladder of `model` to its end; every look is measured twice."""
    torch.set_num_threads(1)
    folders, options, seed = Folders(root), model.subject.options, model.subject.seed
    source, attacks = run_with_needs(model.subject, root), given_to(model)
    checkpoint, pairs = load_canonical(source), folders.sets.pairs(options, None, seed, NUM_PAIRS, 0)
    training = open_pairs(pairs)
    truths: list[Truth] = []

    def look(one: LoadedCheckpoint) -> None:
        figures, correct = developing.measure(one, model, root, "test")
        lost = paired_difference(developing.right_before(model, root), correct) if truths else None
        truths.append(Truth(asr=figures.asr, ca_lost=lost))

    rungs = ladder(ORDERED, **advice.model_of(checkpoint), num_samples=len(training))
    with tempfile.TemporaryDirectory() as folder, _to_the_end(look):
        setting = ladder_run.Setting(
            checkpoint=checkpoint,
            validation=open_labelled(folders.sets.judged(options, seed, "validation")),
            training=training,
            sources=Sources(checkpoint_folder=source, training_path=pairs),
            options=AuditOptions(target=options.target, attacks=attacks),
            policy=Policy(),
            scan=None,
            class_CD_of=lambda _: None,
            seed=ORDER_SEED + seed,
            device=_CPU,
            state_folder=Path(folder),
            save_every_s=1e9,
            max_ranks="auto",
            num_workers=0,
            progress=ignore,
            stop=lambda: False,
        )
        figures = ladder_run.climb(ORDERED, rungs, setting).figures
    before, *looks = truths
    test = developing.right_before(model, root)
    return Row(
        id=developing.row_id(model, None),
        model=model.name,
        seed=seed,
        attacks=attacks,
        num_validation=figures.num_validation,
        num_test=len(test),
        before=figures.before,
        rungs=figures.rungs,
        true_before=before,
        truth=tuple(looks),
        made_with=made_with(),
    )


@contextmanager
def _to_the_end(look: Callable[[LoadedCheckpoint], None]) -> Iterator[None]:
    """Ladders in the block end with their last rung; `look` sees the input model and that of every look."""

    class Watched(Looks):
        def at_input(self, model: LoadedCheckpoint) -> Measured:
            look(model)
            return super().at_input(model)

        def at_rung(self, model: LoadedCheckpoint, before: Validated) -> Measured:
            look(model)
            return super().at_rung(model, before)

    with (
        patch.object(ladder_run, "Looks", Watched),
        patch.object(Judge, "meets_both", lambda _, __: False),
    ):
        yield


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the models that were not run yet; returns the exit code."""
    given = row_files.parser("auto_regret", __doc__, [model.name for model in MODELS]).parse_args(arguments)
    known = {row.id for row in ROWS.read(given.raw)}
    asked = [model for model in MODELS if given.model is None or model.name in given.model]
    waiting = [model for model in asked if developing.row_id(model, None) not in known]
    for model in waiting[: given.most]:
        row = run(model, given.folder)
        ROWS.append(given.raw, row)
        print(f"{row.model}: {regret_of(row, Policy())}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
