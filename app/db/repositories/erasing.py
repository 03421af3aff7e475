"""The erasure of the rows of a thing whose objects are gone.

A row that others refer to (a checkpoint that a job of another day was about) stays as an empty shell until
the last of those goes. Deletions and the trail stay.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select

from app.db.models.artifact import Artifact
from app.db.models.checkpoint import Checkpoint
from app.db.models.dataset import Dataset
from app.db.models.deletion import Deletion
from app.db.models.idempotency_key import IdempotencyKey
from app.db.models.job import Job
from app.db.models.job_event import JobEvent
from app.db.models.outbox_message import OutboxMessage
from app.db.models.policy import Policy
from app.db.models.queue_turn import QueueTurn
from app.db.models.upload import Upload
from app.db.models.verdict import WeightsVerdict
from app.db.models.web_session import WebSession
from app.db.models.webhook import Webhook
from app.db.models.webhook_delivery import WebhookDelivery
from app.db.repositories.deletion_plans import PlanRepository
from app.db.repositories.job_changes import record
from app.domain.deletions import DeletionSubject

_OF_PROJECT = (
    WeightsVerdict,
    Artifact,
    JobEvent,
    Job,
    Checkpoint,
    Dataset,
    Upload,
    OutboxMessage,
    IdempotencyKey,
    QueueTurn,
    Policy,
    WebhookDelivery,
    Webhook,
    WebSession,
)
"""In the order in which foreign keys let them go."""


class ErasureRepository(PlanRepository):
    """The worker's role only. `plan` before anything goes, `erase` once the object store is empty."""

    def erase(self, deletion: Deletion) -> None:
        """Its rows, and answers kept for repeated requests that show it. Only what is its own project's."""
        project_id = deletion.project_id
        erasers: dict[DeletionSubject, Callable[[Deletion], None]] = {
            DeletionSubject.JOB: lambda deletion: self._erase_job(project_id, deletion.subject_id),
            DeletionSubject.JOB_OUTPUTS: self._erase_outputs,
            DeletionSubject.CHECKPOINT: self._erase_checkpoint,
            DeletionSubject.DATASET: self._erase_dataset,
            DeletionSubject.UPLOAD: lambda deletion: self._erase_upload(project_id, deletion.subject_id),
            DeletionSubject.PROJECT: self._erase_project,
        }
        erasers[deletion.subject](deletion)
        self._session.flush()

    # -- rows

    def _erase_job(self, project_id: str, job_id: str) -> None:
        job = self._find(Job, project_id, job_id)
        self._delete(OutboxMessage, project_id, OutboxMessage.payload["job_id"].astext == job_id)
        self._delete(Artifact, project_id, Artifact.job_id == job_id)
        self._delete(JobEvent, project_id, JobEvent.job_id == job_id)
        self._delete(WeightsVerdict, project_id, WeightsVerdict.job_id == job_id)
        self._forget_messages(project_id, job_id)
        self._forget_answers(project_id, job_id)
        self._delete(Job, project_id, Job.id == job_id)
        if job is not None:
            self._remove_shells(job)

    def _remove_shells(self, job: Job) -> None:
        """What was deleted before the job, and stayed as an empty row because the job referred to it."""
        for checkpoint_id in job.checkpoint_ids:
            checkpoint = self._find(Checkpoint, job.project_id, checkpoint_id)
            if checkpoint and self._is_erased(DeletionSubject.CHECKPOINT, checkpoint):
                self._remove_checkpoint(checkpoint)
        for dataset_id in job.dataset_ids:
            dataset = self._find(Dataset, job.project_id, dataset_id)
            if dataset and self._is_erased(DeletionSubject.DATASET, dataset):
                self._remove_dataset(dataset)

    def _is_erased(self, subject: DeletionSubject, row: Checkpoint | Dataset) -> bool:
        query = select(Deletion.id).where(
            Deletion.project_id == row.project_id,
            Deletion.subject == subject,
            Deletion.subject_id == row.id,
            Deletion.finished_at.is_not(None),
        )
        return self._session.scalars(query.limit(1)).first() is not None

    def _remove_checkpoint(self, row: Checkpoint) -> None:
        """With its upload, unless a job refers to it."""
        project_id, upload_id = row.project_id, row.upload_id
        users = select(Job.id).where(Job.project_id == project_id, Job.reads_checkpoint(row.id))
        if self._session.scalars(users.limit(1)).first() is None:
            self._delete(Checkpoint, project_id, Checkpoint.id == row.id)
        self._erase_upload(project_id, upload_id)

    def _remove_dataset(self, row: Dataset) -> None:
        """Unless a job refers to it."""
        users = select(Job.id).where(Job.project_id == row.project_id, Job.reads_dataset(row.id))
        if self._session.scalars(users.limit(1)).first() is None:
            self._delete(Dataset, row.project_id, Dataset.id == row.id)

    def _erase_outputs(self, deletion: Deletion) -> None:
        self._delete(Artifact, deletion.project_id, Artifact.job_id == deletion.subject_id)
        query = select(Job).where(Job.project_id == deletion.project_id, Job.id == deletion.subject_id)
        query = query.with_for_update()
        job = self._session.scalars(query.execution_options(populate_existing=True)).one_or_none()
        if job is None:
            return
        result = None if job.result is None else job.result | {"artifact_ids": []}
        record(
            self._session,
            job,
            "outputs_deleted",
            {"deletion_id": deletion.id},
            result=result,
            resume_state=None,
        )

    def _erase_checkpoint(self, deletion: Deletion) -> None:
        row = self._find(Checkpoint, deletion.project_id, deletion.subject_id)
        if row is None:
            return
        if row.inspect_job_id is not None:
            self._erase_job(row.project_id, row.inspect_job_id)
        self._forget_messages(row.project_id, row.id)
        self._forget_answers(row.project_id, row.id)
        row.filename, row.declared, row.inspection, row.error = "", {}, None, None
        row.sha256 = row.weights_sha256 = row.upload_object_key = row.canonical_prefix = None
        row.inspect_job_id = None
        self._session.flush()
        self._remove_checkpoint(row)

    def _erase_dataset(self, deletion: Deletion) -> None:
        row = self._find(Dataset, deletion.project_id, deletion.subject_id)
        if row is None:
            return
        upload_id = row.upload_id if self._is_only_user(row) else None
        if row.validate_job_id is not None:
            self._erase_job(row.project_id, row.validate_job_id)
        self._forget_messages(row.project_id, row.id)
        self._forget_answers(row.project_id, row.id)
        row.uri = row.class_names = row.templates = row.files = row.summary = row.error = None
        row.validate_job_id = row.upload_id = None
        self._session.flush()
        self._remove_dataset(row)
        if upload_id is not None:
            self._erase_upload(deletion.project_id, upload_id)

    def _erase_upload(self, project_id: str, upload_id: str) -> None:
        row = self._find(Upload, project_id, upload_id)
        if row is None:
            return
        self._forget_answers(project_id, upload_id)
        row.filename, row.declared, row.declared_sha256, row.store_upload_id = "", {}, None, None
        row.deleted_at = row.deleted_at or func.now()
        self._session.flush()
        checkpoints = select(Checkpoint.id).where(Checkpoint.upload_id == upload_id).limit(1)
        datasets = select(Dataset.id).where(Dataset.upload_id == upload_id).limit(1)
        if all(self._session.scalars(users).first() is None for users in (checkpoints, datasets)):
            self._delete(Upload, project_id, Upload.id == upload_id)

    def _erase_project(self, deletion: Deletion) -> None:
        if deletion.subject_id == deletion.project_id:
            for table in _OF_PROJECT:
                self._delete(table, deletion.project_id)

    def _forget_messages(self, project_id: str, subject_id: str) -> None:
        """What webhooks were told of it, or were to be told."""
        self._delete(WebhookDelivery, project_id, WebhookDelivery.subject_id == subject_id)

    def _forget_answers(self, project_id: str, shown_id: str) -> None:
        self._delete(IdempotencyKey, project_id, IdempotencyKey.response_body["id"].astext == shown_id)

    def _delete(self, table: type[Any], project_id: str, *conditions: ColumnElement[bool]) -> None:
        """Every statement names the project: a deletion that names another's thing finds nothing."""
        statement = delete(table).where(table.project_id == project_id, *conditions)
        self._session.execute(statement.execution_options(synchronize_session=False))
