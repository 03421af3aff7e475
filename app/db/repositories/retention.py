"""What has been kept long enough, of all projects: marked as deleted, with a deletion of its own each."""

from collections.abc import Sequence
from typing import TypeVar

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from app.db.models.assets import Checkpoint, Dataset, Deletion
from app.db.models.job import Artifact, Job
from app.db.repositories.deletions import DeletionRepository
from app.db.repositories.job_changes import seconds
from app.db.repositories.owned import lock_those
from app.db.repositories.trail import TrailRepository
from app.domain.deletions import DeletionReason, DeletionSubject
from app.domain.states import PUBLIC_KINDS, TERMINAL, CheckpointState, DatasetState

DAY_S = 86_400.0
ACTOR = "retention"
Kept = TypeVar("Kept", Checkpoint, Dataset)


class RetentionRepository:
    """The sweeper's. Ages in days; each call takes at most `limit` and returns how many."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._deletions = DeletionRepository(session)
        self._trail = TrailRepository(session)

    def end_outputs(self, older_than_days: float, limit: int = 100) -> int:
        """Files of jobs that ended before then."""
        is_asked = select(Deletion.id).where(
            Deletion.project_id == Job.project_id,
            Deletion.subject_id == Job.id,
            Deletion.finished_at.is_(None),
        )
        has_files = select(Artifact.id).where(
            Artifact.job_id == Job.id, Artifact.created_at < _before(older_than_days)
        )
        jobs = lock_those(
            self._session,
            Job,
            limit,
            Job.kind.in_(PUBLIC_KINDS),
            Job.state.in_(TERMINAL),
            Job.finished_at < _before(older_than_days),
            Job.deleted_at.is_(None),
            has_files.exists(),
            ~is_asked.exists(),
        )
        for job in jobs:
            self._ask(job.project_id, DeletionSubject.JOB_OUTPUTS, job.id)
        return len(jobs)

    def end_unused(self, older_than_days: float, limit: int = 100) -> int:
        """Accepted checkpoints and ready datasets that no job of a customer's ever read."""
        created = _before(older_than_days)
        checkpoints = self._checkpoints(
            limit, Checkpoint.state == CheckpointState.ACCEPTED, Checkpoint.created_at < created
        )
        datasets = self._datasets(limit, Dataset.state == DatasetState.READY, Dataset.created_at < created)
        return self._end(checkpoints, datasets)

    def end_rejected(self, older_than_days: float, limit: int = 100) -> int:
        """What is known of rejected checkpoints and datasets."""
        changed = _before(older_than_days)
        checkpoints = self._checkpoints(
            limit, Checkpoint.state == CheckpointState.REJECTED, Checkpoint.updated_at < changed
        )
        datasets = self._datasets(limit, Dataset.state == DatasetState.REJECTED, Dataset.updated_at < changed)
        return self._end(checkpoints, datasets)

    def _checkpoints(self, limit: int, *conditions: ColumnElement[bool]) -> Sequence[Checkpoint]:
        used = select(Job.id).where(Job.reads_checkpoint(Checkpoint.id), Job.kind.in_(PUBLIC_KINDS))
        return self._kept(Checkpoint, limit, ~used.exists(), *conditions)

    def _datasets(self, limit: int, *conditions: ColumnElement[bool]) -> Sequence[Dataset]:
        used = select(Job.id).where(Job.reads_dataset(Dataset.id), Job.kind.in_(PUBLIC_KINDS))
        return self._kept(Dataset, limit, ~used.exists(), *conditions)

    def _kept(self, table: type[Kept], limit: int, *conditions: ColumnElement[bool]) -> Sequence[Kept]:
        return lock_those(self._session, table, limit, table.deleted_at.is_(None), *conditions)

    def _end(self, checkpoints: Sequence[Checkpoint], datasets: Sequence[Dataset]) -> int:
        for checkpoint in checkpoints:
            checkpoint.deleted_at = func.now()
            self._ask(checkpoint.project_id, DeletionSubject.CHECKPOINT, checkpoint.id)
        for dataset in datasets:
            dataset.deleted_at = func.now()
            self._ask(dataset.project_id, DeletionSubject.DATASET, dataset.id)
        return len(checkpoints) + len(datasets)

    def _ask(self, project_id: str, subject: DeletionSubject, subject_id: str) -> None:
        self._deletions.ask(project_id, subject, subject_id, reason=DeletionReason.RETENTION)
        self._trail.add(
            project_id=project_id, key_id=None, action=f"{subject}.delete", target_id=subject_id, actor=ACTOR
        )


def _before(days: float) -> ColumnElement[object]:
    return func.clock_timestamp() - seconds(days * DAY_S)
