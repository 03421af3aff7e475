"""Quotas: what operators set for a project, and what it uses now.

`hold` first, where a count decides whether something is created: until the transaction ends, nobody else
counts for the project, so that two requests cannot both take the last place.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select

from app.db.models.artifact import Artifact
from app.db.models.checkpoint import Checkpoint
from app.db.models.dataset import Dataset
from app.db.models.job import HAS_IMAGES, Job
from app.db.models.project_quota import ProjectQuota
from app.db.models.upload import Upload
from app.db.repositories.advisory_locks import hold
from app.db.repositories.base import Repository
from app.domain.states import LEASED, PUBLIC_KINDS, JobKind, JobState, UploadPurpose, UploadState

QUOTA_LOCK = 7_263_004
JOB_ROW_BYTES = 16 * 1024
"""Of a job without images: its row, its events, what was told of it."""
ROW_BYTES = 4 * 1024
"""Of another row, beside what can be large in it."""


class QuotaRepository(Repository):
    def of(self, project_id: str) -> ProjectQuota | None:
        """The project's own limits, if an operator set any."""
        return self._session.get(ProjectQuota, project_id)

    def set(self, row: ProjectQuota) -> ProjectQuota:
        """Replace the project's own limits; None in it: the default."""
        merged = self._session.merge(row)
        self._session.flush()
        return merged

    def hold(self, project_id: str) -> None:
        """Until the end of the transaction nobody else creates what counts for the project."""
        hold(self._session, QUOTA_LOCK, project_id)

    def num_waiting(self, project_id: str) -> int:
        """Jobs that wait for a worker, inspections and validations, too."""
        return self._count(Job.state == JobState.QUEUED, project_id, kinds=tuple(JobKind))

    def num_running(self, project_id: str) -> int:
        """Customers' jobs that a worker holds."""
        return self._count(Job.state.in_(LEASED), project_id, kinds=PUBLIC_KINDS)

    def _count(self, condition: ColumnElement[bool], project_id: str, *, kinds: Collection[JobKind]) -> int:
        query = (
            select(func.count())
            .select_from(Job)
            .where(Job.kind.in_(kinds), Job.project_id == project_id, condition)
        )
        return int(self._session.scalar(query) or 0)

    def stored_bytes(self, project_id: str) -> int:
        """Uploads that are kept, canonical weights and outputs: everything that counts, in bytes."""
        artifacts = select(func.coalesce(func.sum(Artifact.size_bytes), 0)).where(
            Artifact.project_id == project_id
        )
        checkpoints = select(func.coalesce(func.sum(Checkpoint.size_bytes), 0)).where(
            Checkpoint.project_id == project_id, Checkpoint.upload_object_key.is_not(None)
        )
        shards = select(func.coalesce(func.sum(Upload.size_bytes), 0)).where(
            Upload.project_id == project_id,
            Upload.purpose == UploadPurpose.DATASET,
            Upload.state == UploadState.COMPLETED,
        )
        return sum(int(self._session.scalar(query) or 0) for query in (artifacts, checkpoints, shards))

    def bytes_in_flight(self, project_id: str) -> int:
        """Declared sizes of uploads that are open."""
        query = select(func.coalesce(func.sum(Upload.size_bytes), 0)).where(
            Upload.project_id == project_id, Upload.state.in_([UploadState.OPEN, UploadState.COMPLETING])
        )
        return int(self._session.scalar(query) or 0)

    def num_open_uploads(self, project_id: str) -> int:
        """Announced, and neither completed, cancelled nor expired, whether they were swept or not."""
        query = select(func.count()).where(
            Upload.project_id == project_id,
            Upload.state.in_([UploadState.OPEN, UploadState.COMPLETING]),
            Upload.expires_at > func.now(),
        )
        return int(self._session.scalar(query) or 0)

    def row_bytes(self, project_id: str) -> int:
        """What the project's rows take in the database.

        A job counts `JOB_ROW_BYTES` with its events and messages; one that was ordered with images its order
        as well, found by an index. Of other rows the sizes as stored, which no value is read for.
        """
        large_jobs = select(func.coalesce(func.sum(func.pg_column_size(Job.spec)), 0)).where(
            Job.project_id == project_id, HAS_IMAGES
        )
        jobs, datasets, checkpoints, uploads = (
            select(func.count()).select_from(model).where(model.project_id == project_id)
            for model in (Job, Dataset, Checkpoint, Upload)
        )
        of_datasets = _size(Dataset, Dataset.class_names, Dataset.templates, Dataset.files, Dataset.summary)
        of_checkpoints = _size(Checkpoint, Checkpoint.inspection)
        num_jobs, *num_others = (
            int(self._session.scalar(query) or 0) for query in (jobs, datasets, checkpoints, uploads)
        )
        sizes = (
            int(self._session.scalar(query.where(model.project_id == project_id)) or 0)
            for model, query in ((Dataset, of_datasets), (Checkpoint, of_checkpoints))
        )
        large = int(self._session.scalar(large_jobs) or 0)
        return JOB_ROW_BYTES * num_jobs + ROW_BYTES * sum(num_others) + sum(sizes) + large


def _size(model: type[Any], *columns: Any) -> Select[tuple[int]]:
    sizes = [func.coalesce(func.pg_column_size(column), 0) for column in columns]
    return select(func.coalesce(func.sum(sum(sizes[1:], sizes[0])), 0)).select_from(model)
