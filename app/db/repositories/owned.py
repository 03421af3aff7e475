"""What all repositories of project-owned rows share: get, lock and page within one project."""

from collections.abc import Collection, Sequence
from typing import Any, ClassVar, Generic, TypeVar

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from app.db.base import Base
from app.db.models.assets import Checkpoint, Dataset, Upload
from app.db.models.job import Job
from app.db.repositories.base import Repository
from app.db.repositories.pages import Cuts, page_of
from app.domain.errors import NotFound

Row = TypeVar("Row", bound=Base)
Deletable = TypeVar("Deletable", bound=Upload | Checkpoint | Dataset | Job)


class OwnedRepository(Repository, Generic[Row]):
    """Rows with `id` and `project_id`. Nobody learns that a row of another project exists."""

    model: ClassVar[type[Any]]
    noun: ClassVar[str]
    cuts: ClassVar[Cuts | None] = None

    def add(self, row: Row) -> Row:
        """Insert now, so that its constraints and server defaults are known."""
        self._session.add(row)
        self._session.flush()
        return row

    def get(self, project_id: str, id: str, *, for_update: bool = False) -> Row:  # noqa: A002
        """The row, locked until the end of the transaction with `for_update`. Raises NotFound."""
        query = select(self.model).where(self.model.id == id, self.model.project_id == project_id)
        if for_update:
            query = query.with_for_update().execution_options(populate_existing=True)
        row: Row | None = self._session.scalars(query).one_or_none()
        if row is None:
            raise self.not_found(id)
        return row

    @classmethod
    def not_found(cls, id: str) -> NotFound:  # noqa: A002
        return NotFound(
            f"{cls.noun}_not_found",
            f"There is no {cls.noun} {id[:64]!r} in this project.",
            "Check the id, and that the key belongs to the project that created it.",
        )

    def _page(
        self, project_id: str, after: str | None, limit: int, *conditions: ColumnElement[bool]
    ) -> tuple[Sequence[Row], bool]:
        return page_of(self._session, self.model, project_id, after, limit, *conditions, cuts=self.cuts)


class DeletableRepository(OwnedRepository[Deletable]):
    """Rows that are marked as deleted, and found no more, until the sweeper takes them away."""

    once_deleted: ClassVar[str]
    """What to do instead."""

    def get(self, project_id: str, id: str, *, for_update: bool = False) -> Deletable:  # noqa: A002
        """Raises NotFound, also for a deleted one."""
        row = super().get(project_id, id, for_update=for_update)
        if row.deleted_at is not None:
            code, message = f"{self.noun}_not_found", f"The {self.noun} {id!r} has been deleted."
            raise NotFound(code, message, self.once_deleted)
        return row

    def locked(self, project_id: str, ids: Collection[str]) -> dict[str, Deletable]:
        """The rows by their ids, locked in the order of these: two requests may name the same ones the other
        way round. What there is not is left out."""
        query = select(self.model).where(
            self.model.id.in_(ids), self.model.project_id == project_id, self.model.deleted_at.is_(None)
        )
        query = query.order_by(self.model.id).with_for_update().execution_options(populate_existing=True)
        return {row.id: row for row in self._session.scalars(query)}

    def delete(self, project_id: str, id: str) -> Deletable:  # noqa: A002
        """Mark as deleted; what it refers to elsewhere belongs to its owner and stays. Raises NotFound."""
        row = self.get(project_id, id, for_update=True)
        row.deleted_at = func.now()
        self._session.flush()
        return row


def lock_those(
    session: Session, model: type[Any], limit: int, *conditions: ColumnElement[bool]
) -> Sequence[Any]:
    """At most `limit` rows that fulfil the conditions while they are locked; those locked elsewhere are left.

    A statement sees other tables as they were when it began, also where it locks: what was committed while it
    looked (a dataset made of the upload, a job that reads the checkpoint) is seen by a second one only.
    """
    found = select(model.id).where(*conditions).limit(limit).with_for_update(skip_locked=True)
    ids = session.scalars(found).all()
    still = select(model).where(model.id.in_(ids), *conditions).execution_options(populate_existing=True)
    return session.scalars(still).all()
