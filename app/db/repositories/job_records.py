"""What is written beside a job: events, in order and without a gap; artifacts; the outbox."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select, update

from app.db.models.job import Artifact, Job, JobEvent, OutboxMessage
from app.db.repositories.base import Repository
from app.db.repositories.owned import OwnedRepository
from app.db.repositories.pages import row_of, values_of
from app.domain.errors import NotFound


class EventRepository(Repository):
    def page(
        self, project_id: str, job_id: str, after: int | None, limit: int
    ) -> tuple[Sequence[JobEvent], bool]:
        """Oldest first, those with a number greater than `after`."""
        conditions = (
            JobEvent.project_id == project_id,
            JobEvent.job_id == job_id,
            JobEvent.seq > (after or 0),
        )
        found, has_more = values_of(self._session, JobEvent, conditions, limit, by="seq", is_ascending=True)
        return [row_of(JobEvent, values) for values in found], has_more


class OutboxRepository(Repository):
    def add(self, project_id: str, topic: str, payload: dict[str, Any]) -> OutboxMessage:
        row = OutboxMessage(project_id=project_id, topic=topic, payload=payload)
        self._session.add(row)
        self._session.flush()
        return row

    def pending(self, limit: int) -> Sequence[OutboxMessage]:
        """Unpublished messages, oldest first. One reader at a time: the sweeper, which holds a lock."""
        query = (
            select(OutboxMessage)
            .where(OutboxMessage.published_at.is_(None))
            .order_by(OutboxMessage.id)
            .limit(limit)
        )
        return self._session.scalars(query).all()

    def mark(self, message_ids: Sequence[int], *, published: bool) -> None:
        """Note a try for each, and with `published` that it was the last."""
        values: dict[str, Any] = {"num_tries": OutboxMessage.num_tries + 1}
        if published:
            values["published_at"] = func.now()
        self._session.execute(
            update(OutboxMessage)
            .where(OutboxMessage.id.in_(message_ids))
            .values(values)
            .execution_options(synchronize_session=False)
        )


class ArtifactRepository(OwnedRepository[Artifact]):
    model = Artifact
    noun = "artifact"

    def get(self, project_id: str, id: str, *, for_update: bool = False) -> Artifact:  # noqa: A002
        """Raises NotFound, also for one of a deleted job."""
        row = super().get(project_id, id, for_update=for_update)
        is_deleted = select(Job.deleted_at.is_not(None)).where(Job.id == row.job_id)
        if self._session.scalar(is_deleted):
            raise NotFound(
                "artifact_not_found", "The job that left this file has been deleted.", "Check the id."
            )
        return row

    def of_job(self, project_id: str, job_id: str) -> Sequence[Artifact]:
        """All files of a job, by name."""
        query = (
            select(Artifact)
            .where(Artifact.project_id == project_id, Artifact.job_id == job_id)
            .order_by(Artifact.name)
        )
        return self._session.scalars(query).all()

    def named(self, project_id: str, job_id: str, name: str) -> Artifact | None:
        """One file of a job, None where the job left no such file."""
        query = select(Artifact).where(
            Artifact.project_id == project_id, Artifact.job_id == job_id, Artifact.name == name
        )
        return self._session.scalars(query).one_or_none()
