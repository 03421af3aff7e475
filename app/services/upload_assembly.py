"""Putting an upload together: every part there, each of its planned size, then one object at the store.

Safe to repeat at every point: what the store has finished already is recognised by its size. Writes no row.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from app.db.models.assets import Upload
from app.domain.errors import Conflict
from app.services.uploads import check_open, part_size, upload_lost, wrong_size
from app.storage.errors import ObjectNotFound, PartsRefused, PreconditionFailed, SizeMismatch, UploadNotFound
from app.storage.port import ObjectStore, Part

_NAMED_IN_MESSAGE = 20


@dataclass(frozen=True, kw_only=True)
class ClaimedPart:
    """A part as the client believes it to be stored."""

    number: int
    etag: str


def assemble(store: ObjectStore, upload: Upload, claimed: Sequence[ClaimedPart] | None) -> None:
    """Make one object of the stored parts, unless that has been done already.

    Raises Conflict (`upload_parts_missing`, `upload_part_mismatch`, `upload_lost`), InvalidInput
    (`upload_size_mismatch`). Whatever is refused leaves the parts where they are, but for parts larger than
    planned, which only a store that ignores a signed length takes: those bytes count in no quota and go.
    """
    check_open(upload)
    if upload.store_upload_id is None:
        raise _missing(range(1, upload.num_parts + 1))
    try:
        parts = store.list_parts(upload.object_key, upload.store_upload_id)
        _discard_oversized(store, upload, parts)
        _check_parts(upload, parts, claimed)
        store.complete_multipart(
            upload.object_key, upload.store_upload_id, parts, size_bytes=upload.size_bytes
        )
    except (UploadNotFound, PreconditionFailed) as gone:
        _check_assembled(store, upload, gone)
    except SizeMismatch as error:
        raise wrong_size(upload, f"{error.stored_bytes} are stored") from error
    except PartsRefused as error:
        raise _changed("The store refused the parts: they changed in the meantime.", None) from error
    for key, other in store.list_unfinished(upload.object_key):  # left where the API was killed in a PUT
        store.abort_multipart(key, other)


def _check_assembled(store: ObjectStore, upload: Upload, cause: Exception) -> None:
    try:
        stored_bytes = store.head(upload.object_key).size_bytes
    except ObjectNotFound:
        raise upload_lost() from cause
    if stored_bytes != upload.size_bytes:
        raise wrong_size(upload, f"{stored_bytes} are stored") from cause


def _discard_oversized(store: ObjectStore, upload: Upload, parts: Sequence[Part]) -> None:
    for part in parts:
        if part.number > upload.num_parts or part.size_bytes > part_size(upload, part.number):
            assert upload.store_upload_id is not None
            store.abort_multipart(upload.object_key, upload.store_upload_id)
            found = f"part {part.number} has {part.size_bytes}, more than planned; all parts were deleted"
            raise wrong_size(upload, found)


def _check_parts(upload: Upload, parts: Sequence[Part], claimed: Sequence[ClaimedPart] | None) -> None:
    stored = {part.number: part for part in parts}
    if missing := [number for number in range(1, upload.num_parts + 1) if number not in stored]:
        raise _missing(missing)
    for part in parts:
        if part.size_bytes != part_size(upload, part.number):
            planned = part_size(upload, part.number)
            raise wrong_size(upload, f"part {part.number} has {part.size_bytes}, not {planned} as planned")
    for index, claim in enumerate(claimed or ()):
        held = stored.get(claim.number)
        if held is None or held.etag.strip('"') != claim.etag.strip('"'):
            raise _changed(f"Part {claim.number} is not stored with the ETag given.", f"/parts/{index}/etag")


def _missing(numbers: Sequence[int]) -> Conflict:
    shown = ", ".join(str(number) for number in numbers[:_NAMED_IN_MESSAGE])
    more = f" and {len(numbers) - _NAMED_IN_MESSAGE} more" if len(numbers) > _NAMED_IN_MESSAGE else ""
    return Conflict(
        "upload_parts_missing",
        f"Parts are missing: {shown}{more}.",
        "Send them and complete again; GET the upload lists the parts that are stored.",
    )


def _changed(message: str, pointer: str | None) -> Conflict:
    return Conflict(
        "upload_part_mismatch", message, "Send the part again and complete again.", pointer=pointer
    )
