"""Data sets, as requests see them; deleted ones are not found."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import ColumnElement, func, select

from app.db.models.dataset import Dataset
from app.db.repositories.owned import OwnedRepository
from app.domain.errors import NotFound
from app.domain.states import DatasetKind, DatasetState


class DatasetRepository(OwnedRepository[Dataset]):
    model = Dataset
    noun = "dataset"

    def get(self, project_id: str, id: str, *, for_update: bool = False) -> Dataset:  # noqa: A002
        """Raises NotFound, also for a deleted one."""
        row = super().get(project_id, id, for_update=for_update)
        if row.deleted_at is not None:
            raise NotFound(
                "dataset_not_found",
                f"The data set {id!r} has been deleted.",
                "Register it again if it is still needed.",
            )
        return row

    def page(
        self,
        project_id: str,
        after: str | None,
        limit: int,
        *,
        state: DatasetState | None = None,
        kind: DatasetKind | None = None,
    ) -> tuple[Sequence[Dataset], bool]:
        """Newest first, without deleted ones; `after` is the id of the last row of the page before."""
        conditions: list[ColumnElement[bool]] = [Dataset.deleted_at.is_(None)]
        if state is not None:
            conditions.append(Dataset.state == state)
        if kind is not None:
            conditions.append(Dataset.kind == kind)
        return self._page(project_id, after, limit, *conditions)

    def several(self, project_id: str, ids: Collection[str]) -> dict[str, Dataset]:
        """By id, deleted ones too: what they held is still known. What there is not is left out."""
        query = select(Dataset).where(Dataset.project_id == project_id, Dataset.id.in_(ids))
        return {row.id: row for row in self._session.scalars(query)}

    def digests(self, project_id: str, ids: Collection[str]) -> dict[str, str]:
        """As validated, by id, deleted ones' too; what is not validated is left out."""
        digest = Dataset.summary["sha256"].astext
        query = select(Dataset.id, digest).where(
            Dataset.project_id == project_id, Dataset.id.in_(ids), digest.is_not(None)
        )
        return {id: sha256 for id, sha256 in self._session.execute(query)}  # noqa: A001, C416 - rows, not pairs

    def using_upload(self, project_id: str, upload_id: str) -> Sequence[str]:
        """Ids of living data sets that are made of the upload."""
        query = select(Dataset.id).where(
            Dataset.project_id == project_id, Dataset.upload_id == upload_id, Dataset.deleted_at.is_(None)
        )
        return self._session.scalars(query).all()

    def delete(self, project_id: str, id: str) -> Dataset:  # noqa: A002
        """Mark as deleted. What it refers to belongs to its owner and stays. Raises NotFound."""
        row = self.get(project_id, id, for_update=True)
        row.deleted_at = func.now()
        self._session.flush()
        return row
