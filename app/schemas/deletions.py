"""Deletions on the wire: that something goes, and once it is gone the receipt."""

from __future__ import annotations

from typing import Literal

from app.db.models.assets import Deletion
from app.schemas.common import Page, Time, WireOut


class DeletedDigest(WireOut):
    name: str
    sha256: str
    size_bytes: int


class DeletionOut(WireOut):
    """`finished`: no row, no object of it is left. The figures are counted before the first object goes."""

    object: Literal["deletion"] = "deletion"
    id: str
    state: Literal["pending", "finished"]
    subject: Literal["upload", "checkpoint", "dataset", "job", "job_outputs", "project"]
    subject_id: str
    reason: Literal["requested", "retention", "operator"]
    requested_by: str | None
    """The key that asked."""
    requested_at: Time
    num_objects: int | None
    num_bytes: int | None
    digests: list[DeletedDigest] | None
    """Of the files among the objects whose SHA-256 was known."""
    finished_at: Time | None

    @classmethod
    def of(cls, row: Deletion) -> DeletionOut:
        state = "pending" if row.finished_at is None else "finished"
        return cls.of_row(row, state=state, requested_by=row.key_id)


class DeletionPage(Page[DeletionOut]):
    """Deletions, newest first."""
