"""A second audit of weights that the supervisor has checked, in a process that never read the upload."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cleanclip.spec import jobspec
from cleanclip.spec.jobspec import RecheckedFigures, RecheckSpec
from cleanclip.spec.progress import Progress, Stop
from sanitizer.audits.audit import run_audit
from sanitizer.checkpoints.model import load_canonical
from sanitizer.pipeline.opening import ToExclude, open_for_audit
from sanitizer.pipeline.parts import parts
from sanitizer.pipeline.settling import settle
from sanitizer.training.device import pick, share_cores


def do(spec: RecheckSpec, folder: Path, progress: Progress, stop: Stop) -> None:
    """Writes figures.json. Raises SanitizerErrors but TrainingDiverged.

    What came in is settled here whatever is audited: a configuration of cleaned weights has the heads and the
    activation that the first process claims.
    """
    options = replace(spec.audit, examples=0)  # images stand in no figure
    device = pick()
    given = open_for_audit(
        folder / jobspec.CHECKPOINT_PATH,
        folder / jobspec.LABELLED_PATH,
        folder / jobspec.RETRIEVAL_PATH if spec.has_retrieval else None,
        options,
        ToExclude([folder / jobspec.exclude_path(role) for role in spec.exclude]),
    )
    num_workers = share_cores(given.checkpoint.model, device)
    settled = settle(given, options, seed=spec.seed, device=device, progress=progress, stop=stop)
    audited = settled.given.checkpoint
    if spec.towards is not None:
        audited = load_canonical(folder / jobspec.CLEANED_PATH, audited.architecture)
    labelled = given.labelled
    if spec.validation_share is not None:
        _, labelled = parts(labelled, spec.validation_share, spec.seed)
    result = run_audit(
        audited,
        labelled,
        options,
        seed=spec.seed,
        device=device,
        progress=progress,
        phase="final_audit",
        stop=stop,
        num_workers=num_workers,
        retrieval_pairs=given.retrieval,
        towards=None if spec.towards is None else _numbers(spec.towards, given.labelled.class_names),
    )
    found = RecheckedFigures(figures=result.figures, architecture=settled.figures)
    path = folder / jobspec.OUTPUTS_PATH / jobspec.FIGURES_NAME
    path.write_bytes(jobspec.RECHECKED_ADAPTER.dump_json(found))


def _numbers(names: tuple[str, ...], class_names: tuple[str, ...]) -> list[int]:
    """Of classes; of two with one name the first. A name that no class has counts as the first class: the
    figures differ then, which is what the supervisor asks about."""
    return [class_names.index(name) if name in class_names else 0 for name in names]
