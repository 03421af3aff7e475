"""Uploads, as requests see them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select

from app.db.models.upload import Upload
from app.db.repositories.owned import OwnedRepository
from app.domain.states import UploadState


class UploadRepository(OwnedRepository[Upload]):
    model = Upload
    noun = "upload"

    def page(
        self, project_id: str, after: str | None, limit: int, *, state: UploadState | None = None
    ) -> tuple[Sequence[Upload], bool]:
        """Newest first; `after` is the id of the last row of the page before."""
        conditions = [] if state is None else [Upload.state == state]
        return self._page(project_id, after, limit, *conditions)

    def bytes_in_flight(self, project_id: str) -> int:
        """The declared sizes of all unfinished uploads, summed."""
        query = select(func.coalesce(func.sum(Upload.size_bytes), 0)).where(
            Upload.project_id == project_id,
            Upload.state.in_([UploadState.OPEN, UploadState.COMPLETING]),
        )
        return int(self._session.scalar(query) or 0)
