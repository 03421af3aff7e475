"""Fine-tunes a checkpoint with a recipe: epochs, saving, resuming, progress.

A run is the sequence of its updates; everything that decides one of them (weights, moments, RNG, position
in the data, curve, watch) is in the state, so a run that was cut at any step and resumed makes the same
updates as one that was not, bit for bit on a CPU.
"""

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

import torch
from open_clip.model import CLIP
from torch import Tensor

from cleanclip.vocabulary.errors import Interrupted
from cleanclip.vocabulary.progress import (
    INVERTING,
    OTHER_RUN,
    RESUMED,
    Advanced,
    Noted,
    PhaseFinished,
    PhaseStarted,
    Progress,
    StateSaved,
    ignore,
)
from cleanclip.vocabulary.recipe import AuditPrecision, Recipe
from cleanclip.vocabulary.report import Training
from cleanclip.vocabulary.uar_recipe import UARRecipe
from sanitizer.checkpoints.model import LoadedCheckpoint
from sanitizer.data.batches import PairBatch, PairBatches
from sanitizer.data.training_data import TrainingData
from sanitizer.methods.catalogue import build_method
from sanitizer.methods.method import Method
from sanitizer.training import distributed, optimizer, state, towers
from sanitizer.training.abandoning import StepAbandoned, abandoning
from sanitizer.training.device import towers_dtype
from sanitizer.training.distributed import World
from sanitizer.training.feeding import feed, open_batches, to_input
from sanitizer.training.fits import check_fits
from sanitizer.training.inserted_words import InsertedWords
from sanitizer.training.pace import Pace
from sanitizer.training.record import Record
from sanitizer.training.run_patterns import Patterns
from sanitizer.training.schedule import rate, stage_of
from sanitizer.training.state import Position
from sanitizer.training.step import StepOptions, StepResult, clamp_logit_scale, take_step

MAX_SAVING_SHARE = 0.05
"""A large model takes long to save: saves are at least so far apart that they take this share of the time."""


@dataclass(frozen=True, kw_only=True)
class Looks:
    """Where a run is looked at: after each of `steps` updates (ascending) `look` is called with their number.

    Such a run ends after the last of them, whatever the recipe's epochs, at a constant learning rate, so that
    what is seen at a step does not depend on the steps after it. `look` may change the model's mode only.
    """

    steps: tuple[int, ...]
    look: Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class Finetuned:
    """`training` is for the report; the rest is what the run learnt about its data and machine."""

    training: Training
    num_skipped: int
    skipped_examples: tuple[str, ...]
    precision: AuditPrecision
    num_processes: int


def finetune(
    checkpoint: LoadedCheckpoint,
    pairs: TrainingData,
    recipe: Recipe,
    *,
    seed: int,
    device: torch.device,
    state_folder: Path | None = None,
    save_every_s: float = 60.0,
    progress: Progress = ignore,
    stop: Callable[[], bool] = lambda: False,
    num_workers: int = 0,
    class_CD: Tensor | None = None,
    looks: Looks | None = None,
) -> Finetuned:
    """Train `checkpoint.model` in place, on `device`, and leave it there in eval mode.

    `class_CD`: unit embeddings of the classes, for a method of labels, whose `pairs` are labelled. Resumes
    from the newest state of the same run in `state_folder`, saves there before the first update, every
    `save_every_s` seconds, when `stop()` becomes true (a step in hand is given up), and at the end. The last
    state that was saved while the loss was good stays, whatever is saved later. With `looks`, in one process
    and without a state folder, a run ends earlier. Every process of a torch.distributed group calls this with
    the same arguments and takes its share of each batch; rank 0 saves and reports.

    Raises OptionsRejected (see `check_fits`), DatasetRejected if too many pairs are bad, TrainingDiverged,
    Interrupted after saving if `stop()`.
    """
    world = distributed.current_world()
    check_fits(recipe, checkpoint, len(pairs), world.size)
    model = checkpoint.model.to(device=device, memory_format=torch.channels_last)
    towers.prepare(model, freeze_batch_norm_statistics=recipe.freeze_batch_norm_statistics)
    batches = open_batches(
        checkpoint, pairs, recipe, seed=seed, world=world, num_workers=num_workers, device=device
    )
    run = _Run(
        checkpoint=checkpoint,
        data=pairs,
        seed=seed,
        batches=batches,
        recipe=recipe,
        run_sha256=state.run_sha256(
            recipe,
            seed=seed,
            weights_sha256=checkpoint.weights_sha256,
            pairs_sha256=pairs.sha256,
            world_size=world.size,
        ),
        state_folder=state_folder,
        save_every_s=save_every_s,
        progress=progress if world.rank == 0 else ignore,
        stop=stop,
        world=world,
        class_CD=None if class_CD is None else class_CD.to(device),
        looks=looks,
    )
    run.resume()
    run.train()
    model.eval()
    return run.result()


def _input_model(model: CLIP, method: Method) -> CLIP | None:
    """A teacher needs a copy of the captions' tower only where that is trained."""
    if method.inserts_words:
        return towers.frozen_towers(model)
    if method.has_teacher:
        return towers.frozen_image_tower(model)
    return towers.frozen_copy(model) if method.has_input_model else None


class _Run:
    """The moving parts of one call of `finetune`, and where it stands."""

    def __init__(
        self,
        *,
        checkpoint: LoadedCheckpoint,
        data: TrainingData,
        seed: int,
        batches: PairBatches,
        recipe: Recipe,
        run_sha256: str,
        state_folder: Path | None,
        save_every_s: float,
        progress: Progress,
        stop: Callable[[], bool],
        world: World,
        class_CD: Tensor | None,
        looks: Looks | None,
    ) -> None:
        self._looks = looks
        self._model = checkpoint.model
        self._device: torch.device = checkpoint.model.logit_scale.device
        self._batches, self._recipe, self._world = batches, recipe, world
        self._state_folder, self._save_every_s = state_folder, save_every_s
        self._progress, self._stop = progress, stop
        is_alone_on_cpu = self._device.type == "cpu" and world.size == 1
        # A look needs every weight as it is; rows of a table that is kept apart catch up at the end.
        keeps_table_apart = is_alone_on_cpu and looks is None
        self._optimizer = optimizer.build(self._model, recipe, keeps_table_apart=keeps_table_apart)
        self._method = build_method(recipe)
        self._total_steps = looks.steps[-1] if looks else recipe.epochs * batches.steps_per_epoch
        self._batch_size = recipe.batch_size
        self._record = Record(
            total_steps=self._total_steps,
            steps_per_epoch=batches.steps_per_epoch,
            parts=self._method.parts,
            chance_loss=self._method.chance_loss(len(class_CD) if class_CD is not None else self._batch_size),
            watched_part=self._method.watched_part,
        )
        self._position = Position(run_sha256=run_sha256, step=0, epoch=0, step_in_epoch=0)
        self._dtype = towers_dtype(recipe.precision, self._device, self._model)
        self._options = StepOptions(
            to_input=to_input(checkpoint),
            method=self._method,
            class_CD=class_CD,
            input_model=_input_model(self._model, self._method),
            chunk_size=recipe.chunk_size,
            max_grad_norm=recipe.max_grad_norm,
            towers_dtype=self._dtype,
        )
        self._words = InsertedWords.of_run(checkpoint, recipe, seed=seed, world=world)
        self._patterns = Patterns.of_run(
            checkpoint, data, recipe, seed=seed, options=self._options, world=world, on_step=self._inverting
        )
        is_whole = recipe.freeze_batch_norm_statistics or not towers.has_batch_norm(self._model)
        self._may_abandon = world.size == 1 and is_whole and looks is None
        self._started = time.monotonic()
        self._saved_at, self._saving_took_s = self._started, 0.0
        self._saved_step: int | None = None

    def resume(self) -> None:
        """Take up the newest fitting state, if there is one."""
        clamp_logit_scale(self._model)
        found = self._state_folder and state.find_newest(self._state_folder, self._position.run_sha256)
        if not found:
            self._tell_of_another_run()
            return
        position = state.load(
            found, self._model, self._optimizer, None if self._patterns is None else self._patterns.restore
        )
        self._record.restore(position)
        self._batches.recall(position.skipped)
        self._saved_step = position.step
        self._position = replace(position, resumed_from_steps=(*position.resumed_from_steps, position.step))
        self._progress(Noted(level="info", message=RESUMED(step=position.step, total=self._total_steps)))

    def _tell_of_another_run(self) -> None:
        if self._state_folder and (other := state.find_newest(self._state_folder)):
            step = state.read_position(other).step
            self._progress(Noted(level="warning", message=OTHER_RUN(step=step)))

    def train(self) -> None:
        """From the position to the end."""
        self._progress(PhaseStarted(phase="finetune", total=self._total_steps, unit="steps"))
        if self._saved_step is None:
            # A loss may explode before a save is due. And the audit before cleaning, which travels with the
            # states, leaves for the store before a first update that may take too much memory. No rank takes
            # this state for one to resume from: before it is written all have passed `resume` (World.join).
            self._save()
        pace = Pace()
        pace.mark(self._position.step)
        with abandoning(self._model, self._stop) if self._may_abandon else nullcontext():
            while self._position.step < self._total_steps:
                self._train_epoch(pace)
        if self._saved_step != self._position.step:
            self._save()
        self._optimizer.finish()
        self._keep_change()
        self._progress(PhaseFinished(phase="finetune"))

    def _keep_change(self) -> None:
        """After the last save: states hold the weights as they were trained."""
        if isinstance(self._recipe, UARRecipe):
            assert self._options.input_model is not None
            towers.keep_change(self._model, self._options.input_model, self._recipe.kept_change)

    def _train_epoch(self, pace: Pace) -> None:
        start = self._position
        if self._patterns is not None:
            self._invert(pace)
        batches = self._batches.epoch(start.epoch, start.step_in_epoch)
        for batch in feed(batches, self._device, copies=self._recipe.chunk_size is None):
            self._stop_if_asked()
            result = self._step(batch)
            pace.mark(self._position.step)
            self._report(pace, result)
            self._save_if_due()
            if self._looks is not None and self._position.step in self._looks.steps:
                self._looks.look(self._position.step)
                frozen = self._recipe.freeze_batch_norm_statistics
                towers.prepare(self._model, freeze_batch_norm_statistics=frozen)
                if self._position.step == self._total_steps:
                    return

    def _invert(self, pace: Pace) -> None:
        """Before the first update of a stage, unless it was done before the run was cut."""
        assert self._patterns is not None
        try:
            if self._patterns.invert(self._position.step, self._batches.steps_per_epoch):
                pace.restart(self._position.step)
        except StepAbandoned:
            self._stop_now()

    def _inverting(self, done: int, total: int) -> None:
        self._stop_if_asked()
        self._progress(
            Advanced(
                phase="finetune",
                done=self._position.step,
                total=self._total_steps,
                message=INVERTING(done=done, total=total),
            )
        )

    def _rate(self, step: int) -> float:
        base, total_steps = self._recipe.learning_rate, self._total_steps
        if self._looks is not None:
            return base
        if self._method.stages:
            stages = self._method.stages
            number, step, total_steps = stage_of(stages, step, steps_per_epoch=self._batches.steps_per_epoch)
            base = stages[number].learning_rate
        return rate(
            step,
            base,
            initial=self._method.initial_rate,
            warmup_steps=self._method.warmup_steps(total_steps),
            total_steps=total_steps,
        )

    def _step(self, batch: PairBatch) -> StepResult:
        """One update, taken down in the record and the position."""
        step = self._position.step
        learning_rate = self._rate(step)
        optimizer.set_rate(self._optimizer, learning_rate)
        patterns = self._patterns
        perturb = None if patterns is None else patterns.assign(step, self._batches.steps_per_epoch)
        if self._words is not None:
            batch = replace(batch, tokens_view_NL=self._words.inserted(batch.tokens_NL, step))
        try:
            result = take_step(
                self._model, self._optimizer, batch, self._options, self._world, perturb=perturb
            )
        except StepAbandoned:
            self._stop_now()
        if patterns is not None:
            patterns.ascend(step)
        logit_scale = float(self._model.logit_scale.detach().exp().reshape(()))
        self._record.add(step, result, learning_rate=learning_rate, logit_scale=logit_scale)
        in_epoch = self._position.step_in_epoch + 1
        ends_epoch = in_epoch == self._batches.steps_per_epoch
        self._position = replace(
            self._position,
            step=step + 1,
            epoch=self._position.epoch + ends_epoch,
            step_in_epoch=0 if ends_epoch else in_epoch,
        )
        return result

    def _report(self, pace: Pace, result: StepResult) -> None:
        done, rate = self._position.step, pace.rate
        self._progress(
            Advanced(
                phase="finetune",
                done=done,
                total=self._total_steps,
                rate=None if rate is None else rate * self._batch_size,
                rate_unit="pairs",
                eta_s=self._eta_s(pace, done),
                loss=result.loss,
            )
        )

    def _eta_s(self, pace: Pace, done: int) -> float | None:
        """Of the updates, and of inversions that are still to come."""
        eta_s = pace.eta_s(self._total_steps - done)
        return eta_s if eta_s is None or self._patterns is None else eta_s + self._patterns.seconds_left()

    def _stop_if_asked(self) -> None:
        if self._world.any(self._stop(), self._device):
            self._stop_now()

    def _stop_now(self) -> NoReturn:
        if self._state_folder is None:
            raise Interrupted(
                "stopped", "The training was stopped on request.", "Run it again; nothing was saved."
            )
        if self._saved_step != self._position.step:
            self._save()
        raise Interrupted(
            "stopped",
            f"The training was stopped on request after step {self._position.step} of {self._total_steps}.",
            "Run it again with the same arguments; it resumes from there.",
        )

    def _save_if_due(self) -> None:
        # Rank 0's clock decides for all, so that every rank waits at the same step.
        pause_s = max(self._save_every_s, self._saving_took_s / MAX_SAVING_SHARE)
        is_due = self._world.rank == 0 and time.monotonic() - self._saved_at >= pause_s
        if self._state_folder is not None and self._world.any(is_due, self._device):
            self._save()

    def _save(self) -> None:
        self._batches.recall(self._world.join(self._batches.skipped))
        if self._state_folder is None:
            return
        is_good = self._record.saving(self._position.step)
        if self._world.rank == 0:
            began = time.monotonic()
            patterns = {} if self._patterns is None else self._patterns.export()
            path = state.save(self._state_folder, self._model, self._optimizer, self._snapshot(), patterns)
            self._saved_at = time.monotonic()
            self._saving_took_s = self._saved_at - began
            self._progress(
                StateSaved(
                    path=f"{self._state_folder.name}/{path.name}", step=self._position.step, is_good=is_good
                )
            )
        self._saved_step = self._position.step
        self._world.wait()

    def _snapshot(self) -> Position:
        """The position with everything that the record, the batches and the clock know by now."""
        return replace(
            self._position,
            curve=tuple(self._record.curve),
            interval_steps=self._record.interval_steps,
            interval_sums=self._record.interval_sums,
            watch=self._record.watch,
            good_step=self._record.good_step,
            skipped=self._batches.skipped,
            wall_s=self._position.wall_s + time.monotonic() - self._started,
        )

    def result(self) -> Finetuned:
        """What the finished run has to say."""
        end = self._snapshot()
        return Finetuned(
            training=Training(
                num_pairs_seen=end.step * self._batch_size,
                wall_s=end.wall_s,
                resumed_from_steps=end.resumed_from_steps,
                curve=end.curve,
            ),
            num_skipped=self._batches.num_skipped,
            skipped_examples=self._batches.skipped_examples,
            precision="bf16" if self._dtype == torch.bfloat16 else "fp32",
            num_processes=self._world.size,
        )
