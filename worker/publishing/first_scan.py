"""The scan that a cleaning begins with, where nobody named a trigger: a scan's child, before the cleaning's.

Its report is checked as a scan job's is. What is audited follows from the checked report and is written into
the job's order, so that the cleaning's child is told its attacks, and can change none of them. The scan's
files wait beside the training states until the cleaning publishes them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from app.db.repositories.attempt_values import ClaimedJob, before_its_scan
from app.domain.object_keys import in_prefix, scanned_prefix
from app.domain.states import JobKind
from app.storage.errors import ObjectNotFound
from app.storage.port import ObjectStore
from cleanclip.kinds.catalogue import KINDS
from cleanclip.vocabulary.errors import OptionsRejected
from cleanclip.vocabulary.found_attacks import audit_with, section_of
from cleanclip.vocabulary.jobspec import NULL_NAME, REPORT_NAME, SCAN_NAMES
from cleanclip.vocabulary.recipe import AuditOptions, parse, to_json
from cleanclip.vocabulary.scan_report import ScanReport
from worker.failures import AttemptFailed
from worker.ledger import Ledger
from worker.publishing.ending import Publication
from worker.publishing.searching import end_search
from worker.staging.transfer import fetch, retry_while_unavailable, upload

_OF_SCAN = ("scan", "audit", "null", "requested_by")
_READ_BY_SCAN = {one.column for one in KINDS[JobKind.SCAN].inputs}
_NAMES: Mapping[str, str] = {**SCAN_NAMES, NULL_NAME: NULL_NAME}
"""Of a scan job's files those that a cleaning publishes, and their names there."""


def scan_of(job: ClaimedJob) -> ClaimedJob | None:
    """The scan that the job begins with, as a job that only scans: of all labelled images, as a null is
    measured. None where it begins with none, or has made it."""
    spec = job.spec
    if spec.get("recipe") is None or spec.get("scan") is None or spec.get("scanned") is not None:
        return None
    return replace(
        job,
        kind=JobKind.SCAN,
        inputs={column: its_id for column, its_id in job.inputs.items() if column in _READ_BY_SCAN},
        spec={name: spec[name] for name in _OF_SCAN if name in spec},
    )


def finish_scan(store: ObjectStore, ledger: Ledger, job: ClaimedJob, work: Publication) -> ClaimedJob:
    """Check what its child left, keep it, and write what was found into the order of `job`; returns it so.

    Raises AttemptFailed, StorageError, OSError, Stopped.
    """
    packing, stated = work.packing, end_search(work).stated
    report = stated and stated.report
    assert isinstance(report, ScanReport), "it was ordered"
    prefix = scanned_prefix(job.project_id, job.id, job.attempt)
    files = []
    for path in packing.files:
        name = _NAMES[path.name]
        ledger.check()
        send = partial(upload, store, in_prefix(prefix, name), path, is_ours=ledger.is_ours)
        retry_while_unavailable(send, work.check)
        files.append({"name": name, "sha256": packing.sha256[path.name]})
    digest = packing.sha256[REPORT_NAME]
    scanned = {"prefix": prefix, "files": files, "audit": job.spec["audit"]}
    spec = {
        **job.spec,
        **_found(job, report, digest, work.known.class_names),
        "scanned": scanned,
    }
    ledger.record_scanned(spec, report.verdict.outcome)
    return replace(job, spec=spec, resume_state=None)


def _found(
    job: ClaimedJob, report: ScanReport, digest: str, class_names: Sequence[str] | None
) -> dict[str, Any]:
    """Of an order what follows from the scan's report."""
    ordered = parse(AuditOptions, job.spec["audit"])
    try:
        audit = audit_with(ordered, ordered.attacks, report, class_names)
    except OptionsRejected as error:
        raise AttemptFailed(error.code, error.message, error.remedy, where=error.where) from error
    section = section_of(
        report,
        report_sha256=digest,
        attacks=audit.attacks,
        num_known=len(ordered.attacks),
        scan_id=job.id,
    )
    return {"audit": to_json(audit), "scan_section": to_json(section)}


def reopened(store: ObjectStore, job: ClaimedJob, check: Callable[[], None]) -> ClaimedJob:
    """The job as it was before its scan where the scan's files are gone, as those of a job that failed are
    after a while; else as it is."""
    scanned = job.spec.get("scanned")
    if scanned is None:
        return job
    try:
        for file in scanned["files"]:
            retry_while_unavailable(partial(store.head, in_prefix(scanned["prefix"], file["name"])), check)
    except ObjectNotFound:
        return replace(job, spec=before_its_scan(job.spec), resume_state=None)
    return job


def scanned_files(
    store: ObjectStore, job: ClaimedJob, folder: Path, check: Callable[[], None]
) -> tuple[Path, ...]:
    """The files of the scan that the job began with, brought into `folder`. Raises AttemptFailed."""
    paths = []
    scanned = job.spec.get("scanned") or {"files": ()}
    for file in scanned["files"]:
        folder.mkdir(mode=0o700, exist_ok=True)
        path = folder / file["name"]
        key = in_prefix(scanned["prefix"], path.name)
        if fetch(store, key, path, check, sha256=file["sha256"]) is None:
            raise AttemptFailed(
                "scan_changed",
                f"The bytes of {path.name} are not those that the job's scan left.",
                "Order the job again.",
            )
        paths.append(path)
    return tuple(paths)
