"""Publish: the child's files into this attempt's own prefix, then one fenced transaction that makes them
count.

Keys of an attempt are never written by another. Until the transaction commits nobody is told of them; the
prefix of an attempt that did not win is removed by the sweeper.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import ValidationError

from app.db.repositories.attempt_values import (
    CheckpointAccepted,
    ClaimedJob,
    DatasetReady,
    NewArtifact,
    NewVerdict,
)
from app.domain.dataset_references import SAMPLES_NAME
from app.domain.object_keys import checkpoint_attempt_prefix, in_prefix, output_attempt_prefix
from app.domain.states import JobPhase, JobState
from app.storage.port import ObjectStore
from cleanclip.kinds.catalogue import KINDS
from cleanclip.spec.attack_options import without_image
from cleanclip.spec.audit_figures import AuditFigures
from cleanclip.spec.jobspec import (
    CONFIG_NAME,
    DATASET_ADAPTER,
    DATASET_NAME,
    DRAWN_NAME,
    INSPECTION_ADAPTER,
    INSPECTION_NAME,
    WEIGHTS_NAME,
    InspectSpec,
    ValidateSpec,
)
from cleanclip.spec.rebound_figures import ReboundFigures
from cleanclip.spec.recipe import to_json
from cleanclip.spec.report import Report
from cleanclip.spec.report_kinds import AnyReport
from worker.confinement.child_json import fit_for_a_row
from worker.failures import not_believed
from worker.ledger import Ledger
from worker.publishing.accepting import believe_config, believe_dataset, believe_inspection
from worker.publishing.completing import believed, complete
from worker.publishing.converting import convert_again
from worker.publishing.fresh_child import FreshChildren
from worker.publishing.packing import Package, Packing, Signer
from worker.publishing.rechecking import confirm
from worker.publishing.sample_images import draw_samples
from worker.publishing.searching import SEARCHES, complete_search, result_of
from worker.publishing.shown import shown_control, shown_warnings
from worker.publishing.verdicts import judged_alone, verdicts_of
from worker.staging.stage import Staged
from worker.staging.transfer import retry_while_unavailable, upload
from worker.tracker import Tracker

_MEDIA_TYPES = {
    ".json": "application/json",
    ".html": "text/html; charset=utf-8",
    ".md": "text/markdown; charset=utf-8",
    ".sig": "application/vnd.dev.sigstore.bundle.v0.3+json",
    "": "text/plain; charset=utf-8",
}


def publish(
    store: ObjectStore,
    ledger: Ledger,
    job: ClaimedJob,
    outputs: Sequence[Path],
    *,
    inputs: Path,
    outgoing: Path,
    staged: Staged,
    scanned: Sequence[Path] = (),
    signer: Signer | None,
    fresh: FreshChildren,
    tracker: Tracker,
    check: Callable[[], None],
) -> JobState:
    """Check `outputs`, upload `outputs` with all that vouches for them, then complete the job.

    `inputs`: the folder of the child that left them. `scanned`: files of the scan that a cleaning began with.

    Raises AttemptFailed, StorageError, SigningFailed, OSError, Stopped.
    """
    tracker.begin(JobPhase.PUBLISH)
    prefix = _prefix(job)
    packing = Packing(outputs, outgoing / job.id, check)
    effect: CheckpointAccepted | DatasetReady | None = None
    result: dict[str, Any] = {}
    verdicts: tuple[NewVerdict, ...] = ()
    if isinstance(staged.spec, InspectSpec):
        effect = _accepted(packing, staged.spec, staged, prefix, fresh, inputs=inputs, check=check)
        package = packing.finish()
    elif isinstance(staged.spec, ValidateSpec):
        effect = _ready(packing, staged.spec, staged)
        package = packing.finish()
    else:
        ended_at, warn = ledger.time(), partial(tracker.note, "warning")
        signs, is_resumed = signer is not None, bool(job.resume_state)
        stated: AnyReport
        if (search := SEARCHES.get(staged.spec.kind)) is not None:
            stated, recheck = complete_search(
                packing,
                staged,
                fresh,
                inputs=inputs,
                signs=signs,
                is_resumed=is_resumed,
                ended_at=ended_at,
                warn=warn,
                check=check,
            )
            result, verdicts = result_of(stated), tuple(search.verdicts(stated))
        else:
            report, recheck = confirm(
                packing,
                staged,
                believed(packing, staged, ended_at=ended_at, uses_cuda=fresh.uses_cuda),
                fresh,
                inputs=inputs,
                signs=signs,
                is_resumed=is_resumed,
                tracker=tracker,
                check=check,
            )
            stated = report = complete(packing, staged, report, fresh, warn=warn)
            result, verdicts = _judgement(report), tuple(verdicts_of(report))
        packing.take(scanned)
        package = packing.finish_stated(job, staged, stated, recheck, ended_at=ended_at, signer=signer)
        result |= {"recheck": asdict(recheck), "signature": package.signature}
    artifacts = _upload_all(store, ledger, package, prefix=prefix, tracker=tracker, check=check)
    check()
    return ledger.succeed(result=result, artifacts=artifacts, effect=effect, verdicts=verdicts)


def _upload_all(
    store: ObjectStore,
    ledger: Ledger,
    package: Package,
    *,
    prefix: str,
    tracker: Tracker,
    check: Callable[[], None],
) -> list[NewArtifact]:
    artifacts = []
    for done, path in enumerate(package.files, start=1):
        artifact = NewArtifact(
            name=path.name,
            object_key=in_prefix(prefix, path.name),
            size_bytes=path.stat().st_size,
            sha256=package.sha256[path.name],
            media_type=_MEDIA_TYPES.get(path.suffix, "application/octet-stream"),
        )
        ledger.check()
        _upload(store, artifact, path, ledger, check)
        artifacts.append(artifact)
        tracker.advance(done / len(package.files), step=done, total_steps=len(package.files))
    return artifacts


def _upload(
    store: ObjectStore, artifact: NewArtifact, path: Path, ledger: Ledger, check: Callable[[], None]
) -> None:
    key, media_type = artifact.object_key, artifact.media_type
    send = partial(upload, store, key, path, content_type=media_type, is_ours=ledger.is_ours)
    retry_while_unavailable(send, check)


def _prefix(job: ClaimedJob) -> str:
    if KINDS[job.kind].reads_upload:
        return checkpoint_attempt_prefix(job.project_id, str(job.checkpoint_id), job.attempt)
    return output_attempt_prefix(job.project_id, job.id, job.attempt)


def _accepted(
    packing: Packing,
    spec: InspectSpec,
    staged: Staged,
    prefix: str,
    fresh: FreshChildren,
    *,
    inputs: Path,
    check: Callable[[], None],
) -> CheckpointAccepted:
    """What an inspection says about its checkpoint; its files are written by us. Raises AttemptFailed,
    Stopped."""
    (upload,) = staged.pins
    weights_sha256 = packing.sha256[WEIGHTS_NAME]
    raw = packing.path(INSPECTION_NAME).read_bytes()
    inspection = believe_inspection(raw, upload, packing.path(WEIGHTS_NAME), weights_sha256)
    config = believe_config(packing.path(CONFIG_NAME).read_bytes(), spec, inspection)
    convert_again(
        spec, staged, fresh, weights_sha256=weights_sha256, config=config, inputs=inputs, check=check
    )
    inspection = replace(inspection, converted_again=True)
    packing.add(CONFIG_NAME, config)
    packing.add(INSPECTION_NAME, INSPECTION_ADAPTER.dump_json(inspection, indent=2))
    return CheckpointAccepted(
        sha256=upload["sha256"],
        canonical_prefix=prefix,
        weights_sha256=weights_sha256,
        inspection=INSPECTION_ADAPTER.dump_python(inspection, mode="json"),
    )


def _ready(packing: Packing, spec: ValidateSpec, staged: Staged) -> DatasetReady:
    """What a validation says about its dataset. Raises AttemptFailed."""
    files = {PurePosixPath(one.path).name: one.sha256 for one in staged.received}
    summary = believe_dataset(packing.path(DATASET_NAME).read_bytes(), spec, files)
    packing.add(DATASET_NAME, DATASET_ADAPTER.dump_json(summary, indent=2))
    try:
        samples = draw_samples(packing.path(DRAWN_NAME).read_bytes())
    except (ValueError, ValidationError) as error:
        raise not_believed(f"its {DRAWN_NAME} holds no samples that can be shown") from error
    packing.drop(DRAWN_NAME)
    packing.add(SAMPLES_NAME, samples)
    return DatasetReady(files=staged.pins, summary=DATASET_ADAPTER.dump_python(summary, mode="json"))


def _judgement(report: Report) -> dict[str, Any]:
    """Verdict and figures of a report as the API shows them: training, inputs, images stay in the file.

    Raises AttemptFailed where they are more than a list can carry.
    """
    alone = judged_alone(report.before, report, report.scan)
    result = {
        "verdict": to_json(report.verdict),
        "before": shown_figures(report.before),
        "before_verdict": None if report.after is None else to_json(alone),
        "after": None if report.after is None else shown_figures(report.after),
        "ca_lost": None if report.ca_lost is None else to_json(report.ca_lost),
        "attack_changes": [to_json(change) for change in report.attack_changes],
        "rebound": None if report.rebound is None else shown_rebound(report.rebound),
        "control": [] if report.control is None else [shown_control(one) for one in report.control.families],
        "warnings": shown_warnings(report.warnings),
        "architecture": to_json(report.architecture),
    }
    try:
        return fit_for_a_row(result)
    except ValueError as error:
        raise not_believed(f"the figures of its report are more than a job has: {error}") from error


def shown_rebound(rebound: ReboundFigures) -> dict[str, Any]:
    """As the API shows it: without points, of which there may be many."""
    found = to_json(rebound)
    sides = [side for one in found["relearned"] for side in (one["old"], one["fresh"]) if side]
    for part in (*found["curves"], *sides, *filter(None, [found["interpolation"]])):
        part["points"] = []
    for side in sides:
        side["options"] = without_image(side["options"])
    return found


def shown_figures(audit: AuditFigures) -> dict[str, Any]:
    """As the API shows them: without the bytes of images and without a share for each of many classes."""
    found = to_json(audit)
    del found["ca_per_class"]
    return {
        **found,
        "attacks": [{**one, "options": without_image(one["options"])} for one in found["attacks"]],
    }
