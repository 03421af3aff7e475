"""Artifacts, as requests see them. They are written by the transaction that completes a job, nowhere else."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from app.db.models.artifact import Artifact
from app.db.repositories.owned import OwnedRepository


class ArtifactRepository(OwnedRepository[Artifact]):
    model = Artifact
    noun = "artifact"

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
