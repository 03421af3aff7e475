"""Quotas: what operators set for a project, and what it uses now.

`hold` first, where a count decides whether something is created: until the transaction ends, nobody else
counts for the project, so that two requests cannot both take the last place.
"""

from collections.abc import Collection
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, ScalarSelect, Text, TextClause, func, literal_column, select, text
from sqlalchemy.dialects import postgresql

from app.db.models.assets import Checkpoint, Dataset, Upload
from app.db.models.job import HAS_IMAGES, Artifact, Job
from app.db.models.project import Project, ProjectQuota
from app.db.repositories.base import Repository, hold
from app.domain.quotas import QuotaName
from app.domain.states import LEASED, PUBLIC_KINDS, JobKind, JobState, UploadPurpose, UploadState

QUOTA_LOCK = 7_263_004
JOB_ROW_BYTES = 16 * 1024
"""Of a job without images: its row, its events, what was reported of it."""
ROW_BYTES = 4 * 1024
"""Of another row, beside what can be large in it."""
_PROJECT: ColumnElement[str] = literal_column(":project_id", Text)


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

    def standing(
        self, project_id: str, *names: QuotaName
    ) -> tuple[dict[QuotaName, int | None], dict[QuotaName, int]]:
        """The project's own limits, None where no operator set one; and how much of `names` it uses now."""
        row = self._session.execute(_standing(names), {"project_id": project_id}).one()
        limits = dict(zip(QuotaName, row, strict=False))
        return limits, {name: int(used) for name, used in zip(names, row[len(limits) :], strict=True)}


@cache
def _standing(names: tuple[QuotaName, ...]) -> TextClause:
    """As text: SQLAlchemy would look so large a statement up in its cache for longer than it takes to run."""
    columns = [getattr(ProjectQuota, name) for name in QuotaName]
    query = select(*columns, *(_USES[name] for name in names)).select_from(Project).outerjoin(ProjectQuota)
    query = query.where(Project.id == _PROJECT)
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    return text(str(query.compile(dialect=dialect, compile_kwargs={"literal_binds": True})))


def _num_jobs(condition: ColumnElement[bool], kinds: Collection[JobKind]) -> ColumnElement[Any]:
    return _one(func.count(), Job, Job.kind.in_(kinds), condition)


def _one(value: ColumnElement[Any], model: type[Any], *conditions: ColumnElement[bool]) -> ScalarSelect[Any]:
    """Of the project's rows that fulfil the conditions."""
    query = select(value).select_from(model).where(model.project_id == _PROJECT, *conditions)
    return query.scalar_subquery()


def _sum(column: Any, model: type[Any], *conditions: ColumnElement[bool]) -> ScalarSelect[Any]:
    return _one(func.coalesce(func.sum(column), 0), model, *conditions)


def _size(model: type[Any], *columns: Any) -> ScalarSelect[Any]:
    sizes = [func.coalesce(func.pg_column_size(column), 0) for column in columns]
    return _sum(sum(sizes[1:], sizes[0]), model)


_OPEN = Upload.state.in_([UploadState.OPEN, UploadState.COMPLETING])
_USES: dict[QuotaName, ColumnElement[Any]] = {
    # Jobs that wait for a worker, inspections and validations, too.
    QuotaName.WAITING_JOBS: _num_jobs(Job.state == JobState.QUEUED, tuple(JobKind)),
    # Customers' jobs that a worker holds.
    QuotaName.RUNNING_JOBS: _num_jobs(Job.state.in_(LEASED), PUBLIC_KINDS),
    # Uploads that are kept, canonical weights and outputs: everything that counts, in bytes.
    QuotaName.STORED_BYTES: _sum(Artifact.size_bytes, Artifact)
    + _sum(Checkpoint.size_bytes, Checkpoint, Checkpoint.upload_object_key.is_not(None))
    + _sum(
        Upload.size_bytes,
        Upload,
        Upload.purpose == UploadPurpose.DATASET,
        Upload.state == UploadState.COMPLETED,
    ),
    # Declared sizes of uploads that are open.
    QuotaName.BYTES_IN_FLIGHT: _sum(Upload.size_bytes, Upload, _OPEN),
    # Announced, and neither completed, cancelled nor expired, whether they were swept or not.
    QuotaName.OPEN_UPLOADS: _one(func.count(), Upload, _OPEN, Upload.expires_at > func.now()),
    # A job counts `JOB_ROW_BYTES` with its events and messages; one that was ordered with images its order
    # as well, found by an index. Of other rows the sizes as stored, which no value is read for.
    QuotaName.ROW_BYTES: JOB_ROW_BYTES * _one(func.count(), Job)
    + _sum(func.pg_column_size(Job.spec), Job, HAS_IMAGES)
    + ROW_BYTES * _one(func.count(), Dataset)
    + _size(Dataset, Dataset.class_names, Dataset.templates, Dataset.files, Dataset.summary)
    + ROW_BYTES * _one(func.count(), Checkpoint)
    + _size(Checkpoint, Checkpoint.inspection)
    + ROW_BYTES * _one(func.count(), Upload),
}
"""What a project uses of each quota; the request rate is the broker's to tell."""
