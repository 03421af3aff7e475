"""Audits and cleanings, from files to files.

    sanitize:  checkpoint, labelled ─▶ baseline audit ─┐
               checkpoint, pairs ─▶ fine-tuning ─▶ cleaned file ─▶ final audit [─▶ rebound] ─▶ verdict, report

The final audit measures the file that is handed out, read back from the disk. Everything that can be
refused is refused before anything is computed.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeGuard

import torch

from cleanclip.vocabulary import cautions, judging
from cleanclip.vocabulary.cautions import TrainedClasses
from cleanclip.vocabulary.jobspec import CURVE_NAME, REPORT_NAME, AuditSpec, SanitizeSpec
from cleanclip.vocabulary.policy import check_audit, check_searched
from cleanclip.vocabulary.progress import Announced, Progress
from cleanclip.vocabulary.recipe import Recipe
from cleanclip.vocabulary.recommended import RecipeSource, size_of
from cleanclip.vocabulary.report import Report, curve_json, dump_json
from cleanclip.vocabulary.report_inputs import DataInput, Environment
from cleanclip.vocabulary.uar_recipe import UARRecipe
from sanitizer.audits.audit import AuditResult, run_audit
from sanitizer.audits.class_memory import ClassMemory
from sanitizer.audits.measuring import measuring
from sanitizer.checkpoints.model import LoadedCheckpoint, load_canonical
from sanitizer.checkpoints.tower_configs import ModifiedResNet
from sanitizer.data.templates import IMAGENET_80
from sanitizer.data.training_data import LabelsAsCaptions, TrainingData
from sanitizer.pipeline import reporting
from sanitizer.pipeline.baseline import audit_once, settled_before, settled_key
from sanitizer.pipeline.cleaned import write_cleaned
from sanitizer.pipeline.control import search
from sanitizer.pipeline.measured import measured
from sanitizer.pipeline.opening import ForAudit, ToExclude, open_for_audit, open_training
from sanitizer.pipeline.places import Places
from sanitizer.pipeline.rebound import Cleaned, check_relearning, measure_rebound
from sanitizer.pipeline.settling import SettledInputs, settle
from sanitizer.ranks.shared_training import Sources, how_many, train
from sanitizer.run import Run
from sanitizer.training.device import share_cores
from sanitizer.training.fits import check_fits


def audit(places: Places, spec: AuditSpec, run: Run) -> Report:
    """Measure canonical weights; report.json in `places.out`. Raises SanitizerErrors but TrainingDiverged.

    `spec.labelled_part` says that the labelled images are a part of a dataset; `spec.scan_section` is of the
    scan that found some of the attacks: the report repeats it.
    """
    options = spec.audit
    given, lists = _opened(places, spec)
    lists.check_all_used()
    run = replace(run, num_workers=share_cores(given.checkpoint.model, run.device))
    _tell(cautions.before_audit(options, spec.policy, is_cleaned=False), run.progress)
    settled = settle(given, options, run, seed=spec.seed)
    _tell(settled.warnings, run.progress)
    result = run_audit(
        settled.given.checkpoint,
        given.labelled,
        options,
        run,
        seed=spec.seed,
        phase="baseline_audit",
        retrieval_pairs=given.retrieval,
    )
    environment = reporting.environment(run.device, options.precision)
    report = _report(spec, settled, result, None, environment=environment)
    places.out.mkdir(parents=True, exist_ok=True)
    (places.out / REPORT_NAME).write_bytes(dump_json(report))
    return report


def sanitize(places: Places, spec: SanitizeSpec, run: Run) -> Report:
    """Audit canonical weights, clean them, audit the cleaned file.

    Leaves model.safetensors, config.json, report.json and training_curve.json in `places.out`, and
    `as_uploaded.*` where `spec.output_layout` asks for it. What is in `places.state` is gone on from.
    The training is shared out among `spec.max_ranks` processes at most (`ranks.training.how_many`).
    A policy that no result could meet is refused before training if somebody gave it, else it is a warning.
    The cleaned weights are searched for patterns that control them, unless `spec.searches` is False: a
    supervisor has a process do that which never read the upload.
    Raises every SanitizerError; ValueError where `places` has nothing to train on, or no state.
    """
    if places.training is None or places.state is None:
        raise ValueError("a cleaning needs data to train on, and a place for its state")
    options, policy, recipe, seed = spec.audit, spec.policy, spec.recipe, spec.seed
    given, lists = _opened(places, spec)
    checkpoint, labelled = given.checkpoint, given.labelled
    check_searched(policy, len(labelled))
    pairs = open_training(places.training, recipe, given, lists)
    check_fits(recipe, checkpoint, len(pairs))
    check_relearning(options, pairs)
    run = replace(run, num_workers=share_cores(checkpoint.model, run.device))
    cautioned = cautions.before_training(
        recipe,
        num_samples=len(pairs),
        num_classes=len(labelled.class_names),
        trained=TrainedClasses.of(pairs.labelled.class_names, labelled.class_names)
        if _reads_labels(pairs, recipe)
        else None,
        given=spec.recipe_given,
        family="ModifiedResNet"
        if isinstance(checkpoint.architecture.vision, ModifiedResNet)
        else "VisionTransformer",
        size=size_of(sum(parameter.numel() for parameter in checkpoint.model.parameters())),
    )
    _tell([*cautions.before_audit(options, policy, is_cleaned=True), *cautioned], run.progress)
    key = settled_key(checkpoint, labelled, seed)
    kept = settled_before(places.state, key)
    settled = settle(given, options, run, seed=seed, kept=kept)
    given, checkpoint = settled.given, settled.given.checkpoint
    _tell(settled.warnings, run.progress)
    before = audit_once(
        checkpoint,
        labelled,
        options,
        run,
        seed=seed,
        folder=places.state,
        memory=(memory := ClassMemory()),
        retrieval_pairs=given.retrieval,
        settled=(key, settled.figures),
    )
    hopeless = judging.hopeless(before.figures, gate=options.gate, policy=policy, scan=spec.scan_section)
    if hopeless and spec.policy_source.given != "default":
        raise hopeless[0]
    _tell([refusal.message for refusal in hopeless], run.progress)
    finetuned = train(
        checkpoint,
        pairs,
        recipe,
        Sources(checkpoint_folder=places.checkpoint, training_path=places.training, exclude=lists.paths),
        num_ranks=how_many(spec.max_ranks, recipe, checkpoint.model, run.device),
        seed=seed,
        device=run.device,
        state_folder=places.state,
        save_every_s=spec.save_every_s,
        progress=run.progress,
        stop=run.stop,
        num_workers=run.num_workers,
        class_CD=class_embeddings(checkpoint, pairs, run.device, memory)
        if _reads_labels(pairs, recipe)
        else None,
    )
    as_uploaded = write_cleaned(
        places.out, checkpoint, places.checkpoint, recipe=recipe, seed=seed, output_layout=spec.output_layout
    )
    cleaned = load_canonical(places.out)
    after = run_audit(
        cleaned,
        labelled,
        options,
        run,
        seed=seed,
        phase="final_audit",
        came_in=load_canonical(places.checkpoint, checkpoint.architecture),
        memory=memory,
        retrieval_pairs=given.retrieval,
        towards=before.towards,
    )
    control = search(cleaned, labelled, options, run, seed=seed) if spec.searches else None
    checkpoint.model.to("cpu")  # beside the copies that are trained next
    rebound = measure_rebound(
        Cleaned(
            folder=places.out,
            input_folder=places.checkpoint,
            recipe=recipe,
            data=pairs,
            image_size=checkpoint.architecture.image_size,
            class_CD=class_embeddings(checkpoint, pairs, run.device, memory)
            if options.rebound is not None and isinstance(pairs, LabelsAsCaptions)
            else None,
            num_processes=finetuned.num_processes,
            before=before,
            after=after,
        ),
        labelled,
        options,
        run,
        seed=seed,
        state_folder=places.state,
    )
    environment = reporting.environment(run.device, finetuned.precision, finetuned.num_processes)
    skipped = finetuned.num_skipped, finetuned.skipped_examples
    report = _report(
        spec,
        settled,
        before,
        after,
        environment=environment,
        trained_on=(reporting.training_input(pairs, *skipped, labelled.class_names),),
        rebound=rebound,
        control=control,
        training=finetuned.training,
        as_uploaded=as_uploaded,
    )
    (places.out / CURVE_NAME).write_bytes(curve_json(finetuned.training))
    (places.out / REPORT_NAME).write_bytes(dump_json(report))
    return report


def _tell(warnings: Sequence[str], progress: Progress) -> None:
    for warning in warnings:
        progress(Announced(level="warning", message=warning))


def _reads_labels(data: TrainingData, recipe: Recipe) -> TypeGuard[LabelsAsCaptions]:
    """UAR takes the images of a labelled set, and no label."""
    return isinstance(data, LabelsAsCaptions) and not isinstance(recipe, UARRecipe)


def class_embeddings(
    checkpoint: LoadedCheckpoint, data: LabelsAsCaptions, device: torch.device, memory: ClassMemory
) -> torch.Tensor:
    """By the model that came in, whose text encoder a method of labels leaves as it is."""
    templates = data.labelled.templates or IMAGENET_80
    with measuring(checkpoint, device):
        class_CD = memory.embeddings(checkpoint, data.labelled.class_names, templates, device)
    return class_CD.clone()  # what is made under inference_mode may not enter a graph of gradients


def _opened(places: Places, spec: AuditSpec | SanitizeSpec) -> tuple[ForAudit, ToExclude]:
    """What both audits of a job read, once its order has been checked; and the lists, not yet all used."""
    check_audit(spec.policy, spec.audit.attacks)
    cautions.check_rebound(spec.audit, spec.policy, spec.recipe)
    lists = ToExclude(places.exclude)
    return open_for_audit(places, spec, lists), lists


def _report(
    spec: AuditSpec | SanitizeSpec,
    settled: SettledInputs,
    before: AuditResult,
    after: AuditResult | None,
    *,
    environment: Environment,
    trained_on: tuple[DataInput, ...] = (),
    **of_cleaning: Any,
) -> Report:
    given, recipe, recipe_given = settled.given, spec.recipe, spec.recipe_given
    checkpoint = reporting.checkpoint_input(given.checkpoint, spec.upload_sha256)
    found = measured(
        before,
        after,
        spec.audit,
        class_names=given.labelled.class_names,
        seed=spec.seed,
        image_size=given.checkpoint.architecture.image_size,
    )
    return Report(
        kind=spec.kind,
        created_at=datetime.now(UTC),
        seed=spec.seed,
        checkpoint=checkpoint,
        architecture=settled.figures,
        data=(*trained_on, *reporting.measured_inputs(given, after or before)),
        audit=spec.audit,
        recipe=recipe,
        recipe_source=None
        if recipe is None or recipe_given is None
        else RecipeSource.of(recipe, recipe_given, checkpoint.model),
        policy=spec.policy,
        policy_source=spec.policy_source,
        **found.fields(),
        environment=environment,
        scan=spec.scan_section,
        **of_cleaning,
    )
