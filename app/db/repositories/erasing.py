"""The erasure of the rows of a thing whose objects are gone.

A row that others refer to (a checkpoint that a job of another day was about) stays as an empty shell until
the last of those goes. Deletions and the trail stay.

What lies where of a thing that is to be deleted, and whether it can go yet.

Writes one thing: shards that go with their last dataset can become no other from the plan on.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, delete, func, or_, select

from app.db.models.assets import Checkpoint, Dataset, Deletion, Upload, WeightsVerdict
from app.db.models.job import Artifact, Job, JobEvent, OutboxMessage, QueueTurn
from app.db.models.project import IdempotencyKey, Policy, WebSession
from app.db.models.webhook import Webhook, WebhookDelivery
from app.db.repositories.base import Repository
from app.db.repositories.job_changes import record, seconds
from app.domain import object_keys
from app.domain.deletions import DeletionPlan, DeletionSubject
from app.domain.states import TERMINAL

KEYS_CACHED_S = 60.0
WORKER_LOST = "worker_lost"
Row = TypeVar("Row", Job, Checkpoint, Dataset, Upload)


class PlanRepository(Repository):
    """`ErasureRepository` adds the rest. Every statement names the deletion's project."""

    def plan(self, deletion: Deletion, *, grace_s: float) -> DeletionPlan | None:
        """Where its objects lie; None: not yet, a worker may still be writing there.

        A worker that lost its lease is given `grace_s` from then on to notice.
        """
        jobs = self._jobs_about(deletion, grace_s)
        if any(job.state not in TERMINAL for job in jobs) or self._is_somebody_late(jobs, grace_s):
            return None
        if deletion.subject is DeletionSubject.PROJECT and self._is_fresh(deletion, grace_s):
            return None
        plans: dict[DeletionSubject, Callable[[Deletion], DeletionPlan]] = {
            DeletionSubject.CHECKPOINT: self._plan_checkpoint,
            DeletionSubject.DATASET: self._plan_dataset,
            DeletionSubject.UPLOAD: self._plan_upload,
            DeletionSubject.PROJECT: self._plan_project,
        }
        return plans.get(deletion.subject, self._plan_job)(deletion)

    # -- jobs that stand in the way

    def _jobs_about(self, deletion: Deletion, grace_s: float) -> list[Job]:
        subject_id = deletion.subject_id
        conditions: dict[DeletionSubject, ColumnElement[bool]] = {
            DeletionSubject.CHECKPOINT: Job.reads_checkpoint(subject_id),
            DeletionSubject.DATASET: Job.reads_dataset(subject_id),
            DeletionSubject.UPLOAD: Job.id.is_(None),
            DeletionSubject.PROJECT: Job.id.is_not(None),
        }
        query = select(Job).where(
            Job.project_id == deletion.project_id, conditions.get(deletion.subject, Job.id == subject_id)
        )
        if deletion.subject is DeletionSubject.PROJECT:
            ended = func.clock_timestamp() - seconds(grace_s)
            query = query.where(or_(Job.state.not_in(TERMINAL), Job.finished_at > ended))
        return list(self._session.scalars(query).all())

    def _is_somebody_late(self, jobs: list[Job], grace_s: float) -> bool:
        """Whether a lease on any of them was lost lately: whoever let go by itself has written its last."""
        lost = or_(JobEvent.data.has_key("lease_owner"), JobEvent.data["error"]["code"].astext == WORKER_LOST)
        query = select(JobEvent.seq).where(
            JobEvent.job_id.in_([job.id for job in jobs]),
            JobEvent.created_at > func.clock_timestamp() - seconds(grace_s),
            lost,
        )
        return bool(jobs) and self._session.scalars(query.limit(1)).first() is not None

    def _is_fresh(self, deletion: Deletion, grace_s: float) -> bool:
        """Processes of the API believe a key for a few seconds more; what it still makes must go too."""
        patience = seconds(min(grace_s, KEYS_CACHED_S))
        query = select(Deletion.requested_at > func.clock_timestamp() - patience)
        return bool(self._session.scalar(query.where(Deletion.id == deletion.id)))

    # -- where things lie

    def _plan_job(self, deletion: Deletion) -> DeletionPlan:
        return DeletionPlan(
            places=_places_of_job(deletion.project_id, deletion.subject_id),
            digests=self._digests(deletion.project_id, Artifact.job_id == deletion.subject_id),
        )

    def _plan_checkpoint(self, deletion: Deletion) -> DeletionPlan:
        row = self._find(Checkpoint, deletion.project_id, deletion.subject_id)
        if row is None:
            return DeletionPlan(places=(), digests=())
        upload = object_keys.upload_key(row.project_id, row.upload_id)
        inspection = (
            _places_of_job(row.project_id, row.inspect_job_id) if row.inspect_job_id is not None else ()
        )
        came_in = [{"name": row.filename, "sha256": row.sha256, "size_bytes": row.size_bytes}]
        produced = self._digests(row.project_id, Artifact.job_id == row.inspect_job_id)
        return DeletionPlan(
            places=(object_keys.checkpoint_prefix(row.project_id, row.id), upload, *inspection),
            digests=(*(came_in if row.sha256 else []), *produced),
        )

    def _plan_dataset(self, deletion: Deletion) -> DeletionPlan:
        row = self._find(Dataset, deletion.project_id, deletion.subject_id)
        if row is None:
            return DeletionPlan(places=(), digests=())
        places = [object_keys.dataset_prefix(row.project_id, row.id)]
        if row.validate_job_id is not None:
            places.extend(_places_of_job(row.project_id, row.validate_job_id))
        digests = list(self._digests(row.project_id, Artifact.job_id == row.validate_job_id))
        if row.upload_id is not None and self._takes_its_upload_along(row):
            places.append(object_keys.upload_key(row.project_id, row.upload_id))
            digests += [
                {name: file.get(name) for name in ("name", "sha256", "size_bytes")}
                for file in row.files or []
            ]
        return DeletionPlan(places=tuple(places), digests=tuple(digests))

    def _takes_its_upload_along(self, row: Dataset) -> bool:
        """Whether no other dataset uses it; it is then marked, under the lock that making one takes."""
        query = select(Upload).where(Upload.project_id == row.project_id, Upload.id == row.upload_id)
        upload = self._session.scalars(query.with_for_update()).one_or_none()
        if not self._is_only_user(row):  # asked after the lock was had
            return False
        if upload is not None and upload.deleted_at is None:
            upload.deleted_at = func.now()
        return True

    def _is_only_user(self, row: Dataset) -> bool:
        others = select(Dataset.id).where(
            Dataset.project_id == row.project_id,
            Dataset.upload_id == row.upload_id,
            Dataset.id != row.id,
            Dataset.deleted_at.is_(None),
        )
        return self._session.scalars(others.limit(1)).first() is None

    def _plan_upload(self, deletion: Deletion) -> DeletionPlan:
        row = self._find(Upload, deletion.project_id, deletion.subject_id)
        places = () if row is None else (object_keys.upload_key(row.project_id, row.id),)
        return DeletionPlan(places=places, digests=())

    def _plan_project(self, deletion: Deletion) -> DeletionPlan:
        if deletion.subject_id != deletion.project_id:
            return DeletionPlan(places=(), digests=())
        return DeletionPlan(
            places=object_keys.project_prefixes(deletion.project_id),
            digests=self._digests(deletion.project_id),
        )

    def _digests(self, project_id: str, *conditions: ColumnElement[bool]) -> tuple[dict[str, Any], ...]:
        query = select(Artifact).where(Artifact.project_id == project_id, *conditions)
        rows = self._session.scalars(query.order_by(Artifact.id))
        return tuple({"name": row.name, "sha256": row.sha256, "size_bytes": row.size_bytes} for row in rows)

    def _find(self, table: type[Row], project_id: str, id: str) -> Row | None:  # noqa: A002
        query = select(table).where(table.project_id == project_id, table.id == id)
        return self._session.scalars(query).one_or_none()


def _places_of_job(project_id: str, job_id: str) -> tuple[str, ...]:
    return object_keys.outputs_prefix(project_id, job_id), object_keys.states_prefix(project_id, job_id)


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
        row.filename, row.declared, row.source, row.inspection, row.error = "", {}, None, None, None
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
        """What was reported of it to webhooks, or was to be."""
        self._delete(WebhookDelivery, project_id, WebhookDelivery.subject_id == subject_id)

    def _forget_answers(self, project_id: str, shown_id: str) -> None:
        self._delete(IdempotencyKey, project_id, IdempotencyKey.response_body["id"].astext == shown_id)

    def _delete(self, table: type[Any], project_id: str, *conditions: ColumnElement[bool]) -> None:
        """Every statement names the project: a deletion that names another's thing finds nothing."""
        statement = delete(table).where(table.project_id == project_id, *conditions)
        self._session.execute(statement.execution_options(synchronize_session=False))
