"""Uploads, as requests see them."""

from __future__ import annotations

from collections.abc import Sequence

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
