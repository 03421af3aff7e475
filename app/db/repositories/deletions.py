"""Deletions: asked for by requests, operators and retention; counted and finished by the sweeper."""

from collections.abc import Sequence

from sqlalchemy import func, or_, select, update

from app.db.models.assets import Deletion
from app.db.repositories.job_changes import seconds
from app.db.repositories.owned import OwnedRepository
from app.domain.deletions import DeletionPlan, DeletionReason, DeletionSubject
from app.domain.errors import NotFound
from app.domain.ids import new_id


class DeletionRepository(OwnedRepository[Deletion]):
    model = Deletion
    noun = "deletion"

    def ask(
        self,
        project_id: str,
        subject: DeletionSubject,
        subject_id: str,
        *,
        reason: DeletionReason,
        key_id: str | None = None,
        request_id: str | None = None,
    ) -> Deletion:
        """Add the row; from the commit on the sweeper sees to it."""
        return self.add(
            Deletion(
                id=new_id("del"),
                project_id=project_id,
                subject=subject,
                subject_id=subject_id,
                reason=reason,
                key_id=key_id,
                request_id=request_id,
            )
        )

    def page(self, project_id: str, after: str | None, limit: int) -> tuple[Sequence[Deletion], bool]:
        """Newest first; `after` is the id of the last row of the page before."""
        return self._page(project_id, after, limit)

    def find(self, id: str) -> Deletion:  # noqa: A002
        """Whosever it is, for operators. Raises NotFound."""
        row = self._session.get(Deletion, id)
        if row is None:
            raise NotFound("deletion_not_found", f"There is no deletion {id[:64]!r}.", "Check the id.")
        return row

    def due(self, limit: int = 100) -> Sequence[Deletion]:
        """Unfinished ones that need not wait: one of each project, then a second of each, and so on."""
        now = func.clock_timestamp()
        since = func.coalesce(Deletion.not_before, Deletion.requested_at)
        turn = func.row_number().over(partition_by=Deletion.project_id, order_by=(since, Deletion.id))
        query = (
            select(Deletion)
            .where(
                Deletion.finished_at.is_(None), or_(Deletion.not_before.is_(None), Deletion.not_before <= now)
            )
            .order_by(turn, since, Deletion.id)
            .limit(limit)
        )
        return self._session.scalars(query).all()

    def postpone(self, deletion_id: str, wait_s: float) -> None:
        """Not due before then; at its end it comes after those that are due already."""
        self._session.execute(
            update(Deletion)
            .where(Deletion.id == deletion_id)
            .values(not_before=func.clock_timestamp() + seconds(wait_s))
            .execution_options(synchronize_session=False)
        )

    def count(self, deletion_id: str, plan: DeletionPlan, *, num_objects: int, num_bytes: int) -> None:
        """Note what is about to go; a second time changes nothing."""
        self._session.execute(
            update(Deletion)
            .where(Deletion.id == deletion_id, Deletion.counted_at.is_(None))
            .values(
                counted_at=func.clock_timestamp(),
                num_objects=num_objects,
                num_bytes=num_bytes,
                digests=list(plan.digests),
            )
            .execution_options(synchronize_session=False)
        )

    def finish(self, deletion_id: str) -> None:
        """Nothing of it is left."""
        self._session.execute(
            update(Deletion)
            .where(Deletion.id == deletion_id)
            .values(finished_at=func.clock_timestamp())
            .execution_options(synchronize_session=False)
        )
