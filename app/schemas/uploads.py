"""Uploads on the wire: what is announced, the plan of parts, what is stored, what completing takes."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from annotated_types import Len
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from app.db.models.assets import Upload
from app.domain.limits import MAX_FILENAME_CHARACTERS, MAX_PARTS_PER_BATCH
from app.schemas.common import FIT_TO_SHOW, Sha256, Time, WireIn, WireOut
from cleanclip.vocabulary.bounds import NUMBER
from cleanclip.vocabulary.recipe import DeclaredOptions

Purpose = Literal["checkpoint", "dataset"]
PartNumber = Annotated[int, Field(ge=1, le=10_000)]


class UploadIn(WireIn):
    """Announce a file: its exact size, and its digest if you have it (it is verified later)."""

    filename: Annotated[
        str,
        Field(
            min_length=1,
            max_length=MAX_FILENAME_CHARACTERS,
            pattern=r"^[^/\\\x00-\x1f\x7f]+$",
            examples=["clip-rn50.pt"],
            description="Shown to people; never used as a path.",
        ),
        FIT_TO_SHOW,
    ]
    size_bytes: Annotated[int, Field(ge=1, examples=[409_600_000]), NUMBER]
    sha256: Sha256 | None = None
    purpose: Purpose = "checkpoint"
    declared: DeclaredOptions | None = Field(
        default=None,
        description="What a checkpoint's tensors do not say. Purpose checkpoint only.",
    )

    @model_validator(mode="after")
    def _only_a_checkpoint_has_declared_options(self) -> Self:
        if self.declared is not None and self.purpose != "checkpoint":
            raise PydanticCustomError(
                "declared_without_checkpoint",
                "Options can be declared for a checkpoint only.",
                {"pointer": "/declared"},
            )
        return self


class PartsIn(WireIn):
    """Ask for URLs of these parts, at most a hundred at a time."""

    numbers: Annotated[list[PartNumber], Len(1, MAX_PARTS_PER_BATCH)] = Field(examples=[[1, 2, 3, 4]])


class PartIn(WireIn):
    number: PartNumber
    etag: Annotated[str, Field(min_length=1, max_length=200)]


class CompleteIn(WireIn):
    """All optional. `parts`: the ETags that the store answered, checked against what it holds now.
    `sha256`: of the whole file, as computed while it was sent; the inspection holds the bytes against it."""

    parts: Annotated[list[PartIn], Len(1, 10_000)] | None = None
    sha256: Sha256 | None = None


class PartOut(WireOut):
    """PUT exactly `size_bytes` bytes to `url` before `expires_at`; no other header is needed."""

    number: int
    size_bytes: int
    url: str
    expires_at: Time


class PartsOut(WireOut):
    object: Literal["upload_parts"] = "upload_parts"
    upload_id: str
    parts: list[PartOut]


class StoredPartOut(WireOut):
    number: int
    size_bytes: int
    etag: str


class UploadLinks(WireOut):
    self: str
    parts: str
    content: str
    complete: str
    cancel: str
    checkpoint: str | None = None


class UploadOut(WireOut):
    """An upload. Part n holds bytes (n-1)*part_size_bytes onwards; the last one what remains."""

    object: Literal["upload"] = "upload"
    id: str
    state: Literal["open", "completing", "completed", "cancelled", "expired"]
    purpose: Purpose
    filename: str
    size_bytes: int
    sha256: str | None
    part_size_bytes: int
    num_parts: int
    checkpoint_id: str | None
    created_at: Time
    expires_at: Time
    completed_at: Time | None
    links: UploadLinks
    parts: list[PartOut] | None = Field(
        default=None, description="URLs of the first parts, in the answer to creating the upload."
    )
    stored_parts: list[StoredPartOut] | None = Field(
        default=None, description="What the store holds, when a single open upload is read: send the rest."
    )

    @classmethod
    def of(cls, row: Upload) -> UploadOut:
        here = f"/v1/uploads/{row.id}"
        return cls.of_row(
            row,
            sha256=row.declared_sha256,
            links=UploadLinks(
                self=here,
                parts=f"{here}/parts",
                content=f"{here}/content",
                complete=f"{here}/complete",
                cancel=f"{here}/cancel",
                checkpoint=f"/v1/checkpoints/{row.checkpoint_id}" if row.checkpoint_id else None,
            ),
        )
