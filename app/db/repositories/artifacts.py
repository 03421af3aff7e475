"""Artifacts, as requests see them. They are written by the transaction that completes a job, nowhere else."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from app.db.models.artifact import Artifact
from app.db.models.job import Job
from app.db.repositories.owned import OwnedRepository
from app.domain.errors import NotFound


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
