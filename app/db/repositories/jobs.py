"""Jobs, as requests see them: enqueue, read, and ask for cancel, pause, resume, retry."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, func, not_, select, tuple_, type_coerce
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import load_only

from app.db.models.assets import Checkpoint
from app.db.models.job import DATASET_COLUMNS, HAS_IMAGES, LOSS_CURVE, Job
from app.db.repositories.job_changes import (
    NO_PROGRESS,
    announce,
    cancel,
    event_of,
    hint_of,
    initial_progress,
    leave_undecided,
    move,
    pending_phases,
    record,
)
from app.db.repositories.owned import DeletableRepository
from app.db.repositories.pages import Cuts, row_of, values_of
from app.domain.errors import Conflict, NotFound
from app.domain.limits import DEFAULT_MAX_ATTEMPTS
from app.domain.states import ACTIVE, PUBLIC_KINDS, TERMINAL, JobKind, JobState

CUTS: Cuts = {
    "progress": type_coerce(Job.progress.op("-")(LOSS_CURVE), JSONB),
    "error": type_coerce(Job.error.op("-")("log_tail"), JSONB),
    **dict.fromkeys(
        (
            "resume_state",
            "project_id",
            "attempts_used",
            "attempts_lost",
            "lease_owner",
            "lease_expires_at",
            "not_before",
            "cancel_requested_at",
            "hinted_at",
            "event_seq",
            "swept_at",
            "deleted_at",
        )
    ),
}
"""Lists show no curve, no saved state, no log, and nothing of how the queue works."""
_WITHOUT_BOUND = 2**62
"""The page that named the ids is bounded."""
_IS_THERE = Job.deleted_at.is_(None)


def _are_customers(project_id: str, ids: Collection[str]) -> tuple[ColumnElement[bool], ...]:
    return (
        Job.id.in_(ids),
        Job.project_id == project_id,
        Job.kind.in_(PUBLIC_KINDS),
        Job.deleted_at.is_(None),
    )


class JobRepository(DeletableRepository[Job]):
    model = Job
    noun = "job"
    once_deleted = "Its deletion says what went with it."
    cuts = CUTS

    def enqueue(self, job: Job) -> Job:
        """Insert the job as queued, its `created` event and its outbox row, in this transaction.

        The caller sets id, project_id, kind, what it is about, spec, seed and metadata; the rest is set here.
        """
        job.state = JobState.QUEUED
        job.phases = pending_phases(job.kind, job.spec)
        job.progress = dict(NO_PROGRESS)
        job.attempt = job.attempts_used = job.attempts_lost = 0
        job.version = job.event_seq = 1
        job.max_attempts = job.max_attempts or DEFAULT_MAX_ATTEMPTS
        job.hinted_at = func.clock_timestamp()
        self.add(job)
        created = {"state": JobState.QUEUED.value, "kind": job.kind.value}
        self._session.add_all([event_of(job, "created", created), hint_of(job)])
        return job

    def find(self, id: str) -> Job:  # noqa: A002
        """Whosever it is, for operators. Raises NotFound, also for a deleted one."""
        job = self._session.scalars(select(Job).where(Job.id == id, Job.deleted_at.is_(None))).one_or_none()
        if job is None:
            raise NotFound("job_not_found", f"There is no job {id[:64]!r}.", "Check the id.")
        return job

    def page(
        self,
        project_id: str,
        after: str | None,
        limit: int,
        *,
        state: JobState | None = None,
        kind: JobKind | None = None,
        kinds: Collection[JobKind] = PUBLIC_KINDS,
    ) -> tuple[Mapping[str, int], bool]:
        """The versions of a page of jobs by their ids, newest first, customers' kinds only unless told.

        `after` is the id of the last one before. `listed` has the rows themselves.
        """
        conditions: list[ColumnElement[bool]] = [
            Job.project_id == project_id,
            Job.kind.in_(kinds if kind is None else [kind]),
            _IS_THERE,
        ]
        if state is not None:
            conditions.append(Job.state == state)
        if after is not None:
            conditions.append(Job.id < after)
        found, has_more = values_of(self._session, Job, conditions, limit, cuts=CUTS, only=("id", "version"))
        return {values["id"]: values["version"] for values in found}, has_more

    def listed(self, project_id: str, ids: Collection[str]) -> Sequence[Job]:
        """The rows as lists show them, of no session; what there is not is left out."""
        conditions = (Job.project_id == project_id, Job.id.in_(ids), _IS_THERE)
        found, _ = values_of(self._session, Job, conditions, len(ids), cuts=CUTS, most_bytes=_WITHOUT_BOUND)
        return [row_of(Job, values) for values in found]

    def versions(self, project_id: str, ids: Collection[str]) -> dict[str, int]:
        """The versions of customers' jobs by id, without reading the rows; what there is not is left out."""
        query = select(Job.id, Job.version).where(*_are_customers(project_id, ids))
        return {id: version for id, version in self._session.execute(query)}  # noqa: A001, C416 - rows, not pairs

    def several(self, project_id: str, ids: Collection[str]) -> dict[str, Job]:
        """Customers' jobs by id; what there is not is left out."""
        query = select(Job).where(*_are_customers(project_id, ids))
        return {job.id: job for job in self._session.scalars(query)}

    def first_attempts(
        self, project_id: str, architecture: dict[str, Any], limit: int, *, among: int = 1_000
    ) -> Sequence[tuple[Job, int]]:
        """The newest customers' jobs that were taken up once, on checkpoints of this very architecture, and
        the bytes of these. Without results, and without jobs whose orders hold images: they are long.

        Only the newest `among` jobs of the project are looked at: of another architecture there may be any
        number.
        """
        newest = (
            select(Job.id).where(Job.project_id == project_id).order_by(Job.id.desc()).limit(among).subquery()
        )
        query = (
            select(Job, Checkpoint.size_bytes)
            .join(newest, newest.c.id == Job.id)
            .join(Checkpoint, Checkpoint.id == Job.checkpoint_id)
            .where(
                Job.kind.in_(PUBLIC_KINDS),
                Job.attempt == 1,
                Job.deleted_at.is_(None),
                not_(HAS_IMAGES),
                Checkpoint.inspection["architecture"] == architecture,
            )
            .order_by(Job.id.desc())
            .limit(limit)
            .options(
                load_only(
                    Job.spec,
                    Job.phases,
                    Job.anchor_checkpoint_id,
                    *(getattr(Job, column) for column in DATASET_COLUMNS),
                )
            )
        )
        return [(job, size_bytes) for job, size_bytes in self._session.execute(query)]

    def num_waiting_before(self, job: Job) -> int:
        """Customers' jobs of the project that wait and were ordered earlier: workers take them first."""
        query = select(func.count()).where(
            Job.project_id == job.project_id,
            Job.kind.in_(PUBLIC_KINDS),
            Job.state == JobState.QUEUED,
            Job.deleted_at.is_(None),
            tuple_(Job.created_at, Job.id) < tuple_(job.created_at, job.id),
        )
        return self._session.scalars(query).one()

    def num_by_state(self) -> dict[tuple[str, str], int]:
        """(kind, state) → number of jobs over all projects, whoever asks: for operators' metrics."""
        counts = func.cleanclip_job_counts().table_valued("kind", "state", "num")
        return {(row.kind, row.state): row.num for row in self._session.execute(select(counts))}

    def active_using_checkpoint(self, checkpoint_id: str) -> Sequence[str]:
        """Ids of unfinished jobs that read the checkpoint."""
        query = select(Job.id).where(Job.reads_checkpoint(checkpoint_id), Job.state.in_(ACTIVE))
        return self._session.scalars(query).all()

    def about_checkpoint(self, project_id: str, checkpoint_id: str, limit: int) -> tuple[Sequence[Job], bool]:
        """Customers' jobs that read the checkpoint, newest first, and whether there are more."""
        return self._page(
            project_id,
            None,
            limit,
            Job.reads_checkpoint(checkpoint_id),
            Job.kind.in_(PUBLIC_KINDS),
            Job.deleted_at.is_(None),
        )

    def active_using_dataset(self, dataset_id: str) -> Sequence[str]:
        """Ids of unfinished jobs that read the dataset."""
        query = select(Job.id).where(Job.reads_dataset(dataset_id), Job.state.in_(ACTIVE))
        return self._session.scalars(query).all()

    def using_dataset(self, project_id: str, dataset_id: str, limit: int) -> Sequence[Job]:
        """Customers' jobs that read the dataset, as whatever, newest first."""
        return self._page(
            project_id,
            None,
            limit,
            Job.reads_dataset(dataset_id),
            Job.kind.in_(PUBLIC_KINDS),
            Job.deleted_at.is_(None),
        )[0]

    def active_of(self, project_id: str) -> Sequence[str]:
        """Ids of the project's unfinished jobs, the service's own too."""
        query = select(Job.id).where(Job.project_id == project_id, Job.state.in_(ACTIVE)).order_by(Job.id)
        return self._session.scalars(query).all()

    def rename(self, project_id: str, id: str, name: str | None) -> Job:  # noqa: A002
        """In whatever state. The same name again: unchanged. Raises NotFound."""
        job = self.get(project_id, id, for_update=True)
        if job.name != name:
            record(self._session, job, "renamed", {"name": name}, name=name)
        return job

    def request_cancel(self, project_id: str, id: str) -> Job:  # noqa: A002
        """Queued or paused: cancelled at once. Running: cancelling, its worker stops it. Again: unchanged.

        Raises NotFound; Conflict (`job_state_conflict`) when it has succeeded or failed.
        """
        job = self.get(project_id, id, for_update=True)
        if job.state in {JobState.CANCELLING, JobState.CANCELLED}:
            return job
        if job.state is JobState.RUNNING:
            now = func.clock_timestamp()
            move(self._session, job, JobState.CANCELLING, "cancel_requested", cancel_requested_at=now)
            return job
        if job.state in TERMINAL:
            raise _ended(job, "cancelled")
        job.cancel_requested_at = func.clock_timestamp()
        cancel(self._session, job)
        return job

    def request_pause(self, project_id: str, id: str) -> Job:  # noqa: A002
        """Queued: paused at once. Running: the worker saves its state and lets go. Again: unchanged.

        Raises NotFound; Conflict when it is finished or being cancelled.
        """
        job = self.get(project_id, id, for_update=True)
        if job.state is JobState.PAUSED or (job.state is JobState.RUNNING and job.pause_requested_at):
            return job
        if job.state is JobState.RUNNING:
            record(self._session, job, "pause_requested", pause_requested_at=func.clock_timestamp())
            return job
        if job.state is not JobState.QUEUED:
            raise _ended(job, "paused")
        move(self._session, job, JobState.PAUSED, "paused", pause_requested_at=func.clock_timestamp())
        return job

    def resume(self, project_id: str, id: str) -> Job:  # noqa: A002
        """Paused: queued again. Running and asked to pause: that is withdrawn. Raises NotFound, Conflict."""
        job = self.get(project_id, id, for_update=True)
        if job.state is JobState.RUNNING and job.pause_requested_at:
            record(self._session, job, "pause_withdrawn", pause_requested_at=None)
            return job
        if job.state is not JobState.PAUSED:
            raise Conflict(
                "job_state_conflict",
                f"The job is {job.state}, not paused.",
                "Only a paused job can be resumed.",
            )
        move(self._session, job, JobState.QUEUED, "resumed", pause_requested_at=None, not_before=None)
        announce(self._session, job)
        return job

    def retry(self, project_id: str, id: str) -> Job:  # noqa: A002
        """Failed: queued again with all its attempts, from the last saved state if one is kept.

        The service's own jobs only where nobody decided on what they were about. Raises NotFound, Conflict.
        """
        job = self.get(project_id, id, for_update=True)
        is_open = job.kind in PUBLIC_KINDS or leave_undecided(self._session, job, None)
        if job.state is not JobState.FAILED or not is_open:
            raise Conflict(
                "job_state_conflict",
                f"The job is {job.state}, not failed.",
                "Only a failed job can be retried.",
            )
        move(
            self._session,
            job,
            JobState.QUEUED,
            "retried",
            attempts_used=0,
            attempts_lost=0,
            error=None,
            finished_at=None,
            not_before=None,
            swept_at=None,
            phase=None,
            phases=pending_phases(job.kind, job.spec),
            progress=initial_progress(job),
        )
        announce(self._session, job)
        return job


def _ended(job: Job, wanted: str) -> Conflict:
    return Conflict(
        "job_state_conflict",
        f"The job is {job.state} and cannot be {wanted}.",
        "Read the job again; its state says what is possible.",
    )
