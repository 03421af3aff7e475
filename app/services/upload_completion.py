"""Completing an upload from end to end, for every way in: quota, digest, the object, the row, its inspection.

    check → upload_assembly.assemble → finish, inside `discarded_if_given_up`

Units of work are the caller's, because what else belongs into them is (idempotency, the trail).
"""

from collections.abc import Iterator
from contextlib import contextmanager

from app.db.models.assets import Upload
from app.db.models.job import Job
from app.db.unit_of_work import UnitOfWork
from app.domain.errors import Conflict, NotFound
from app.domain.states import UploadPurpose, UploadState
from app.services import quotas, uploads
from app.services.api_keys import Caller
from app.settings import QuotaSettings
from app.storage.port import ObjectStore

_GIVEN_UP = {"upload_state_conflict", "upload_not_found"}
"""Refusals of an upload that was cancelled, expired or deleted while it was put together."""


def check(
    unit: UnitOfWork, caller: Caller, upload_id: str, *, sha256: str | None, defaults: QuotaSettings
) -> Upload:
    """The upload, if it may be put together now: refused while its parts are still parts.

    Raises NotFound, QuotaExceeded, InvalidInput (`upload_digest_mismatch`).
    """
    upload = unit.uploads.get(caller.project_id, upload_id)
    if upload.purpose is UploadPurpose.CHECKPOINT and upload.state is UploadState.OPEN:
        quotas.check_place(unit, caller.project_id, defaults)
    uploads.check_digest(upload, sha256)
    return upload


def finish(
    unit: UnitOfWork, caller: Caller, upload_id: str, *, sha256: str | None, defaults: QuotaSettings
) -> tuple[Upload, Job | None]:
    """`uploads.finish` for an inspection that has a place in the queue. Raises QuotaExceeded besides."""
    unit.quotas.hold(caller.project_id)
    row, job = uploads.finish(unit, caller, upload_id, sha256=sha256)
    quotas.check_queued(unit, caller.project_id, defaults, job)
    return row, job


@contextmanager
def discarded_if_given_up(store: ObjectStore, upload: Upload) -> Iterator[None]:
    """Takes away what was put together of an upload that was given up meanwhile."""
    try:
        yield
    except (Conflict, NotFound) as refusal:
        if refusal.code in _GIVEN_UP:
            uploads.discard(store, upload)
        raise
