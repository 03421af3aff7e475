"""The rebound audit: does the backdoor come back when the cleaned model is trained further?

    R1  cleaned file ─▶ copy ─▶ clean data, CLIP's loss ─▶ a curve: ASR and CA after 0, 10, 50, … updates
    R2  cleaned file ─▶ copy ─▶ clean data with a few poisoned samples ─▶ updates until ASR is 50 %
    R4  cleaned file ─▶ copy, part of the way back to the input model's weights ─▶ the share with ASR 50 %

Every copy is read from the file that is handed out, trained in memory and dropped; the file itself is only
read. R2 is done twice for each attack that worked before, with its own trigger and with a fresh one of the
same family: a model that learns the old one faster has kept something of it. Rates are constant, so a point
does not depend on the points after it. What is finished is kept in the state folder.

How far a rebound audit is, and what of it is finished.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from cleanclip.vocabulary.attack_options import AttackOptions
from cleanclip.vocabulary.errors import CheckpointRejected, OptionsRejected, TrainingDiverged
from cleanclip.vocabulary.finetuning import FinetuningOptions
from cleanclip.vocabulary.fresh_attacks import fresh_of
from cleanclip.vocabulary.progress import Advanced, PhaseFinished, PhaseStarted, Progress, ProgressEvent
from cleanclip.vocabulary.rebound_figures import (
    Interpolation,
    ReboundCurve,
    ReboundFigures,
    ReboundPoint,
    Relearned,
    Relearning,
    RelearningPoint,
)
from cleanclip.vocabulary.rebound_options import ReboundOptions
from cleanclip.vocabulary.recipe import AuditOptions, CleanCLIPRecipe, Recipe, SupervisedRecipe, to_json
from sanitizer.attacks.catalogue import build_trigger, trigger_sha256
from sanitizer.audits.audit import AuditResult, attack_names
from sanitizer.audits.interpolation import halve, move_back
from sanitizer.audits.rebound import Sample, draw_sample, measure_point
from sanitizer.checkpoints.model import load_canonical
from sanitizer.data.labelled import LabelledDataset, templates_of
from sanitizer.data.mixed import Mixed
from sanitizer.data.templates import render
from sanitizer.data.training_data import LabelsAsCaptions, TrainingData
from sanitizer.pipeline.work_keys import key_of
from sanitizer.run import Run
from sanitizer.training.loop import Looks, finetune
from sanitizer.training.pace import Pace
from sanitizer.whole_files import write_whole

FILE_NAME = "rebound.json"

T = TypeVar("T")


class Ahead:
    """Progress of all trainings, each of as many images, those that are measured included."""

    def __init__(self, progress: Progress, num_runs: int, images_a_run: int) -> None:
        """Reports the start of the phase."""
        self._progress, self._images_a_run = progress, images_a_run
        self._total, self._num_ended, self._pace = num_runs * images_a_run, 0, Pace()
        progress(PhaseStarted(phase="rebound", total=self._total, unit="images"))
        self._pace.mark(0)

    def tell(self, done_of_run: int) -> None:
        """So many images of the training in hand are done."""
        done = self._num_ended * self._images_a_run + min(done_of_run, self._images_a_run)
        self._pace.mark(done)
        self._progress(
            Advanced(
                phase="rebound",
                done=done,
                total=self._total,
                rate=self._pace.rate,
                rate_unit="images",
                eta_s=self._pace.eta_s(self._total - done),
            )
        )

    def end_run(self) -> None:
        """The training in hand is over."""
        self._num_ended += 1
        self.tell(0)


class Kept:
    """Finished trainings by name, as JSON beside the training states; those of another `key` are dropped."""

    def __init__(self, folder: Path, key: str) -> None:
        self._path, self._key = folder / FILE_NAME, key
        self._finished: dict[str, Any] = {}
        try:
            found = json.loads(self._path.read_bytes())
            self._finished = dict(found["finished"]) if found["key"] == key else {}
        except (OSError, ValueError, KeyError, TypeError):
            pass

    def once(self, name: str, kind: type[T], make: Callable[[], T]) -> T:
        """What `make` made under this name in an earlier attempt, else makes now."""
        adapter = TypeAdapter(kind)
        try:
            return adapter.validate_python(self._finished[name])
        except (KeyError, ValidationError):
            made = make()
        self._finished[name] = adapter.dump_python(made, mode="json")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self._path, json.dumps({"key": self._key, "finished": self._finished}))
        return made


@dataclass(frozen=True, kw_only=True)
class Cleaned:
    """What is looked at: the cleaned model in `folder`, how it was made, and what its audits found."""

    folder: Path
    input_folder: Path
    recipe: Recipe
    data: TrainingData
    image_size: int
    class_CD: Tensor | None
    """Of a method of labels."""
    num_processes: int
    """That shared out its training: each had that part of a batch in memory."""
    before: AuditResult
    after: AuditResult


def measure_rebound(
    cleaned: Cleaned,
    labelled: LabelledDataset,
    options: AuditOptions,
    run: Run,
    *,
    seed: int,
    state_folder: Path,
) -> ReboundFigures | None:
    """None where `options` do not ask for it. Curves that the same job finished before are taken as they are.

    Reports phase "rebound" in images. Raises what an audit and `finetune` raise, but TrainingDiverged: a
    curve ends there.
    """
    if options.rebound is None:
        return None
    indices = draw_sample(cleaned.after.index_N, options.rebound.max_images, seed)
    sample = Sample(
        labelled=labelled,
        indices=indices,
        seed=seed,
        device=run.device,
        num_workers=run.num_workers,
        stop=run.stop,
    )
    kept = Kept(state_folder, _key(cleaned, sample, options))
    trained = _Rebound(cleaned, options, options.rebound, sample, kept=kept, progress=run.progress)
    curves = tuple(trained.curves())
    relearned = tuple(trained.relearned()) if options.rebound.poisons else ()
    interpolation = trained.interpolation() if options.rebound.interpolation_halvings else None
    run.progress(PhaseFinished(phase="rebound"))
    return ReboundFigures(
        num_samples=len(cleaned.data),
        curves=curves,
        attacks=tuple(attack_names(options)),
        relearned=relearned,
        interpolation=interpolation,
    )


def check_relearning(options: AuditOptions, data: TrainingData) -> None:
    """Raises OptionsRejected where a target cannot be taught with these labelled images."""
    if options.rebound is None or not options.rebound.poisons or not isinstance(data, LabelsAsCaptions):
        return
    for target in dict.fromkeys(attack.target or options.target for attack in options.attacks):
        if target not in data.labelled.class_names:
            raise OptionsRejected(
                "rebound_target_not_trained",
                f"Relearning teaches the copy that a trigger means '{target}', and the labelled images to "
                "train on have no class of that name.",
                "Name the class as the audit does, or set audit.rebound.poisons to 0.",
                where="audit.rebound.poisons",
            )


def benign_recipe(recipe: Recipe, rate: float, num_samples: int, num_processes: int = 1) -> Recipe:
    """How a customer trains further: as `recipe` optimises, but by CLIP's loss or cross-entropy alone."""
    batch_size = min(recipe.batch_size, num_samples)
    shared = {one.name: getattr(recipe, one.name) for one in fields(FinetuningOptions)} | {
        "learning_rate": rate * recipe.learning_rate,
        "batch_size": batch_size,
        "chunk_size": recipe.chunk_size if num_processes == 1 else -(-batch_size // num_processes),
        "epochs": 1,
    }
    if recipe.training_data == "labelled":
        return SupervisedRecipe(**shared, warmup_steps=0)
    return CleanCLIPRecipe(**shared, lambda1=1.0, lambda2=0.0, warmup_steps=0)


class _Rebound:
    """All trainings of one rebound audit, one after the other."""

    def __init__(
        self,
        cleaned: Cleaned,
        options: AuditOptions,
        rebound: ReboundOptions,
        sample: Sample,
        *,
        kept: Kept,
        progress: Progress,
    ) -> None:
        """Reports what is ahead."""
        self._cleaned, self._options, self._rebound = cleaned, options, rebound
        self._sample, self._kept = sample, kept
        gate = options.gate
        self._worked = [
            number for number, one in enumerate(cleaned.before.figures.attacks) if one.asr.value >= gate
        ]
        num_runs = rebound.num_curves
        if rebound.poisons:
            fresh = [fresh_of(options.attacks[number]) for number in self._worked]
            num_runs += len(fresh) + sum(one is not None for one in fresh)
        num_runs += rebound.interpolation_halvings > 0
        num_images = cleaned.recipe.batch_size * rebound.steps[-1]
        num_images += len(sample.indices) * (1 + len(rebound.steps))
        self._ahead = Ahead(progress, num_runs, num_images)

    def curves(self) -> Iterator[ReboundCurve]:
        """R1: one for each rate and seed."""
        for rate in self._rebound.rates:
            for number in range(self._rebound.num_seeds):
                seed = self._sample.seed + number
                make = partial(self._curve, rate, seed)
                yield self._kept.once(f"curve {rate!r} {seed}", ReboundCurve, make)
                self._ahead.end_run()

    def _curve(self, rate: float, seed: int) -> ReboundCurve:
        cleaned = self._cleaned
        recipe = benign_recipe(cleaned.recipe, rate, len(cleaned.data), cleaned.num_processes)
        points, diverged_at = self._train(cleaned.data, recipe, self._options, seed)
        return ReboundCurve(
            rate=rate,
            seed=seed,
            points=tuple(points),
            diverged_at=diverged_at,
        )

    def relearned(self) -> Iterator[Relearned]:
        """R2: of each attack that worked before the cleaning, in their order."""
        names = attack_names(self._options)
        for number in self._worked:
            attack = self._options.attacks[number]
            old = self._relearning(number, attack)
            other = fresh_of(attack)
            fresh = None if other is None else self._relearning(number, other)
            yield Relearned(attack=names[number], old=old, fresh=fresh)

    def interpolation(self) -> Interpolation:
        """R4: of the attacks of the audit."""
        found = self._kept.once("interpolation", Interpolation, self._interpolate)
        self._ahead.end_run()
        return found

    def _interpolate(self) -> Interpolation:
        copy = load_canonical(self._cleaned.folder)
        came_in = load_canonical(self._cleaned.input_folder, copy.architecture).model.state_dict()
        cleaned = {name: tensor.clone() for name, tensor in copy.model.state_dict().items()}
        measured = 0

        def at(share: float) -> ReboundPoint:
            nonlocal measured
            move_back(copy, cleaned, came_in, share)
            found = measure_point(copy, self._options, self._sample, step=0, after_share=lambda _: None)
            measured += 1
            self._ahead.tell(measured * len(self._sample.indices))
            return found

        return halve(at, self._rebound.interpolation_halvings)

    def _relearning(self, number: int, attack: AttackOptions) -> Relearning:
        sha256 = trigger_sha256(attack, self._sample.seed)
        make = partial(self._relearn, attack, sha256)
        found = self._kept.once(f"relearning {number} {sha256}", Relearning, make)
        self._ahead.end_run()
        return found

    def _relearn(self, attack: AttackOptions, sha256: str) -> Relearning:
        data = Mixed(
            self._cleaned.data,
            num_samples=self._rebound.relearning_samples,
            poisons=self._rebound.poisons,
            captions=self._lies(attack.target or self._options.target),
            trigger=build_trigger(attack),
            image_size=self._cleaned.image_size,
            seed=self._sample.seed,
        )
        recipe = benign_recipe(
            self._cleaned.recipe, self._rebound.rates[0], len(data), self._cleaned.num_processes
        )
        alone = replace(self._options, attacks=(attack,))
        points, diverged_at = self._train(data, recipe, alone, self._sample.seed)
        return Relearning(
            trigger_sha256=sha256,
            options=to_json(attack),
            points=tuple(RelearningPoint(step=one.step, asr=one.attacks[0].asr) for one in points),
            diverged_at=diverged_at,
        )

    def _lies(self, target: str) -> Sequence[str]:
        """What a poisoned sample says: captions that name the target, or its number among the classes."""
        data = self._cleaned.data
        if isinstance(data, LabelsAsCaptions):
            return (str(data.labelled.class_names.index(target)),)
        return [render(template, target) for template in templates_of(self._options, self._sample.labelled)]

    def _train(
        self, data: TrainingData, recipe: Recipe, options: AuditOptions, seed: int
    ) -> tuple[list[ReboundPoint], int | None]:
        """The points of one training of a fresh copy, and the update at which it diverged, if it did."""
        copy = load_canonical(self._cleaned.folder)
        points: list[ReboundPoint] = []
        num_images, batch_size, self._done = len(self._sample.indices), recipe.batch_size, 0

        def look(step: int) -> None:
            def share(part: float) -> None:
                self._ahead.tell(step * batch_size + int((len(points) + part) * num_images))

            points.append(measure_point(copy, options, self._sample, step=step, after_share=share))

        def heard(event: ProgressEvent) -> None:
            if isinstance(event, Advanced):
                self._done = event.done
                self._ahead.tell(event.done * batch_size + len(points) * num_images)

        look(0)
        try:
            finetune(
                copy,
                data,
                recipe,
                seed=seed,
                device=self._sample.device,
                progress=heard,
                stop=self._sample.stop,
                num_workers=self._sample.num_workers,
                class_CD=self._cleaned.class_CD,
                looks=Looks(steps=self._rebound.steps, look=look),
            )
        except TrainingDiverged:
            return points, self._done + 1
        except CheckpointRejected:  # embeddings that are not finite, at a look
            return points, self._done
        return points, None


def _key(cleaned: Cleaned, sample: Sample, options: AuditOptions) -> str:
    parts = {
        "weights_sha256": cleaned.after.figures.weights_sha256,
        "recipe": to_json(cleaned.recipe),
        "data_sha256": cleaned.data.sha256,
        "labelled_sha256": sample.labelled.sha256,
        "images": sample.indices,
        "options": to_json(options),
        "seed": sample.seed,
    }
    return key_of(parts)
