"""What lies where of a thing that is to be deleted, and whether it can go yet.

Writes one thing: shards that go with their last dataset can become no other from the plan on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, func, or_, select

from app.db.models.artifact import Artifact
from app.db.models.checkpoint import Checkpoint
from app.db.models.dataset import Dataset
from app.db.models.deletion import Deletion
from app.db.models.job import Job
from app.db.models.job_event import JobEvent
from app.db.models.upload import Upload
from app.db.repositories.base import Repository
from app.db.repositories.job_changes import seconds
from app.domain.deletions import DeletionPlan, DeletionSubject
from app.domain.object_keys import (
    checkpoint_prefix,
    dataset_prefix,
    outputs_prefix,
    project_prefixes,
    states_prefix,
    upload_key,
)
from app.domain.states import TERMINAL

KEYS_BELIEVED_S = 60.0
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
        lost = or_(
            JobEvent.data.has_key("lease_owner"),
            JobEvent.data["error"]["code"].astext == WORKER_LOST,
        )
        query = select(JobEvent.seq).where(
            JobEvent.job_id.in_([job.id for job in jobs]),
            JobEvent.created_at > func.clock_timestamp() - seconds(grace_s),
            lost,
        )
        return bool(jobs) and self._session.scalars(query.limit(1)).first() is not None

    def _is_fresh(self, deletion: Deletion, grace_s: float) -> bool:
        """Processes of the API believe a key for a few seconds more; what it still makes must go too."""
        patience = seconds(min(grace_s, KEYS_BELIEVED_S))
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
        upload = upload_key(row.project_id, row.upload_id)
        inspection = (
            _places_of_job(row.project_id, row.inspect_job_id) if row.inspect_job_id is not None else ()
        )
        came_in = [{"name": row.filename, "sha256": row.sha256, "size_bytes": row.size_bytes}]
        produced = self._digests(row.project_id, Artifact.job_id == row.inspect_job_id)
        return DeletionPlan(
            places=(checkpoint_prefix(row.project_id, row.id), upload, *inspection),
            digests=(*(came_in if row.sha256 else []), *produced),
        )

    def _plan_dataset(self, deletion: Deletion) -> DeletionPlan:
        row = self._find(Dataset, deletion.project_id, deletion.subject_id)
        if row is None:
            return DeletionPlan(places=(), digests=())
        places = [dataset_prefix(row.project_id, row.id)]
        if row.validate_job_id is not None:
            places.extend(_places_of_job(row.project_id, row.validate_job_id))
        digests = list(self._digests(row.project_id, Artifact.job_id == row.validate_job_id))
        if row.upload_id is not None and self._takes_its_upload_along(row):
            places.append(upload_key(row.project_id, row.upload_id))
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
        places = () if row is None else (upload_key(row.project_id, row.id),)
        return DeletionPlan(places=places, digests=())

    def _plan_project(self, deletion: Deletion) -> DeletionPlan:
        if deletion.subject_id != deletion.project_id:
            return DeletionPlan(places=(), digests=())
        return DeletionPlan(
            places=project_prefixes(deletion.project_id), digests=self._digests(deletion.project_id)
        )

    def _digests(self, project_id: str, *conditions: ColumnElement[bool]) -> tuple[dict[str, Any], ...]:
        query = select(Artifact).where(Artifact.project_id == project_id, *conditions)
        rows = self._session.scalars(query.order_by(Artifact.id))
        return tuple({"name": row.name, "sha256": row.sha256, "size_bytes": row.size_bytes} for row in rows)

    def _find(self, table: type[Row], project_id: str, id: str) -> Row | None:  # noqa: A002
        query = select(table).where(table.project_id == project_id, table.id == id)
        return self._session.scalars(query).one_or_none()


def _places_of_job(project_id: str, job_id: str) -> tuple[str, ...]:
    return outputs_prefix(project_id, job_id), states_prefix(project_id, job_id)
