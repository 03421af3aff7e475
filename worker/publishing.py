"""Publish: the child's files into this attempt's own prefix, then one fenced transaction that makes them
count.

Keys of an attempt are never written by another. Until the transaction commits nobody is told of them; the
prefix of an attempt that did not win is removed by the sweeper.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from app.db.repositories.attempt_values import (
    CheckpointAccepted,
    ClaimedJob,
    DatasetReady,
    NewArtifact,
    NewVerdict,
)
from app.domain.dataset_samples import SAMPLES_NAME
from app.domain.object_keys import checkpoint_attempt_prefix, in_prefix, output_attempt_prefix
from app.domain.states import JobKind, JobPhase, JobState
from app.storage.port import ObjectStore
from sanitizer.attack_options import told
from sanitizer.jobspec import (
    CHECKPOINT_PATH,
    DATASET_ADAPTER,
    DATASET_NAME,
    DRAWN_NAME,
    INSPECTION_ADAPTER,
    INSPECTION_NAME,
    REPORT_HTML_HEAD,
    REPORT_HTML_NAME,
    REPORT_NAME,
    WEIGHTS_NAME,
)
from sanitizer.report import AuditFigures, Report, load_json
from worker.child_json import fit_for_a_row, read_json
from worker.failures import outputs_unusable
from worker.ledger import Ledger
from worker.packing import Package, Packing, Signer
from worker.pictures import pictured
from worker.staging import Staged
from worker.tracker import Tracker
from worker.transfer import patiently, upload
from worker.verdicts import verdicts_of

_MAX_JSON_BYTES = {
    INSPECTION_NAME: 256 * 2**10,
    DATASET_NAME: 2 * 2**20,
    DRAWN_NAME: 2 * 2**20,
    REPORT_NAME: 8 * 2**20,
}
_MEDIA_TYPES = {
    ".json": "application/json",
    ".html": "text/html; charset=utf-8",
    ".md": "text/markdown; charset=utf-8",
    ".sig": "application/vnd.dev.sigstore.bundle.v0.3+json",
    "": "text/plain; charset=utf-8",
}
_MAX_WARNINGS, _MAX_WARNING_CHARACTERS = 20, 1000
"""Of a report, in the job's row and so in every list; the report has all."""
_NO_REPORT = "left no report that can be read"
_EVIDENCED = frozenset({JobKind.SANITIZE, JobKind.AUDIT})
"""Kinds whose files leave the house, and so go with a statement and a signature."""


def publish(
    store: ObjectStore,
    ledger: Ledger,
    job: ClaimedJob,
    outputs: Sequence[Path],
    *,
    outgoing: Path,
    staged: Staged,
    signer: Signer | None,
    tracker: Tracker,
    check: Callable[[], None],
) -> JobState:
    """Upload `outputs` with all that vouches for them, then complete the job.

    Raises AttemptFailed, StorageError, SigningFailed, OSError, Stopped.
    """
    tracker.begin(JobPhase.PUBLISH)
    prefix = _prefix(job)
    drawn = [path for path in outputs if job.kind is JobKind.VALIDATE and path.name == DRAWN_NAME]
    packing = Packing([path for path in outputs if path not in drawn], outgoing / job.id, check)
    if drawn:
        packing.add(SAMPLES_NAME, _pictured(drawn[0]))
    by_name = {path.name: path for path in packing.files}
    effect: CheckpointAccepted | DatasetReady | None = None
    verdicts: tuple[NewVerdict, ...] = ()
    if job.kind in _EVIDENCED:
        report = _report(by_name)
        verdicts = _verdicts(job, report, staged, packing.sha256)
        _check_page(by_name)
        package = packing.finish_stated(job, staged, report, ended_at=ledger.time(), signer=signer)
        result = _judgement(report) | {"signature": package.signature}
    else:
        result, effect = {}, _effect(job, by_name, prefix, staged.pins, packing.sha256)
        package = packing.finish()
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
    patiently(send, check)


def _prefix(job: ClaimedJob) -> str:
    if job.kind is JobKind.INSPECT:
        return checkpoint_attempt_prefix(job.project_id, str(job.checkpoint_id), job.attempt)
    return output_attempt_prefix(job.project_id, job.id, job.attempt)


def _effect(
    job: ClaimedJob,
    outputs: dict[str, Path],
    prefix: str,
    pins: list[dict[str, Any]],
    sha256: dict[str, str],
) -> CheckpointAccepted | DatasetReady:
    """What the job says about its checkpoint or data set. Raises AttemptFailed.

    `pins` and `sha256` are what we saw ourselves of its inputs and its files: digests are taken from there,
    and a job that says something else is not believed at all.
    """
    try:
        if job.kind is JobKind.INSPECT:
            inspection = INSPECTION_ADAPTER.validate_json(_read(outputs, INSPECTION_NAME))
            (upload,) = pins
            ours = (upload["sha256"], upload["size_bytes"], sha256[WEIGHTS_NAME])
            if (inspection.upload_sha256, inspection.size_bytes, inspection.weights_sha256) != ours:
                raise outputs_unusable("its inspection speaks of other bytes than it was given and left")
            return CheckpointAccepted(
                sha256=upload["sha256"],
                canonical_prefix=prefix,
                weights_sha256=sha256[WEIGHTS_NAME],
                inspection=INSPECTION_ADAPTER.dump_python(inspection, mode="json"),
            )
        summary = DATASET_ADAPTER.validate_json(_read(outputs, DATASET_NAME))
        return DatasetReady(files=pins, summary=DATASET_ADAPTER.dump_python(summary, mode="json"))
    except (KeyError, OSError, ValueError, ValidationError) as error:
        raise outputs_unusable(_NO_REPORT) from error


def _pictured(drawn: Path) -> bytes:
    try:
        return pictured(_read({DRAWN_NAME: drawn}, DRAWN_NAME))
    except (OSError, ValueError, ValidationError) as error:
        raise outputs_unusable("left no samples that can be shown") from error


def _report(outputs: dict[str, Path]) -> Report:
    try:
        return load_json(_read(outputs, REPORT_NAME))
    except (KeyError, OSError, ValueError, ValidationError) as error:
        raise outputs_unusable(_NO_REPORT) from error


def _verdicts(
    job: ClaimedJob, report: Report, staged: Staged, sha256: dict[str, str]
) -> tuple[NewVerdict, ...]:
    """By the digests of what was staged and of what is published."""
    path = f"{CHECKPOINT_PATH}/{WEIGHTS_NAME}"
    came_in = next(one.sha256 for one in staged.received if one.path == path)
    if job.kind is JobKind.SANITIZE and WEIGHTS_NAME not in sha256:
        raise outputs_unusable(f"it left no {WEIGHTS_NAME}")
    made = sha256[WEIGHTS_NAME] if job.kind is JobKind.SANITIZE else None
    return tuple(verdicts_of(report, came_in=came_in, made=made))


def _check_page(outputs: dict[str, Path]) -> None:
    """People open the page in a browser: of one that could run or load anything, nothing is handed out."""
    path = outputs.get(REPORT_HTML_NAME)
    if path is None:
        return
    head = REPORT_HTML_HEAD.encode()
    with path.open("rb") as file:
        if file.read(len(head)) != head:
            raise outputs_unusable("its page does not begin as every page of a report does")


def _read(outputs: dict[str, Path], name: str) -> bytes:
    """Small, and bounded in all that it holds. Raises KeyError, OSError, ValueError."""
    return read_json(outputs[name], _MAX_JSON_BYTES[name])


def _judgement(report: Report) -> dict[str, Any]:
    """Verdict and figures of a report as the API shows them: training, inputs, pictures stay in the file.

    Raises AttemptFailed where they are more than a list can carry.
    """
    result = {
        "verdict": asdict(report.verdict),
        "before": shown_figures(report.before),
        "after": None if report.after is None else shown_figures(report.after),
        "ca_lost": None if report.ca_lost is None else asdict(report.ca_lost),
        "attack_changes": [asdict(change) for change in report.attack_changes],
        "warnings": [warning[:_MAX_WARNING_CHARACTERS] for warning in report.warnings[:_MAX_WARNINGS]],
        "architecture": None if report.architecture is None else asdict(report.architecture),
    }
    try:
        return fit_for_a_row(result)
    except ValueError as error:
        raise outputs_unusable(f"its report is none: {error}") from error


def shown_figures(audit: AuditFigures) -> dict[str, Any]:
    """As the API shows them: without the bytes of pictures and without a share for each of many classes."""
    found = asdict(audit)
    del found["ca_per_class"]
    return {**found, "attacks": [{**one, "options": told(one["options"])} for one in found["attacks"]]}
