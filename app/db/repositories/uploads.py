"""Uploads, as requests see them."""

from __future__ import annotations

from app.db.models.upload import Upload
from app.db.repositories.owned import OwnedRepository
from app.domain.errors import NotFound


class UploadRepository(OwnedRepository[Upload]):
    model = Upload
    noun = "upload"

    def get(self, project_id: str, id: str, *, for_update: bool = False) -> Upload:  # noqa: A002
        """Raises NotFound, also for a deleted one."""
        row = super().get(project_id, id, for_update=for_update)
        if row.deleted_at is not None:
            raise NotFound("upload_not_found", f"The upload {id!r} has been deleted.", "Create a new upload.")
        return row
