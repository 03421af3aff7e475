"""Deletion: marks a thing as deleted and asks the sweeper to take everything of it away, with a receipt.

From the commit on nobody finds the thing. Its objects and rows go with one of the next sweeps, up to a
quarter of an hour later where a worker was lost on it, and the deletion's row then says what they were. What
cannot go yet is refused: unfinished jobs, and what they read.
"""

from datetime import UTC, datetime

from app.db.models.assets import Deletion
from app.db.unit_of_work import UnitOfWork
from app.domain.deletions import DeletionReason, DeletionSubject
from app.domain.errors import Conflict
from app.domain.states import UploadPurpose, UploadState
from app.services import checkpoints, datasets, jobs
from app.services.api_keys import Caller
from app.services.artifacts import check_finished
from app.services.trail import note


def delete_job(unit: UnitOfWork, caller: Caller, job_id: str) -> Deletion:
    """Raises NotFound; Conflict (`job_not_finished`) unless the job has ended."""
    jobs.get(unit, caller.project_id, job_id)
    job = unit.jobs.get(caller.project_id, job_id, for_update=True)
    check_finished(
        job,
        "only a finished job can be deleted",
        remedy="Cancel it first, and wait until it is cancelled.",
        retry_after_s=None,
    )
    job.deleted_at = datetime.now(UTC)
    note(unit, caller, "job.delete", job_id)
    return _ask(unit, caller, DeletionSubject.JOB, job_id)


def delete_checkpoint(unit: UnitOfWork, caller: Caller, checkpoint_id: str) -> Deletion:
    """Raises NotFound; Conflict (`checkpoint_in_use`)."""
    checkpoints.delete(unit, caller, checkpoint_id)
    return _ask(unit, caller, DeletionSubject.CHECKPOINT, checkpoint_id)


def delete_dataset(unit: UnitOfWork, caller: Caller, dataset_id: str) -> Deletion:
    """Raises NotFound; Conflict (`dataset_in_use`)."""
    datasets.delete(unit, caller, dataset_id)
    return _ask(unit, caller, DeletionSubject.DATASET, dataset_id)


def delete_upload(unit: UnitOfWork, caller: Caller, upload_id: str) -> Deletion:
    """An open one is cancelled by it. Raises NotFound; Conflict (`upload_in_use`) once it became a thing."""
    upload = unit.uploads.get(caller.project_id, upload_id, for_update=True)
    if upload.purpose is UploadPurpose.CHECKPOINT and upload.state is UploadState.COMPLETED:
        raise Conflict(
            "upload_in_use", "The upload became a checkpoint.", f"Delete {upload.checkpoint_id} instead."
        )
    if used_by := unit.datasets.using_upload(caller.project_id, upload_id):
        raise Conflict(
            "upload_in_use", f"The dataset {used_by[0]} is made of it.", "Delete the dataset instead."
        )
    if upload.state in {UploadState.OPEN, UploadState.COMPLETING}:
        upload.state = UploadState.CANCELLED
    upload.deleted_at = datetime.now(UTC)
    note(unit, caller, "upload.delete", upload_id)
    return _ask(unit, caller, DeletionSubject.UPLOAD, upload_id)


def _ask(unit: UnitOfWork, caller: Caller, subject: DeletionSubject, subject_id: str) -> Deletion:
    return unit.deletions.ask(
        caller.project_id,
        subject,
        subject_id,
        reason=DeletionReason.REQUESTED,
        key_id=caller.key_id,
        request_id=caller.request_id,
    )
