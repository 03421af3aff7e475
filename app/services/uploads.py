"""Uploads: announce, hand out URLs of parts, say what is stored, finish, cancel. Never sees the bytes.

The store is asked outside any transaction, so that no connection to the database waits for it.

    begun → create → (presign → the client PUTs parts)… or upload_content → upload_assembly → finish
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from app.db.models.assets import Checkpoint, Upload
from app.db.models.job import Job
from app.db.unit_of_work import UnitOfWork
from app.domain.errors import Conflict, InvalidInput, TooLarge
from app.domain.ids import new_id
from app.domain.limits import MAX_PARTS_PER_BATCH, MIB
from app.domain.object_keys import upload_key
from app.domain.states import JobKind, UploadPurpose, UploadState
from app.services.api_keys import Caller
from app.services.trail import note
from app.settings import UploadSettings
from app.storage.errors import UploadNotFound
from app.storage.port import ObjectStore, Part
from cleanclip.vocabulary.recipe import DeclaredOptions, to_json


@dataclass(frozen=True, kw_only=True)
class Announcement:
    """What a client says of the file that will come."""

    filename: str
    size_bytes: int
    sha256: str | None
    purpose: UploadPurpose
    declared: DeclaredOptions


@dataclass(kw_only=True)
class BegunUpload:
    """A multipart upload at the store; `has_row` once the transaction of its row is committed."""

    id: str
    object_key: str
    store_upload_id: str
    has_row: bool = False


@dataclass(frozen=True, kw_only=True)
class PresignedPart:
    number: int
    size_bytes: int
    url: str
    expires_at: datetime


def check_size(file: Announcement, limits: UploadSettings) -> None:
    """Raise TooLarge for a file that the service does not take."""
    if file.size_bytes > limits.max_size_bytes:
        raise TooLarge(
            "upload_too_large",
            f"The file has {file.size_bytes} bytes; the limit is {limits.max_size_bytes}.",
            "Convert the checkpoint to half precision, or ask the operator for a larger limit.",
            pointer="/size_bytes",
        )


@contextmanager
def begun(store: ObjectStore, caller: Caller) -> Iterator[BegunUpload]:
    """Begun at the store, outside any transaction; given up there where no row comes of it in the block."""
    upload_id = new_id("upl")
    key = upload_key(caller.project_id, upload_id)
    upload = BegunUpload(id=upload_id, object_key=key, store_upload_id=store.create_multipart(key))
    try:
        yield upload
    finally:
        if not upload.has_row:
            store.abort_multipart(key, upload.store_upload_id)


def create(
    unit: UnitOfWork, caller: Caller, file: Announcement, begun: BegunUpload, limits: UploadSettings
) -> Upload:
    """Plan the parts and add the row."""
    part_size_bytes = plan_part_size(file.size_bytes, limits)
    row = unit.uploads.add(
        Upload(
            id=begun.id,
            project_id=caller.project_id,
            purpose=file.purpose,
            filename=file.filename,
            size_bytes=file.size_bytes,
            declared_sha256=file.sha256,
            declared=to_json(file.declared),
            part_size_bytes=part_size_bytes,
            num_parts=-(-file.size_bytes // part_size_bytes),
            object_key=begun.object_key,
            store_upload_id=begun.store_upload_id,
            state=UploadState.OPEN,
            expires_at=datetime.now(UTC) + timedelta(seconds=limits.expires_s),
        )
    )
    note(unit, caller, "upload.create", row.id)
    return row


def plan_part_size(size_bytes: int, limits: UploadSettings) -> int:
    """max(min_part_bytes, size / max_num_parts), rounded up to a whole MiB."""
    wanted = max(limits.min_part_bytes, -(-size_bytes // limits.max_num_parts))
    return -(-wanted // MIB) * MIB


def part_size(upload: Upload, number: int) -> int:
    """How many bytes part `number` (from 1) must have."""
    if number < upload.num_parts:
        return upload.part_size_bytes
    return upload.size_bytes - (upload.num_parts - 1) * upload.part_size_bytes


def check_open(upload: Upload) -> None:
    """Raise Conflict unless parts may still come."""
    if upload.state is not UploadState.OPEN:
        raise Conflict(
            "upload_state_conflict",
            f"The upload is {upload.state}.",
            "Create a new upload."
            if upload.state is not UploadState.COMPLETED
            else "There is nothing to do.",
        )


def upload_lost() -> Conflict:
    """The store has neither the parts of an open upload nor what they were to become."""
    return Conflict(
        "upload_lost",
        "The store no longer holds the parts of this upload.",
        "Create a new upload and send the file again.",
    )


def presign(
    store: ObjectStore, upload: Upload, numbers: Sequence[int], *, expires_s: int
) -> list[PresignedPart]:
    """URLs for these parts, each once. Raises Conflict unless open, InvalidInput outside the plan."""
    check_open(upload)
    for index, number in enumerate(numbers):
        if not 1 <= number <= upload.num_parts:
            raise InvalidInput(
                "upload_part_unknown",
                f"The upload has parts 1 to {upload.num_parts}.",
                "Ask for parts of the plan only.",
                pointer=f"/numbers/{index}",
            )
    assert upload.store_upload_id is not None
    expires_at = datetime.now(UTC) + timedelta(seconds=expires_s)
    parts = []
    for number in sorted(set(numbers)):
        size_bytes = part_size(upload, number)
        url = store.presign_part(
            upload.object_key, upload.store_upload_id, number, size_bytes=size_bytes, expires_s=expires_s
        )
        parts.append(PresignedPart(number=number, size_bytes=size_bytes, url=url, expires_at=expires_at))
    return parts


def first_numbers(upload: Upload) -> range:
    """The parts whose URLs come with the answer to creating the upload."""
    return range(1, min(upload.num_parts, MAX_PARTS_PER_BATCH) + 1)


def check_digest(upload: Upload, sha256: str | None, pointer: str | None = "/sha256") -> None:
    """Raise InvalidInput (`upload_digest_mismatch`) where another was declared, or it is too late.

    Asked before anything is put together, so that a refusal leaves the parts to be sent again.
    `pointer`: of the field that says it, None where the bytes themselves do.
    """
    if sha256 is not None and upload.declared_sha256 not in (None, sha256):
        raise InvalidInput(
            "upload_digest_mismatch",
            f"The SHA-256 is {sha256}, not the one that was declared for this upload.",
            "Send the announced file and its digest, or create a new upload.",
            pointer=pointer,
        )
    if sha256 is not None and upload.declared_sha256 is None and upload.state is UploadState.COMPLETED:
        raise InvalidInput(
            "upload_digest_mismatch",
            "The upload was completed without a SHA-256; it is too late to declare one.",
            "Compare with the SHA-256 of the checkpoint once it is inspected, or create a new upload.",
            pointer=pointer,
        )


def wrong_size(upload: Upload, found: str) -> InvalidInput:
    """Refuses bytes that are not as many as were declared; `found` is what there is, as half a sentence."""
    return InvalidInput(
        "upload_size_mismatch",
        f"{upload.size_bytes} bytes were declared; {found}.",
        "Send the announced file, in parts cut as planned; or create an upload with the file's size.",
    )


def stored_parts(store: ObjectStore, upload: Upload) -> list[Part]:
    """What the store holds of an open upload."""
    if upload.state is not UploadState.OPEN or upload.store_upload_id is None:
        return []
    try:
        return store.list_parts(upload.object_key, upload.store_upload_id)
    except UploadNotFound:
        return []


def finish(
    unit: UnitOfWork, caller: Caller, upload_id: str, *, sha256: str | None
) -> tuple[Upload, Job | None]:
    """Record that the bytes are complete; a checkpoint becomes a row with its inspect job, in quarantine.

    `sha256` is what the inspection will hold the bytes against, where none was declared at the start.
    Safe to repeat: a completed upload comes back as it is, without a job. Raises NotFound, Conflict, and
    InvalidInput (`upload_digest_mismatch`) where another digest was declared.
    """
    upload = unit.uploads.get(caller.project_id, upload_id, for_update=True)
    check_digest(upload, sha256)
    if upload.state is UploadState.COMPLETED:
        return upload, None
    check_open(upload)
    upload.declared_sha256 = upload.declared_sha256 or sha256
    upload.state = UploadState.COMPLETED
    upload.completed_at = datetime.now(UTC)
    job = begin_inspection(unit, upload) if upload.purpose is UploadPurpose.CHECKPOINT else None
    note(unit, caller, "upload.complete", upload.id)
    unit.flush()
    return upload, job


def begin_inspection(unit: UnitOfWork, upload: Upload, source: dict[str, Any] | None = None) -> Job:
    """The checkpoint that a completed upload becomes, and the job that decides on it. `source`: where that
    job fetches the bytes first."""
    checkpoint = unit.checkpoints.add(
        Checkpoint(
            id=new_id("ckpt"),
            project_id=upload.project_id,
            upload_id=upload.id,
            filename=upload.filename,
            size_bytes=upload.size_bytes,
            declared=upload.declared,
            upload_object_key=upload.object_key,
            source=source,
        )
    )
    upload.checkpoint_id = checkpoint.id
    job = unit.jobs.enqueue(
        Job(
            id=new_id("job"),
            project_id=upload.project_id,
            kind=JobKind.INSPECT,
            checkpoint_id=checkpoint.id,
            spec={},
        )
    )
    checkpoint.inspect_job_id = job.id
    return job


def cancel(unit: UnitOfWork, caller: Caller, upload_id: str) -> Upload:
    """Mark as cancelled; `discard` then removes the bytes. Again: unchanged. Raises NotFound, Conflict."""
    upload = unit.uploads.get(caller.project_id, upload_id, for_update=True)
    if upload.state is UploadState.CANCELLED:
        return upload
    check_open(upload)
    upload.state = UploadState.CANCELLED
    note(unit, caller, "upload.cancel", upload.id)
    return upload


def discard(store: ObjectStore, upload: Upload) -> None:
    """Remove the bytes of an upload that was given up: the object, and parts of every attempt to send it."""
    store.purge(upload.object_key)
