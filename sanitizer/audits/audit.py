"""One audit of one set of weights: clean accuracy and, for every attack, ASR and PA, on one test set.

Shapes: N images, C classes, D embedding width; H = W the model's image size.

Every test image is decoded once; attacks of k different triggers cost k + 1 forward passes of it, and nothing
of it is kept but of a handful that the seed has drawn as examples, which are read once more for that. Drift
costs one pass more, by the model that came in; a linear probe one decode and one pass more, because it is
fitted before it judges; retrieval reads its pairs twice, because only then every caption is known.
Triggers go on the resized, cropped pixels that the model sees, before normalisation. Arithmetic is float32
without TF32, the towers' bf16 where the options say so; BatchNorm uses its stored statistics. Has no
training, no policy and no job: it returns what it counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cleanclip.vocabulary.attack_options import names_of, of_same_pixels
from cleanclip.vocabulary.audit_figures import AttackChange, AuditFigures, EmbeddingDrift
from cleanclip.vocabulary.examples import num_examples
from cleanclip.vocabulary.measures import Estimate
from cleanclip.vocabulary.probe_options import LinearProbeOptions
from cleanclip.vocabulary.progress import Phase, PhaseFinished, PhaseStarted
from cleanclip.vocabulary.recipe import AuditOptions, to_json
from cleanclip.vocabulary.templates import PLAIN_TEMPLATE
from sanitizer.attacks.catalogue import build_triggers
from sanitizer.attacks.trigger import Trigger
from sanitizer.audits.accuracy import per_class, top_k
from sanitizer.audits.attack_success import Triggered, attack_change
from sanitizer.audits.class_memory import ClassMemory
from sanitizer.audits.counting import Counts
from sanitizer.audits.drift import Drift
from sanitizer.audits.example_images import Album, Seen, choose
from sanitizer.audits.images_under_model import ImagesUnderModel
from sanitizer.audits.measuring import measuring
from sanitizer.audits.probe import CleanEmbeddings, FoldedProbe, fit_probe
from sanitizer.audits.retrieval import RetrievalResult, measure_retrieval
from sanitizer.audits.statistics import wilson
from sanitizer.audits.target_captions import Attacked
from sanitizer.audits.targets import find_targets
from sanitizer.audits.watch import Watch
from sanitizer.audits.zero_shot import nearest
from sanitizer.data.batches import LabelledBatches
from sanitizer.data.captioned import CaptionedBatches, draw_indices
from sanitizer.data.labelled import templates_of
from sanitizer.run import Run

if TYPE_CHECKING:
    from sanitizer.checkpoints.model import LoadedCheckpoint
    from sanitizer.data.labelled import LabelledDataset
    from sanitizer.data.pairs import PairDataset


@dataclass(frozen=True, kw_only=True)
class AuditResult:
    """`correct_N`: whether each measured image, in the set's order, was classified right without trigger;
    `label_N` its class; `triggered` the same of each attack, in the order of the options; `drift` from the
    input model, where that was given; `examples` in the order of their draw."""

    figures: AuditFigures
    label_N: Tensor
    correct_N: Tensor
    triggered: tuple[Triggered, ...]
    num_skipped: int
    skipped_examples: tuple[str, ...]
    towards: tuple[int, ...]
    """Of each attack the number of the class in its figures' `towards`."""
    index_N: tuple[int, ...] = ()
    """Which images of the set were measured. Empty of an audit that an earlier attempt made."""
    plain_template_ca: Estimate | None = None
    """CA with the one template of `PLAIN_TEMPLATE`, on the same images; where nobody gave templates."""
    drift: EmbeddingDrift | None = None
    retrieval: RetrievalResult | None = None
    examples: tuple[Seen, ...] = ()


@dataclass
class _PlainTemplate:
    """Counts the images that `class_CD`, embedded with one plain template, are right about. ImageNet's 80
    templates, which are taken where nobody gives any, can cost points of accuracy on other images."""

    class_CD: Tensor
    correct: list[Tensor] = field(default_factory=list)

    def add(self, image_ND: Tensor, label_N: Tensor) -> None:
        predicted_N, _ = nearest(image_ND, self.class_CD)
        self.correct.append(predicted_N.cpu() == label_N)

    def accuracy(self) -> Estimate:
        """CA over all images so far, of which there must be one."""
        correct_N = torch.cat(self.correct)
        return wilson(int(correct_N.sum()), len(correct_N))


def run_audit(
    checkpoint: LoadedCheckpoint,
    labelled: LabelledDataset,
    options: AuditOptions,
    run: Run,
    *,
    seed: int,
    phase: Phase,
    came_in: LoadedCheckpoint | None = None,
    memory: ClassMemory | None = None,
    retrieval_pairs: PairDataset | None = None,
    towards: Sequence[int] | None = None,
) -> AuditResult:
    """Measure `checkpoint` on `labelled`; the model is moved to the device and left there, its mode restored.

    Templates are those of the options, else of the set, else ImageNet's 80. An image's index in the set and
    `seed` decide its trigger, so the audits before and after cleaning see the same pixels. `run.stop` is
    asked before every pass of a batch. Reports `phase` in images, start to
    finish. With `came_in`, the model before it was changed, drift is measured too, for one more pass of every
    image, with `retrieval_pairs` retrieval. `towards`: of each attack, the class that an earlier audit found
    it to lead to; None: this audit looks for it, and compares `PLAIN_TEMPLATE` where nobody gave templates.
    `memory` spares the class embeddings that an earlier audit of the same job has made.
    Raises OptionsRejected `unknown_target`, `ambiguous_target`, `bad_template`, `too_few_for_probe` or as
    `build_triggers` does; DatasetRejected if too many images are bad or all are of the target class;
    CheckpointRejected if embeddings are not finite; Interrupted if `run.stop()`.
    """
    targets = find_targets(options, labelled.class_names)
    templates = templates_of(options, labelled)
    triggers = build_triggers(options.attacks)
    captioned = None
    if retrieval_pairs is not None:
        captioned = _captioned(checkpoint, retrieval_pairs, options, seed, run.num_workers)
    total = (1 if options.linear_probe is None else 2) * len(labelled)
    total += 0 if captioned is None else 2 * len(captioned.indices)
    watch = Watch(progress=run.progress, phase=phase, total=total, num_images=len(labelled), stop=run.stop)
    run.progress(PhaseStarted(phase=phase, total=total, unit="images"))
    batches = LabelledBatches(
        labelled,
        image_size=checkpoint.architecture.image_size,
        batch_size=options.batch_size,
        max_skipped_share=options.max_skipped_share,
        num_workers=run.num_workers,
    )
    num_shown = num_examples(options.examples, len(triggers))
    chosen = choose(labelled, num_shown, targets=targets.all, seed=seed, before_read=watch.check)
    precision = options.precision
    images = ImagesUnderModel(
        checkpoint=checkpoint, batches=batches, device=run.device, watch=watch, seed=seed, precision=precision
    )
    memory = memory or ClassMemory()
    with ExitStack() as models:
        models.enter_context(measuring(checkpoint, run.device, precision))
        class_CD = memory.embeddings(
            checkpoint,
            labelled.class_names,
            templates,
            run.device,
            precision=precision,
            after_classes=watch.classes_done,
        )
        drift = None
        if came_in is not None:
            models.enter_context(measuring(came_in, run.device, precision))
            classes_before_CD = memory.embeddings(
                came_in,
                labelled.class_names,
                templates,
                run.device,
                precision=precision,
                after_classes=lambda _: watch.check(),
            )
            drift = Drift(came_in, class_CD, classes_before_CD, precision)
        probe = None
        if options.linear_probe is not None:
            probe = _fitted_probe(images, labelled.class_names, options.linear_probe)
        plain = None
        if towards is None and options.templates is None and labelled.templates is None:
            plain = _PlainTemplate(
                memory.embeddings(
                    checkpoint,
                    labelled.class_names,
                    (PLAIN_TEMPLATE,),
                    run.device,
                    precision=precision,
                    after_classes=watch.classes_done,
                )
            )
        counts = Counts.for_targets(targets, probe)
        album = Album(chosen, checkpoint, labelled.class_names, len(triggers))
        alike = of_same_pixels(options.attacks)
        count_answers(images, class_CD, triggers, counts, alike=alike, drift=drift, album=album, plain=plain)
        retrieval = None if captioned is None else _retrieved(images, captioned, options, triggers)
    run.progress(PhaseFinished(phase=phase))
    result = _result(
        checkpoint,
        options,
        class_names=labelled.class_names,
        seed=seed,
        counts=counts,
        batches=batches,
        drift=drift,
        examples=album.seen(),
        towards=towards,
        plain=plain,
    )
    return result if retrieval is None else _with(result, retrieval)


def _captioned(
    checkpoint: LoadedCheckpoint, pairs: PairDataset, options: AuditOptions, seed: int, num_workers: int
) -> CaptionedBatches:
    return CaptionedBatches(
        pairs,
        draw_indices(len(pairs), options.max_retrieval_pairs, seed),
        image_size=checkpoint.architecture.image_size,
        batch_size=options.batch_size,
        max_skipped_share=options.max_skipped_share,
        num_workers=num_workers,
    )


def _with(result: AuditResult, retrieval: RetrievalResult) -> AuditResult:
    return replace(result, figures=replace(result.figures, retrieval=retrieval.figures), retrieval=retrieval)


def _retrieved(
    run: ImagesUnderModel, captioned: CaptionedBatches, options: AuditOptions, triggers: Sequence[Trigger]
) -> RetrievalResult:
    attacks = [
        Attacked(name=name, target=attack.target or options.target, trigger=trigger)
        for name, attack, trigger in zip(attack_names(options), options.attacks, triggers, strict=True)
    ]
    run.watch.end_pass()
    run.watch.start_images()
    return measure_retrieval(
        run.checkpoint,
        captioned,
        attacks,
        seed=run.seed,
        device=run.device,
        precision=run.precision,
        before_pass=run.watch.check,
        after_images=run.watch.images_done,
    )


def _fitted_probe(
    run: ImagesUnderModel, class_names: Sequence[str], options: LinearProbeOptions
) -> FoldedProbe:
    """After a pass of its own: who judges a triggered image must have been fitted on all others before."""
    clean, watch = CleanEmbeddings(), run.watch
    watch.start_images()
    for batch, image_NCHW in run.images():
        clean.add(batch.index_N, run.embed(image_NCHW), batch.label_N)
    watch.end_pass()
    return fit_probe(
        clean, class_names, options, seed=run.seed, before_pass=watch.check, after_fold=watch.fold_done
    )


def count_answers(
    run: ImagesUnderModel,
    class_CD: Tensor,
    triggers: Sequence[Trigger],
    counts: Counts,
    *,
    alike: Sequence[Sequence[int]],
    drift: Drift | None = None,
    album: Album | None = None,
    plain: _PlainTemplate | None = None,
) -> None:
    """Fills `counts`, `drift`, `album` and `plain` in one pass; the triggers of `alike` numbers in one go."""
    probe = counts.probe
    run.watch.start_images()
    for batch, image_NCHW in run.images():
        image_ND = run.embed(image_NCHW)
        answer = nearest(image_ND, class_CD)
        counts.add_untriggered(batch.label_N.to(run.device, non_blocking=True), *answer)
        counts.indices += batch.index_N
        if album is not None:
            album.add_untriggered(batch.index_N, batch.label_N, image_NCHW, *answer)
        if plain is not None:
            plain.add(image_ND, batch.label_N)
        if probe is not None:
            probe.add_untriggered(batch.index_N, image_ND)
        if drift is not None:
            run.watch.check()
            drift.add(run.to_pixels(image_NCHW), image_ND)
        for first, *others in alike:
            run.watch.check()
            triggered_NCHW = triggers[first].apply(image_NCHW, batch.index_N, run.seed)
            triggered_ND = run.embed(triggered_NCHW)
            answer = nearest(triggered_ND, class_CD)
            for number in (first, *others):
                counts.triggered[number].add(*answer)
                if album is not None:
                    album.add_triggered(number, batch.index_N, triggered_NCHW, *answer)
                if probe is not None:
                    probe.add_triggered(number, batch.index_N, triggered_ND)


def _result(
    checkpoint: LoadedCheckpoint,
    options: AuditOptions,
    *,
    class_names: tuple[str, ...],
    seed: int,
    counts: Counts,
    batches: LabelledBatches,
    drift: Drift | None,
    examples: tuple[Seen, ...],
    towards: Sequence[int] | None,
    plain: _PlainTemplate | None,
) -> AuditResult:
    label_N, label_rank_N = torch.cat(counts.label), torch.cat(counts.label_rank)
    correct_N = label_rank_N == 0
    own, *further = (
        answers.figures_of_target(label_N, class_names=class_names) for answers in counts.untriggered
    )
    goes_to = [answers.goes_to(label_N) for answers in counts.triggered]
    is_cleaned = towards is not None
    towards = goes_to if towards is None else towards
    clean_N = torch.cat(counts.untriggered[0].predicted)
    attacks = [
        answers.figures_of_attack(
            label_N,
            name=name,
            attack=attack,
            seed=seed,
            class_names=class_names,
            correct_N=correct_N,
            towards=answers.towards(number, clean_N, label_N, class_names=class_names),
            towards_now=answers.towards(now, clean_N, label_N, class_names=class_names)
            if is_cleaned
            else None,
        )
        for attack, name, answers, number, now in zip(
            options.attacks, attack_names(options), counts.triggered, towards, goes_to, strict=True
        )
    ]
    if counts.probe is not None:
        probed = counts.probe.figures_of_attacks(label_N)
        attacks = [replace(one, linear_probe=found) for one, found in zip(attacks, probed, strict=True)]
    figures = AuditFigures(
        weights_sha256=checkpoint.weights_sha256,
        seed=seed,
        ca=top_k(label_rank_N, 1),
        ca_top5=top_k(label_rank_N, 5),
        ca_per_class=per_class(correct_N, label_N, class_names),
        untriggered_target_rate=own.untriggered_target_rate,
        untriggered_target_top_k=own.untriggered_target_top_k,
        untriggered_target_rank=own.untriggered_target_rank,
        further_targets=tuple(further),
        attacks=tuple(attacks),
        linear_probe=None if counts.probe is None else counts.probe.figures(label_N),
    )
    return AuditResult(
        figures=figures,
        label_N=label_N,
        correct_N=correct_N,
        index_N=tuple(counts.indices),
        triggered=tuple(answers.triggered(label_N) for answers in counts.triggered),
        num_skipped=batches.num_skipped,
        skipped_examples=tuple(batches.skipped_examples),
        towards=tuple(towards),
        plain_template_ca=None if plain is None else plain.accuracy(),
        drift=None if drift is None else drift.measured(),
        examples=examples,
    )


def attack_names(options: AuditOptions) -> tuple[str, ...]:
    """A name for every attack of an audit."""
    return names_of(to_json(attack) for attack in options.attacks)


def attack_changes(
    before: AuditResult, after: AuditResult, options: AuditOptions, class_names: Sequence[str]
) -> tuple[AttackChange, ...]:
    """What each attack lost from one audit to another of the same images."""
    targets = find_targets(options, class_names)
    return tuple(
        attack_change(name, was, now, after.label_N, target)
        for name, was, now, target in zip(
            attack_names(options), before.triggered, after.triggered, targets.of_attacks, strict=True
        )
    )
