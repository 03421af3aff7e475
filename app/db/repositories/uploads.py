"""Uploads, as requests see them."""

from __future__ import annotations

from collections.abc import Sequence

from app.db.models.upload import Upload
from app.db.repositories.owned import OwnedRepository
from app.domain.errors import NotFound
from app.domain.states import UploadPurpose, UploadState


class UploadRepository(OwnedRepository[Upload]):
    model = Upload
    noun = "upload"

    def get(self, project_id: str, id: str, *, for_update: bool = False) -> Upload:  # noqa: A002
        """Raises NotFound, also for a deleted one."""
        row = super().get(project_id, id, for_update=for_update)
        if row.deleted_at is not None:
            raise NotFound("upload_not_found", f"The upload {id!r} has been deleted.", "Create a new upload.")
        return row

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
