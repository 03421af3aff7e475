"""The four things that the library does, from files to files: inspect, validate, audit, sanitize.

    sanitize:  checkpoint, labelled ─▶ baseline audit ─┐
               checkpoint, pairs ─▶ fine-tuning ─▶ cleaned file ─▶ final audit [─▶ rebound] ─▶ verdict, report

The final audit measures the file that is handed out, read back from the disk. Everything that can be
refused is refused before anything is computed. Knows no job, no signal and no terminal. `inspect` and
`validate` stand in modules of their own, which load neither a model's code nor, for `validate`, torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeGuard

import torch

from cleanclip.spec import cautions
from cleanclip.spec.cautions import TrainedClasses
from cleanclip.spec.control import Search
from cleanclip.spec.jobspec import CURVE_NAME, REPORT_NAME, LabelledPart, MaxRanks
from cleanclip.spec.policy import check_audit, check_searched
from cleanclip.spec.progress import Announced, Progress, Stop, ignore, never_stop
from cleanclip.spec.rebound_figures import ReboundFigures
from cleanclip.spec.recipe import AuditOptions, OutputLayout, Policy, PolicySource, Recipe, UARRecipe
from cleanclip.spec.recommended import RecipeSource
from cleanclip.spec.report import Report, curve_json, dump_json
from cleanclip.spec.report_warnings import warnings_of
from cleanclip.spec.scan_section import ScanSection
from cleanclip.spec.settled import SettledArchitecture
from sanitizer.audits.audit import AuditResult, run_audit
from sanitizer.audits.class_memory import ClassMemory
from sanitizer.audits.measuring import measuring
from sanitizer.checkpoints.model import LoadedCheckpoint, load_canonical
from sanitizer.data.pairs import PairDataset
from sanitizer.data.templates import IMAGENET_80
from sanitizer.data.training_data import LabelsAsCaptions, TrainingData
from sanitizer.pipeline import advice, reporting
from sanitizer.pipeline.baseline import audit_once, settled_before, settled_key
from sanitizer.pipeline.cleaned import write_cleaned
from sanitizer.pipeline.control import search
from sanitizer.pipeline.inspecting import inspect
from sanitizer.pipeline.measured import measured
from sanitizer.pipeline.opening import ForAudit, ToExclude, open_for_audit, open_training
from sanitizer.pipeline.rebound import Cleaned, check_relearning, measure_rebound
from sanitizer.pipeline.settling import settle
from sanitizer.pipeline.validating import validate
from sanitizer.ranks.shared_training import Sources, how_many, train
from sanitizer.training.device import pick, share_cores
from sanitizer.training.fits import check_fits
from sanitizer.training.loop import Finetuned

__all__ = ["audit", "inspect", "sanitize", "validate"]


def audit(
    checkpoint_folder: Path,
    labelled_path: Path,
    options: AuditOptions,
    out_dir: Path,
    *,
    retrieval_path: Path | None = None,
    exclude: Sequence[Path] = (),
    labelled_part: LabelledPart | None = None,
    policy: Policy | None = None,
    policy_source: PolicySource | None = None,
    scan_section: ScanSection | None = None,
    seed: int = 0,
    upload_sha256: str | None = None,
    device: str = "auto",
    progress: Progress = ignore,
    stop: Stop = never_stop,
) -> Report:
    """Measure canonical weights; report.json in `out_dir`. Raises SanitizerErrors but TrainingDiverged.

    `retrieval_path` holds pairs to measure retrieval on, `exclude` lists of samples to leave out of a
    dataset; `labelled_part` says that the labelled images are a part of one. `scan_section` is of the scan
    that found some of the attacks; the report repeats it.
    """
    policy_source, policy = policy_source or PolicySource.of(policy), policy or Policy()
    check_audit(policy, options.attacks)
    cautions.check_rebound(options, policy, None)
    torch_device = pick(device)
    lists = ToExclude(exclude)
    given = open_for_audit(
        checkpoint_folder, labelled_path, retrieval_path, options, lists, part=labelled_part
    )
    lists.check_all_used()
    num_workers = share_cores(given.checkpoint.model, torch_device)
    cautioned = cautions.before_audit(options, policy, is_cleaned=False)
    _tell(cautioned, progress)
    settled = settle(given, options, seed=seed, device=torch_device, progress=progress, stop=stop)
    given = settled.given
    checkpoint, labelled = given.checkpoint, given.labelled
    _tell(settled.warnings, progress)
    result = run_audit(
        checkpoint,
        labelled,
        options,
        seed=seed,
        device=torch_device,
        progress=progress,
        phase="baseline_audit",
        stop=stop,
        num_workers=num_workers,
        retrieval_pairs=given.retrieval,
    )
    data = reporting.measured_inputs(given, result)
    found = measured(
        result,
        None,
        options,
        class_names=labelled.class_names,
        seed=seed,
        image_size=checkpoint.architecture.image_size,
    )
    report = Report(
        kind="audit",
        created_at=datetime.now(UTC),
        seed=seed,
        checkpoint=reporting.checkpoint_input(checkpoint, upload_sha256),
        architecture=settled.figures,
        data=data,
        audit=options,
        policy=policy,
        policy_source=policy_source,
        **found.fields(),
        environment=reporting.environment(torch_device, options.precision),
        scan=scan_section,
    )
    report = replace(report, warnings=warnings_of(report))
    out_dir.mkdir(parents=True, exist_ok=True)
    (out_dir / REPORT_NAME).write_bytes(dump_json(report))
    return report


def sanitize(
    checkpoint_folder: Path,
    training_path: Path,
    labelled_path: Path,
    *,
    recipe: Recipe,
    recipe_given: Sequence[str] | None = None,
    options: AuditOptions,
    out_dir: Path,
    state_folder: Path,
    retrieval_path: Path | None = None,
    exclude: Sequence[Path] = (),
    labelled_part: LabelledPart | None = None,
    policy: Policy | None = None,
    policy_source: PolicySource | None = None,
    scan_section: ScanSection | None = None,
    seed: int = 0,
    output_layout: OutputLayout = "open_clip",
    save_every_s: float = 60.0,
    max_ranks: MaxRanks = 1,
    searches: bool = True,
    upload_sha256: str | None = None,
    device: str = "auto",
    progress: Progress = ignore,
    stop: Stop = never_stop,
) -> Report:
    """Audit canonical weights, clean them, audit the cleaned file.

    `training_path` holds clean pairs, or labelled images where the recipe's method wants them;
    `retrieval_path` other pairs, to measure retrieval on. `exclude` are lists of samples to leave out, as
    `pipeline.vetting.vet` writes them, each of one of these datasets. `labelled_part` says that the labelled
    images are a part of a dataset.
    Leaves model.safetensors, config.json, report.json and training_curve.json in `out_dir`, and
    `as_uploaded.*` where `output_layout` asks for it. The same call with the same `state_folder` resumes.
    The training is shared out among `max_ranks` processes at most (`ranks.training.how_many`).
    A policy that no result could meet is refused before training if somebody gave it, else told in a warning.
    The cleaned weights are searched for patterns that control them, unless `searches` is False: a supervisor
    has a process do that which never read the upload.
    Raises every SanitizerError.
    """
    policy_source, policy = policy_source or PolicySource.of(policy), policy or Policy()
    check_audit(policy, options.attacks)
    cautions.check_rebound(options, policy, recipe)
    torch_device = pick(device)
    lists = ToExclude(exclude)
    given = open_for_audit(
        checkpoint_folder, labelled_path, retrieval_path, options, lists, part=labelled_part
    )
    checkpoint, labelled = given.checkpoint, given.labelled
    check_searched(policy, len(labelled))
    pairs = open_training(training_path, recipe, given, lists)
    check_fits(recipe, checkpoint, len(pairs))
    check_relearning(options, pairs)
    num_workers = share_cores(checkpoint.model, torch_device)
    cautioned = cautions.before_training(
        recipe,
        num_samples=len(pairs),
        num_classes=len(labelled.class_names),
        trained=TrainedClasses.of(pairs.labelled.class_names, labelled.class_names)
        if _reads_labels(pairs, recipe)
        else None,
        given=recipe_given,
        **advice.model_of(checkpoint),
    )
    _tell([*cautions.before_audit(options, policy, is_cleaned=True), *cautioned], progress)
    key = settled_key(checkpoint, labelled, seed)
    kept = settled_before(state_folder, key)
    settled = settle(given, options, seed=seed, device=torch_device, progress=progress, stop=stop, kept=kept)
    given, checkpoint = settled.given, settled.given.checkpoint
    _tell(settled.warnings, progress)
    before = audit_once(
        checkpoint,
        labelled,
        options,
        seed=seed,
        device=torch_device,
        folder=state_folder,
        progress=progress,
        stop=stop,
        num_workers=num_workers,
        memory=(memory := ClassMemory()),
        retrieval_pairs=given.retrieval,
        settled=(key, settled.figures),
    )
    hopeless = advice.hopeless_or_refused(before.figures, options.gate, policy, policy_source, scan_section)
    _tell(hopeless, progress)
    finetuned = train(
        checkpoint,
        pairs,
        recipe,
        Sources(checkpoint_folder=checkpoint_folder, training_path=training_path, exclude=lists.paths),
        num_ranks=how_many(max_ranks, recipe, checkpoint.model, torch_device),
        seed=seed,
        device=torch_device,
        state_folder=state_folder,
        save_every_s=save_every_s,
        progress=progress,
        stop=stop,
        num_workers=num_workers,
        class_CD=class_embeddings(checkpoint, pairs, torch_device, memory)
        if _reads_labels(pairs, recipe)
        else None,
    )
    as_uploaded = write_cleaned(
        out_dir, checkpoint, checkpoint_folder, recipe=recipe, seed=seed, output_layout=output_layout
    )
    cleaned = load_canonical(out_dir)
    after = run_audit(
        cleaned,
        labelled,
        options,
        seed=seed,
        device=torch_device,
        progress=progress,
        phase="final_audit",
        stop=stop,
        num_workers=num_workers,
        came_in=load_canonical(checkpoint_folder, checkpoint.architecture),
        memory=memory,
        retrieval_pairs=given.retrieval,
        towards=before.towards,
    )
    control = (
        search(cleaned, labelled, options, seed=seed, device=torch_device, progress=progress, stop=stop)
        if searches
        else None
    )
    checkpoint.model.to("cpu")  # beside the copies that are trained next
    rebound = measure_rebound(
        Cleaned(
            folder=out_dir,
            input_folder=checkpoint_folder,
            recipe=recipe,
            data=pairs,
            image_size=checkpoint.architecture.image_size,
            class_CD=class_embeddings(checkpoint, pairs, torch_device, memory)
            if options.rebound is not None and isinstance(pairs, LabelsAsCaptions)
            else None,
            num_processes=finetuned.num_processes,
            before=before,
            after=after,
        ),
        labelled,
        options,
        seed=seed,
        device=torch_device,
        state_folder=state_folder,
        progress=progress,
        stop=stop,
        num_workers=num_workers,
    )
    report = _cleaning_report(
        upload_sha256=upload_sha256,
        pairs=pairs,
        given=given,
        settled=settled.figures,
        recipe=recipe,
        recipe_given=recipe_given,
        options=options,
        policy=policy,
        policy_source=policy_source,
        seed=seed,
        before=before,
        after=after,
        rebound=rebound,
        control=control,
        finetuned=finetuned,
        scan_section=scan_section,
        device=torch_device,
        as_uploaded=as_uploaded,
    )
    (out_dir / CURVE_NAME).write_bytes(curve_json(finetuned.training))
    (out_dir / REPORT_NAME).write_bytes(dump_json(report))
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


def _cleaning_report(
    *,
    upload_sha256: str | None,
    pairs: PairDataset | LabelsAsCaptions,
    given: ForAudit,
    settled: SettledArchitecture,
    recipe: Recipe,
    recipe_given: Sequence[str] | None,
    options: AuditOptions,
    policy: Policy,
    policy_source: PolicySource,
    seed: int,
    before: AuditResult,
    after: AuditResult,
    rebound: ReboundFigures | None,
    control: Search | None,
    finetuned: Finetuned,
    scan_section: ScanSection | None,
    device: torch.device,
    as_uploaded: tuple[str, ...],
) -> Report:
    found = measured(
        before,
        after,
        options,
        class_names=given.labelled.class_names,
        seed=seed,
        image_size=given.checkpoint.architecture.image_size,
    )
    data = (
        reporting.training_input(
            pairs, finetuned.num_skipped, finetuned.skipped_examples, given.labelled.class_names
        ),
        *reporting.measured_inputs(given, after),
    )
    checkpoint = reporting.checkpoint_input(given.checkpoint, upload_sha256)
    report = Report(
        kind="sanitize",
        created_at=datetime.now(UTC),
        seed=seed,
        checkpoint=checkpoint,
        architecture=settled,
        data=data,
        audit=options,
        recipe=recipe,
        recipe_source=None
        if recipe_given is None
        else RecipeSource.of(recipe, recipe_given, checkpoint.model),
        policy=policy,
        policy_source=policy_source,
        **found.fields(),
        rebound=rebound,
        control=control,
        training=finetuned.training,
        environment=reporting.environment(device, finetuned.precision, finetuned.num_processes),
        as_uploaded=as_uploaded,
        scan=scan_section,
    )
    return replace(report, warnings=warnings_of(report))
