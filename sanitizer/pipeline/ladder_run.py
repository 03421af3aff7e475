"""`method: auto`: works down a ladder of recipes until a model meets the policy on the validation images.

    input model ─▶ copy ─▶ rung 1: some epochs ─▶ look ─▶ … ─▶ met? ─▶ chosen
                ─▶ copy ─▶ rung 2: …

A look measures the model on the validation images (`ladder_looks`); which look is chosen follows from the
figures alone (`cleanclip.spec.choosing`). The test images are not read here. What is finished is kept
(`ladder_state`), so a job that was cut in a rung goes on in that rung.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from cleanclip.spec.attack_options import kind_of
from cleanclip.spec.auto_figures import AutoFigures, LeftOutRung, Look, RungEnd, RungFigures
from cleanclip.spec.choosing import Judge, choose, not_judged
from cleanclip.spec.errors import Interrupted, OptionsRejected, TrainingDiverged
from cleanclip.spec.jobspec import MaxRanks
from cleanclip.spec.judging import loss_not_shown
from cleanclip.spec.ladder import Rung, left_out, smaller_part
from cleanclip.spec.ladder_budget import end_before
from cleanclip.spec.policy import cannot_pass, too_few
from cleanclip.spec.progress import (
    MEASURING_INPUT,
    MEASURING_RUNG,
    RUNG,
    RUNG_DOES_NOT_FIT,
    Noted,
    PhaseFinished,
    Progress,
    Stop,
)
from cleanclip.spec.recipe import AuditOptions, AutoRecipe, Policy, Recipe, to_json
from cleanclip.spec.scan_section import ScanSection
from sanitizer.audits.audit import attack_names
from sanitizer.audits.rebound import Sample
from sanitizer.audits.statistics import paired_difference
from sanitizer.checkpoints.model import LoadedCheckpoint
from sanitizer.data.labelled import LabelledDataset
from sanitizer.data.training_data import TrainingData
from sanitizer.pipeline import advice
from sanitizer.pipeline.baseline import packed, unpacked
from sanitizer.pipeline.keys import key_of
from sanitizer.pipeline.ladder_looks import Looks
from sanitizer.pipeline.ladder_progress import LadderProgress
from sanitizer.pipeline.ladder_state import Before, LadderState
from sanitizer.ranks.shared_training import Sources, how_many, train
from sanitizer.training import state
from sanitizer.training.loop import Finetuned, Part


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all rungs have in common. `checkpoint` is the input model; its weights change only at the end."""

    checkpoint: LoadedCheckpoint
    validation: LabelledDataset | None
    training: TrainingData
    sources: Sources
    options: AuditOptions
    policy: Policy
    scan: ScanSection | None
    class_CD_of: Callable[[Recipe], Tensor | None]
    seed: int
    device: torch.device
    state_folder: Path
    save_every_s: float
    max_ranks: MaxRanks
    num_workers: int
    progress: Progress
    stop: Stop

    def num_ranks(self, recipe: Recipe) -> int:
        return how_many(self.max_ranks, recipe, self.checkpoint.model, self.device)

    def train(
        self,
        model: LoadedCheckpoint,
        recipe: Recipe,
        *,
        part: Part | None = None,
        progress: Progress | None = None,
        stop: Stop | None = None,
    ) -> Finetuned:
        """Train `model`, the input model or a copy of it, in place. Raises what `finetune` raises."""
        return train(
            model,
            self.training,
            recipe,
            self.sources,
            num_ranks=self.num_ranks(recipe),
            seed=self.seed,
            device=self.device,
            state_folder=self.state_folder,
            save_every_s=self.save_every_s,
            progress=progress or self.progress,
            stop=stop or self.stop,
            num_workers=self.num_workers,
            class_CD=self.class_CD_of(recipe),
            part=part,
        )


@dataclass(frozen=True, kw_only=True)
class Climbed:
    """`figures` for the report; the rest is of the chosen look and of the validation set."""

    figures: AutoFigures
    finetuned: Finetuned
    num_skipped: int
    skipped_examples: tuple[str, ...]


def climb(ordered: AutoRecipe, rungs: tuple[Rung, ...], setting: Setting) -> Climbed:
    """Leaves the chosen weights in `setting.checkpoint.model`, on the device and in eval mode.

    Reports phase "finetune" in updates of all rungs. Raises what trainings and audits raise, TrainingDiverged
    where every rung diverged, OptionsRejected `budget_too_small` where no model could be measured in time.
    """
    return _Climb(ordered, rungs, setting).run()


class _OutOfBudget(Exception):
    """The device time that was ordered is over."""


class _Climb:
    def __init__(self, ordered: AutoRecipe, rungs: tuple[Rung, ...], setting: Setting) -> None:
        self._ordered, self._rungs, self._setting = ordered, rungs, setting
        assert setting.validation is not None, "its order parts the labelled images"
        self._state = LadderState(setting.state_folder, _key(ordered, setting, setting.validation))
        self._budget_s = None if ordered.max_device_minutes is None else 60 * ordered.max_device_minutes
        self._progress = LadderProgress(setting.progress, rungs, len(setting.training))
        self._looks = Looks(
            sample=Sample(
                labelled=setting.validation,
                indices=tuple(range(len(setting.validation))),
                seed=setting.seed,
                device=setting.device,
                num_workers=setting.num_workers,
                stop=setting.stop,
            ),
            training=setting.training,
            options=setting.options,
            share=self._progress.share,
        )
        self._rung_s = 0.0
        """That the rung under way took: training and looks."""
        self._diverged: TrainingDiverged | None = None

    def run(self) -> Climbed:
        setting = self._setting
        setting.checkpoint.model.to("cpu")  # beside the copies that are trained
        if self._state.finished.before is None:
            self._state.keep(before=self._measure_input())
        self._check_can_meet()
        for number in range(len(self._state.rungs), len(self._rungs)):
            self._state.keep(rungs=(*self._state.rungs, self._do_rung(number)), looks=())
        choice = choose(self._state.rungs, self._judge)
        if choice is None:
            raise self._nothing_measured()
        without = left_out(self._ordered)
        finetuned = self._state.load_best(setting.checkpoint.model)
        setting.checkpoint.model.to(setting.device).eval()
        setting.progress(PhaseFinished(phase="finetune"))
        return Climbed(
            figures=AutoFigures(
                **advice.model_of(setting.checkpoint),
                num_validation=self._before.num_images,
                before=self._before.figures,
                rungs=self._state.rungs,
                left_out=tuple(LeftOutRung(name=name, why=why) for name, why in without.items()),
                choice=choice,
                seconds=self._spent_s,
            ),
            finetuned=finetuned,
            num_skipped=self._before.num_skipped,
            skipped_examples=self._before.skipped_examples,
        )

    @property
    def _before(self) -> Before:
        assert self._state.finished.before is not None, "the input model is measured first"
        return self._state.finished.before

    @property
    def _judge(self) -> Judge:
        options = self._setting.options
        return Judge(
            before=self._before.figures,
            kinds=[kind_of(attack) for attack in options.attacks],
            policy=self._setting.policy,
            gate=options.gate,
            not_judged=not_judged(self._setting.scan, [one.asr for one in self._before.figures.attacks]),
        )

    @property
    def _spent_s(self) -> float:
        """Of the budget; the rung under way not yet."""
        return self._before.seconds + sum(rung.seconds for rung in self._state.rungs)

    def _measure_input(self) -> Before:
        began = time.monotonic()
        self._progress.looks_at(MEASURING_INPUT)
        measured = self._looks.at_input(self._copy())
        return Before(
            figures=measured.figures,
            correct=packed(measured.correct_N),
            num_images=len(measured.correct_N),
            num_skipped=measured.num_skipped,
            skipped_examples=measured.skipped_examples,
            seconds=time.monotonic() - began,
        )

    def _check_can_meet(self) -> None:
        """Raises OptionsRejected where the validation images are too few to show that a limit holds."""
        options, policy = self._setting.options, self._setting.policy
        for number, (name, attack) in enumerate(zip(attack_names(options), options.attacks, strict=True)):
            where, limit = policy.limit_of(kind_of(attack))
            judged, share = self._judge.share(self._before.figures, number), smaller_part(self._ordered)
            sentence = None if judged is None else too_few(limit, judged.n, share=share)
            if sentence is not None:
                raise cannot_pass(f"Of the validation images, {name}: {sentence}", where)
        sentence = loss_not_shown(self._before.figures.ca, policy.ca_lost_at_most)
        if sentence is not None:
            raise cannot_pass(sentence, "policy.ca_lost_at_most")

    def _copy(self) -> LoadedCheckpoint:
        given = self._setting.checkpoint
        return replace(given, model=copy.deepcopy(given.model))

    def _do_rung(self, number: int) -> RungFigures:
        """From the looks that an earlier attempt made, if it did."""
        rung, looks = self._rungs[number], list(self._state.finished.looks)
        detail = None
        self._rung_s = looks[-1].seconds if looks else 0.0
        left_s = None if self._budget_s is None else self._budget_s - self._spent_s
        end = end_before(self._state.rungs, rung, left_s) or self._ended_after(rung, looks)
        if end in (None, "does_not_fit"):
            phrase = RUNG if end is None else RUNG_DOES_NOT_FIT
            message = phrase(number=number + 1, total=len(self._rungs), name=rung.name)
            self._setting.progress(Noted(level="info", message=message))
        if end is None:
            self._rung_s += self._cut_s(rung, looks)
        try:
            while end is None:
                looks.append(self._look(number, looks))
                end = self._ended_after(rung, looks)
        except TrainingDiverged as error:
            end, detail, self._diverged = "diverged", error.message, error
        except _OutOfBudget:
            end = "budget"
        return _figures(rung, looks, end, self._rung_s, detail)

    def _ended_after(self, rung: Rung, looks: list[Look]) -> RungEnd | None:
        if looks and self._judge.meets_both(looks[-1]):
            return "policy_met"
        return "finished" if len(looks) == len(rung.looks) else None

    def _cut_s(self, rung: Rung, looks: list[Look]) -> float:
        """That the rung was trained after its last look in an earlier attempt, by the state that goes on."""
        setting = self._setting
        run_sha256 = state.run_sha256(
            rung.recipe,
            seed=setting.seed,
            weights_sha256=setting.checkpoint.weights_sha256,
            pairs_sha256=setting.training.sha256,
            world_size=setting.num_ranks(rung.recipe),
        )
        newest = state.find_newest(setting.state_folder, run_sha256)
        if newest is None:
            return 0.0
        return max(0.0, state.read_position(newest).wall_s - (looks[-1].trained_s if looks else 0.0))

    def _look(self, number: int, looks: list[Look]) -> Look:
        """Train to the next look, make it and keep it."""
        rung, before = self._rungs[number], self._before
        first, last = (looks[-1].epoch if looks else 0), rung.looks[len(looks)]
        part = Part(first_epoch=first, last_epoch=last, beside=self._state.folder)
        model, finetuned = self._trained(number, part)
        began = time.monotonic()
        self._progress.looks_at(MEASURING_RUNG, name=rung.name, epoch=last)
        measured = self._looks.at_rung(model, before.figures)
        was_right_N = unpacked(before.correct, before.num_images)
        ca_lost = paired_difference(was_right_N.tolist(), measured.correct_N.tolist())
        look = Look(epoch=last, figures=measured.figures, ca_lost=ca_lost, seconds=0.0)
        if self._judge.excess(look) == 0:  # else no pattern could make it the chosen one
            look = replace(look, figures=replace(look.figures, patterns=self._looks.patterns(model)))
        self._rung_s += time.monotonic() - began
        look = replace(look, seconds=self._rung_s, trained_s=finetuned.training.wall_s)
        choice = choose((*self._state.rungs, _figures(rung, [*looks, look], "finished", 0.0)), self._judge)
        assert choice is not None, "there is this look"
        best = self._state.finished.best
        if (choice.rung, choice.look) == (number, len(looks)):
            best = self._state.write_best(model.model, finetuned)
        self._state.keep(looks=(*looks, look), best=best)
        return look

    def _trained(self, number: int, part: Part) -> tuple[LoadedCheckpoint, Finetuned]:
        """A copy of the input model after that part of the rung. Raises _OutOfBudget."""
        setting, rung, model = self._setting, self._rungs[number], self._copy()
        began = time.monotonic()
        left_s = None if self._budget_s is None else self._budget_s - self._spent_s - self._rung_s

        def is_over() -> bool:
            return left_s is not None and time.monotonic() - began > left_s

        if is_over():
            raise _OutOfBudget
        try:
            finetuned = setting.train(
                model,
                rung.recipe,
                part=part,
                progress=self._progress.of_rung(number),
                stop=lambda: setting.stop() or is_over(),
            )
        except Interrupted:
            if setting.stop() or not is_over():
                raise
            raise _OutOfBudget from None
        finally:
            self._rung_s += time.monotonic() - began
        return model, finetuned

    def _nothing_measured(self) -> Exception:
        """Without a look, every rung either diverged or had no time left."""
        rungs, budget_s = self._state.rungs, self._budget_s
        if budget_s is None or all(rung.end == "diverged" for rung in rungs):
            in_earlier_attempt = (
                f"Every rung diverged. Rung {rungs[-1].name}: {rungs[-1].detail}",
                "Name a recipe with a lower learning rate, and look at the data for broken captions.",
            )
            return self._diverged or TrainingDiverged("loss_diverged", *in_earlier_attempt)
        return OptionsRejected(
            "budget_too_small",
            f"The budget of {budget_s / 60:g} device minutes ended {self._where_it_ended(budget_s)}, "
            "before a cleaned model could be measured. Nothing was chosen.",
            "Raise recipe.max_device_minutes, or leave it out.",
            where="recipe.max_device_minutes",
        )

    def _where_it_ended(self, budget_s: float) -> str:
        spent_s = self._before.seconds
        if spent_s >= budget_s:
            return "while the input model was measured"
        begun = [number for number, rung in enumerate(self._state.rungs) if rung.seconds > 0]
        for number in begun:
            spent_s += self._state.rungs[number].seconds
            if spent_s >= budget_s:
                break
        return f"in rung {number + 1} of {len(self._rungs)}, {self._rungs[number].name}"


def _figures(
    rung: Rung, looks: list[Look], end: RungEnd, seconds: float, detail: str | None = None
) -> RungFigures:
    return RungFigures(
        name=rung.name, recipe=rung.recipe, looks=tuple(looks), end=end, seconds=seconds, detail=detail
    )


def _key(ordered: AutoRecipe, setting: Setting, validation: LabelledDataset) -> str:
    parts = {
        "ordered": to_json(ordered),
        "weights_sha256": setting.checkpoint.weights_sha256,
        "architecture": setting.checkpoint.architecture.to_config(),
        "data_sha256": setting.training.sha256,
        "labelled_sha256": validation.sha256,
        "images": validation.indices,
        "options": to_json(setting.options),
        "policy": to_json(setting.policy),
        "scan": None if setting.scan is None else to_json(setting.scan),
        "seed": setting.seed,
    }
    return key_of(parts)
