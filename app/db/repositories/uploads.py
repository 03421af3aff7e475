"""Uploads, as requests see them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement

from app.db.models.upload import Upload
from app.db.repositories.owned import OwnedRepository
from app.domain.errors import NotFound
from app.domain.states import UploadState


class UploadRepository(OwnedRepository[Upload]):
    model = Upload
    noun = "upload"

    def get(self, project_id: str, id: str, *, for_update: bool = False) -> Upload:  # noqa: A002
        """Raises NotFound, also for a deleted one."""
        row = super().get(project_id, id, for_update=for_update)
        if row.deleted_at is not None:
            raise NotFound("upload_not_found", f"The upload {id!r} has been deleted.", "Create a new upload.")
        return row

    def page(
        self, project_id: str, after: str | None, limit: int, *, state: UploadState | None = None
    ) -> tuple[Sequence[Upload], bool]:
        """Newest first; `after` is the id of the last row of the page before."""
        conditions: list[ColumnElement[bool]] = [Upload.deleted_at.is_(None)]
        if state is not None:
            conditions.append(Upload.state == state)
        return self._page(project_id, after, limit, *conditions)
