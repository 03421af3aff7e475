"""Jobs, uploads and checkpoints as the sweeper sees them: of all projects, in batches."""

from collections.abc import Collection, Sequence
from typing import cast

from sqlalchemy import CursorResult, and_, delete, func, or_, select, update

from app.db.models.assets import Checkpoint, Dataset, Deletion, Upload
from app.db.models.job import Job, OutboxMessage
from app.db.models.project import IdempotencyKey
from app.db.repositories.base import Repository
from app.db.repositories.job_changes import cancel, give_back, move, seconds
from app.db.repositories.owned import lock_those
from app.domain.limits import LOST_WORKER_WAIT_S
from app.domain.states import (
    LEASED,
    TERMINAL,
    CheckpointState,
    DatasetState,
    JobKind,
    JobState,
    UploadPurpose,
    UploadState,
)

WORKER_LOST = {"code": "worker_lost", "message": "The worker that ran the job was lost, again and again."}


class SweepRepository(Repository):
    def requeue_or_fail_expired(self, limit: int = 100) -> list[tuple[str, JobState]]:
        """Jobs whose lease ran out: queued again, cancelled, paused; failed `worker_lost` after many."""
        query = (
            select(Job)
            .where(Job.state.in_(LEASED), Job.lease_expires_at < func.clock_timestamp())
            .order_by(Job.lease_expires_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
            .execution_options(populate_existing=True)
        )
        jobs = self._session.scalars(query).all()
        for job in jobs:
            self._release(job)
        return [(job.id, job.state) for job in jobs]

    def _release(self, job: Job) -> None:
        lost = {"attempt": job.attempt, "lease_owner": job.lease_owner}
        if job.state is JobState.CANCELLING:
            cancel(self._session, job, lost)
        elif job.pause_requested_at is not None:
            move(self._session, job, JobState.PAUSED, "paused", lost)
        else:
            error = WORKER_LOST | {"phase": job.phase.value if job.phase else None}
            # A machine was reclaimed: the first time, the job goes on at once.
            wait_s = LOST_WORKER_WAIT_S if job.attempts_lost else 0.0
            give_back(self._session, job, "lease_expired", error, wait_s=wait_s, data=lost)

    def num_queued(self) -> int:
        """Jobs that wait for a worker."""
        query = select(func.count()).select_from(Job).where(Job.state == JobState.QUEUED)
        return int(self._session.scalar(query) or 0)

    def longest_wait_s(self, kinds: Collection[JobKind]) -> float:
        """Of the queued jobs of these kinds that are due, since they were made or a retry was to begin;
        0 where there is none."""
        since = func.min(func.greatest(Job.not_before, Job.created_at))  # greatest() passes over NULL
        waited = func.extract("epoch", func.clock_timestamp() - since)
        query = select(waited).where(
            Job.state == JobState.QUEUED,
            Job.kind.in_(kinds),
            or_(Job.not_before.is_(None), Job.not_before <= func.clock_timestamp()),
        )
        return float(self._session.scalar(query) or 0.0)

    def needing_hint(
        self, older_than_s: float, limit: int = 100, *, kinds: Collection[JobKind] = frozenset(JobKind)
    ) -> list[tuple[str, JobKind]]:
        """Queued jobs of these kinds, due, whose last hint is older than that; noted as hinted now."""
        now = func.clock_timestamp()
        query = (
            select(Job.id)
            .where(
                Job.state == JobState.QUEUED,
                Job.kind.in_(kinds),
                or_(Job.hinted_at.is_(None), Job.hinted_at < now - seconds(older_than_s)),
                or_(Job.not_before.is_(None), Job.not_before <= now),
            )
            .order_by(Job.id)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        ids = self._session.scalars(query).all()
        statement = (
            update(Job)
            .where(Job.id.in_(ids))
            .values(hinted_at=now, updated_at=Job.updated_at)
            .returning(Job.id, Job.kind)
            .execution_options(synchronize_session=False)
        )
        return sorted((row.id, row.kind) for row in self._session.execute(statement))

    def expire_uploads(self, limit: int = 100) -> Sequence[str]:
        """Mark uploads whose time is over: unfinished ones, and shards that no living dataset uses.

        Their bytes go with `abandoned_uploads`."""
        is_used = (
            select(Dataset.id)
            .where(
                Dataset.upload_id == Upload.id,
                Dataset.deleted_at.is_(None),
                Dataset.state != DatasetState.REJECTED,
            )
            .exists()
        )
        is_unused_data = and_(
            Upload.state == UploadState.COMPLETED, Upload.purpose == UploadPurpose.DATASET, ~is_used
        )
        uploads = lock_those(
            self._session,
            Upload,
            limit,
            or_(Upload.state.in_([UploadState.OPEN, UploadState.COMPLETING]), is_unused_data),
            Upload.expires_at < func.clock_timestamp(),
        )
        for upload in uploads:
            upload.state = UploadState.EXPIRED
        self._session.flush()
        return [upload.id for upload in uploads]

    def abandoned_uploads(self, limit: int = 100) -> Sequence[Upload]:
        """Cancelled and expired uploads whose multipart upload may still hold bytes.

        One with an unfinished deletion is left to that, which counts before it takes away.
        """
        is_asked = (
            select(Deletion.id)
            .where(
                Deletion.subject_id == Upload.id,
                Deletion.project_id == Upload.project_id,
                Deletion.finished_at.is_(None),
            )
            .exists()
        )
        query = (
            select(Upload)
            .where(
                Upload.state.in_([UploadState.CANCELLED, UploadState.EXPIRED]),
                Upload.store_upload_id.is_not(None),
                ~is_asked,
            )
            .limit(limit)
        )
        return self._session.scalars(query).all()

    def forget_store_upload(self, upload_id: str) -> None:
        """The multipart upload is gone from the object store."""
        self._session.execute(update(Upload).where(Upload.id == upload_id).values(store_upload_id=None))

    def needless_checkpoints(self, limit: int = 100) -> Sequence[Checkpoint]:
        """Rejected ones whose upload, and deleted ones of which anything, still lies in the object store.

        A deleted one that an unfinished job reads is left until that job has ended. One with a deletion of
        its own is left to that, which counts before it takes away.
        """
        is_asked = (
            select(Deletion.id)
            .where(Deletion.subject_id == Checkpoint.id, Deletion.project_id == Checkpoint.project_id)
            .exists()
        )
        users = select(Job.id).where(Job.reads_checkpoint(Checkpoint.id), Job.state.not_in(TERMINAL))
        query = (
            select(Checkpoint)
            .where(
                or_(
                    and_(
                        Checkpoint.state == CheckpointState.REJECTED,
                        Checkpoint.upload_object_key.is_not(None),
                    ),
                    and_(
                        Checkpoint.deleted_at.is_not(None),
                        ~is_asked,
                        or_(
                            Checkpoint.upload_object_key.is_not(None),
                            Checkpoint.canonical_prefix.is_not(None),
                        ),
                    ),
                ),
                ~users.exists(),
            )
            .limit(limit)
        )
        return self._session.scalars(query).all()

    def forget_checkpoint_objects(self, checkpoint_id: str) -> None:
        """Nothing of the checkpoint lies in the object store any more."""
        self._session.execute(
            update(Checkpoint)
            .where(Checkpoint.id == checkpoint_id)
            .values(upload_object_key=None, canonical_prefix=None)
        )

    def unswept_jobs(self, *, grace_s: float, failed_grace_s: float, limit: int = 100) -> Sequence[Job]:
        """Finished jobs whose losing outputs and training states have not been removed.

        A failed job keeps its states for `failed_grace_s`, so that a retry goes on from them.
        """
        now = func.clock_timestamp()
        query = (
            select(Job)
            .where(
                Job.swept_at.is_(None),
                or_(
                    and_(
                        Job.state.in_([JobState.SUCCEEDED, JobState.CANCELLED]),
                        Job.finished_at < now - seconds(grace_s),
                    ),
                    and_(Job.state == JobState.FAILED, Job.finished_at < now - seconds(failed_grace_s)),
                ),
            )
            .order_by(Job.finished_at)
            .limit(limit)
        )
        return self._session.scalars(query).all()

    def forget_states(self, job_id: str, version: int) -> bool:
        """Before its states are deleted, the job stops pointing at them. False when it changed meanwhile."""
        statement = (
            update(Job)
            .where(Job.id == job_id, Job.version == version, Job.state.in_(TERMINAL))
            .values(resume_state=None)
            .execution_options(synchronize_session=False)
        )
        return cast("CursorResult[object]", self._session.execute(statement)).rowcount == 1

    def mark_swept(self, job_id: str) -> None:
        """What the job's losing attempts left is gone."""
        self._session.execute(
            update(Job)
            .where(Job.id == job_id, Job.state.in_(TERMINAL))
            .values(swept_at=func.clock_timestamp())
            .execution_options(synchronize_session=False)
        )

    def delete_old_idempotency_keys(self) -> int:
        """Forget answers whose time is over; returns how many."""
        statement = delete(IdempotencyKey).where(IdempotencyKey.expires_at < func.now())
        return cast("CursorResult[object]", self._session.execute(statement)).rowcount

    def delete_published_messages(self, older_than_s: float) -> int:
        """Forget outbox messages that were delivered long ago; returns how many."""
        statement = delete(OutboxMessage).where(
            OutboxMessage.published_at < func.now() - seconds(older_than_s)
        )
        return cast("CursorResult[object]", self._session.execute(statement)).rowcount
