"""Checkpoints that are named instead of sent: ordered here, fetched by the job that inspects them."""

from datetime import UTC, datetime

from app.db.models.assets import Checkpoint, Upload
from app.db.models.job import Job
from app.db.unit_of_work import UnitOfWork
from app.domain.ids import new_id
from app.domain.object_keys import upload_key
from app.domain.sources import Source, SourceRules, name_of, parse_source
from app.domain.states import UploadPurpose, UploadState
from app.domain.webhook_urls import ReachRules
from app.services import quotas, uploads
from app.services.api_keys import Caller
from app.services.trail import note
from app.services.uploads import Announcement
from app.settings import Settings
from cleanclip.vocabulary.recipe import DeclaredOptions, to_json


def allowed(text: str, *, project_id: str, own_bucket: str | None, settings: Settings) -> Source:
    """What the text names, if this installation fetches it for the project. Raises InvalidInput, Conflict as
    `parse_source` and `SourceRules.check` do."""
    source, of_sources = parse_source(text), settings.sources
    rules = SourceRules(
        reach=ReachRules(
            allow_loopback=of_sources.allow_loopback, denied_networks=of_sources.denied_networks
        ),
        hub_url=of_sources.hub_url,
        allowed_hosts=of_sources.allowed_hosts,
        allowed_prefixes=settings.datasets.allowed_prefixes,
    )
    rules.check(source, project_id=project_id, own_bucket=own_bucket)
    return source


def announced(
    source: Source,
    *,
    max_size_bytes: int | None,
    sha256: str | None,
    declared: DeclaredOptions,
    settings: Settings,
) -> Announcement:
    """As of an upload, with the most bytes that it may have. Raises TooLarge."""
    file = Announcement(
        filename=name_of(source),
        size_bytes=max_size_bytes or settings.uploads.max_size_bytes,
        sha256=sha256,
        purpose=UploadPurpose.CHECKPOINT,
        declared=declared,
    )
    uploads.check_size(file, settings.uploads)
    return file


def order(
    unit: UnitOfWork, caller: Caller, text: str, file: Announcement, settings: Settings
) -> tuple[Checkpoint, Job]:
    """A checkpoint without bytes, and the job that fetches and inspects it. Until then it counts with the
    most bytes that it may have. Raises QuotaExceeded."""
    quotas.check_new_upload(unit, caller.project_id, file.size_bytes, settings.quotas)
    quotas.check_place(unit, caller.project_id, settings.quotas)
    now, upload_id = datetime.now(UTC), new_id("upl")
    upload = unit.uploads.add(
        Upload(
            id=upload_id,
            project_id=caller.project_id,
            purpose=file.purpose,
            filename=file.filename,
            size_bytes=file.size_bytes,
            declared_sha256=file.sha256,
            declared=to_json(file.declared),
            part_size_bytes=0,
            num_parts=0,
            object_key=upload_key(caller.project_id, upload_id),
            state=UploadState.COMPLETED,
            expires_at=now,
            completed_at=now,
        )
    )
    job = uploads.begin_inspection(unit, upload, {"ordered": text})
    note(unit, caller, "checkpoint.create", str(job.checkpoint_id))
    unit.flush()
    return unit.checkpoints.get(caller.project_id, str(job.checkpoint_id)), job
