"""Uploads, as requests see them."""

from __future__ import annotations

from collections.abc import Sequence

from app.db.models.upload import Upload
from app.db.repositories.owned import DeletableRepository
from app.domain.states import UploadPurpose, UploadState


class UploadRepository(DeletableRepository[Upload]):
    model = Upload
    noun = "upload"
    once_deleted = "Create a new upload."

    def open_of(self, project_id: str, purpose: UploadPurpose, limit: int) -> tuple[Sequence[Upload], bool]:
        """Those that still take parts, newest first, and whether there are more."""
        return self._page(
            project_id,
            None,
            limit,
            Upload.state == UploadState.OPEN,
            Upload.purpose == purpose,
            Upload.deleted_at.is_(None),
        )
