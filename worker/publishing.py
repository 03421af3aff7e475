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

from app.db.repositories.attempt_values import CheckpointAccepted, ClaimedJob, DatasetReady, NewArtifact
from app.domain.object_keys import checkpoint_attempt_prefix, in_prefix, output_attempt_prefix
from app.domain.states import JobKind, JobPhase, JobState
from app.storage.port import ObjectStore
from sanitizer.jobspec import DATASET_ADAPTER, DATASET_NAME, INSPECTION_ADAPTER, INSPECTION_NAME, REPORT_NAME
from sanitizer.report import load_json
from worker.failures import CRASH_RETRY_S, AttemptFailed
from worker.ledger import Ledger
from worker.outcome import read_regular
from worker.tracker import Tracker
from worker.transfer import file_sha256, interruptible, patiently

SUMS_NAME = "SHA256SUMS"
_MAX_JSON_BYTES = 64 * 1024 * 1024
_MEDIA_TYPES = {
    ".json": "application/json",
    ".html": "text/html; charset=utf-8",
    "": "text/plain; charset=utf-8",
}


def publish(
    store: ObjectStore,
    ledger: Ledger,
    job: ClaimedJob,
    outputs: Sequence[Path],
    *,
    outgoing: Path,
    pins: list[dict[str, Any]],
    tracker: Tracker,
    check: Callable[[], None],
) -> JobState:
    """Upload `outputs` and SHA256SUMS, then complete the job. Raises AttemptFailed, StorageError, Stopped."""
    tracker.begin(JobPhase.PUBLISH)
    prefix = _prefix(job)
    result, effect = _meaning(job, {path.name: path for path in outputs}, prefix, pins)
    digests = {path.name: interruptible(partial(file_sha256, path), check) for path in outputs}
    sums = outgoing / SUMS_NAME
    sums.write_text("".join(f"{digests[name]}  {name}\n" for name in sorted(digests)), encoding="ascii")
    digests[SUMS_NAME] = file_sha256(sums)
    artifacts = []
    for done, path in enumerate([*outputs, sums], start=1):
        media_type = _MEDIA_TYPES.get(path.suffix, "application/octet-stream")
        artifact = NewArtifact(
            name=path.name,
            object_key=in_prefix(prefix, path.name),
            size_bytes=path.stat().st_size,
            sha256=digests[path.name],
            media_type=media_type,
        )
        ledger.check()
        _upload(store, artifact, path, check)
        artifacts.append(artifact)
        tracker.advance(done / (len(outputs) + 1), step=done, total_steps=len(outputs) + 1)
    check()
    return ledger.succeed(result=result, artifacts=artifacts, effect=effect)


def _upload(store: ObjectStore, artifact: NewArtifact, path: Path, check: Callable[[], None]) -> None:
    patiently(lambda: store.put_file(artifact.object_key, path, content_type=artifact.media_type), check)


def _prefix(job: ClaimedJob) -> str:
    if job.kind is JobKind.INSPECT:
        return checkpoint_attempt_prefix(job.project_id, str(job.checkpoint_id), job.attempt)
    return output_attempt_prefix(job.project_id, job.id, job.attempt)


def _meaning(
    job: ClaimedJob, outputs: dict[str, Path], prefix: str, pins: list[dict[str, Any]]
) -> tuple[dict[str, Any], CheckpointAccepted | DatasetReady | None]:
    """The job's result, and what it says about the checkpoint or data set. Raises AttemptFailed."""
    try:
        if job.kind is JobKind.INSPECT:
            inspection = INSPECTION_ADAPTER.validate_json(_read(outputs, INSPECTION_NAME))
            accepted = CheckpointAccepted(
                sha256=inspection.upload_sha256,
                canonical_prefix=prefix,
                weights_sha256=inspection.weights_sha256,
                inspection=INSPECTION_ADAPTER.dump_python(inspection, mode="json"),
            )
            return {}, accepted
        if job.kind is JobKind.VALIDATE:
            summary = DATASET_ADAPTER.validate_json(_read(outputs, DATASET_NAME))
            return {}, DatasetReady(files=pins, summary=DATASET_ADAPTER.dump_python(summary, mode="json"))
        return _judgement(_read(outputs, REPORT_NAME)), None
    except (KeyError, OSError, ValueError, ValidationError) as error:
        raise AttemptFailed(
            "outputs_unusable",
            "The job's process ended, but left no report that can be read.",
            "The job is tried again by itself; ask the operator if it keeps failing.",
            retry_in_s=CRASH_RETRY_S,
        ) from error


def _read(outputs: dict[str, Path], name: str) -> bytes:
    return read_regular(outputs[name], _MAX_JSON_BYTES)


def _judgement(report_json: bytes) -> dict[str, Any]:
    """Verdict and figures of a report, whole, as the API shows them: training and inputs stay in the file."""
    report = load_json(report_json)
    return {
        "verdict": asdict(report.verdict),
        "before": asdict(report.before),
        "after": None if report.after is None else asdict(report.after),
        "ca_lost": None if report.ca_lost is None else asdict(report.ca_lost),
    }
