"""Datasets: register a reference or an upload, read, list, delete. A validate job reads every sample.

At registration the store is asked only whether anything is there, with a bounded look; counting and
digests are the validate job's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from app.db.models.assets import Dataset
from app.db.models.job import Artifact, Job
from app.db.unit_of_work import UnitOfWork
from app.domain.dataset_references import (
    SAMPLES_NAME,
    DatasetReference,
    bucket_not_allowed,
    check_allowed,
    no_shards,
    parse_reference,
)
from app.domain.errors import Conflict, InvalidInput, NotFound
from app.domain.ids import new_id
from app.domain.states import DatasetKind, DatasetState, JobKind, UploadPurpose, UploadState
from app.services.api_keys import Caller
from app.services.trail import note
from app.settings import DatasetSettings
from app.storage.errors import AccessDenied, BucketNotFound, ObjectNotFound
from app.storage.port import ObjectStore

MAX_LOOKED_AT = 2000
"""Objects listed below a prefix before it counts as empty."""


@dataclass(frozen=True, kw_only=True)
class Registration:
    """What is to be registered; exactly one of `uri` and `upload_id`."""

    kind: DatasetKind
    name: str | None = None
    uri: str | None
    upload_id: str | None
    class_names: Sequence[str] | None
    templates: Sequence[str] | None
    max_skipped_share: float


def check_reference(store: ObjectStore, uri: str, limits: DatasetSettings, *, project_id: str) -> None:
    """Outside any transaction: the project may read it and something is there. Raises InvalidInput."""
    reference = parse_reference(uri, max_files=limits.max_num_shards)
    check_allowed(reference, limits.allowed_prefixes, project_id=project_id, own_bucket=store.bucket)
    try:
        is_there = _has_shards(store.in_bucket(reference.bucket), reference)
    except (BucketNotFound, AccessDenied) as error:
        raise bucket_not_allowed() from error
    if not is_there:
        raise no_shards()


def _has_shards(store: ObjectStore, reference: DatasetReference) -> bool:
    if reference.keys is None:
        looked_at = islice(store.list_prefix(reference.prefix), MAX_LOOKED_AT)
        return any(reference.holds(stored.key, is_labelled=False) for stored in looked_at)
    for key in {reference.keys[0], reference.keys[-1]}:
        try:
            store.head(key)
        except ObjectNotFound:
            return False
    return True


def create(unit: UnitOfWork, caller: Caller, wanted: Registration) -> tuple[Dataset, Job]:
    """Add the row and its validate job. Raises NotFound or Conflict for an upload that cannot be used."""
    if wanted.upload_id is not None:
        _check_upload(unit, caller, wanted.upload_id)
    dataset = unit.datasets.add(
        Dataset(
            id=new_id("ds"),
            project_id=caller.project_id,
            kind=wanted.kind,
            name=wanted.name,
            uri=wanted.uri,
            upload_id=wanted.upload_id,
            class_names=None if wanted.class_names is None else list(wanted.class_names),
            templates=None if wanted.templates is None else list(wanted.templates),
            max_skipped_share=wanted.max_skipped_share,
        )
    )
    job = unit.jobs.enqueue(
        Job(
            id=new_id("job"),
            project_id=caller.project_id,
            kind=JobKind.VALIDATE,
            dataset_id=dataset.id,
            spec={},
        )
    )
    dataset.validate_job_id = job.id
    note(unit, caller, "dataset.create", dataset.id)
    unit.flush()
    return dataset, job


def _check_upload(unit: UnitOfWork, caller: Caller, upload_id: str) -> None:
    upload = unit.uploads.get(caller.project_id, upload_id, for_update=True)  # not swept meanwhile
    if upload.purpose is not UploadPurpose.DATASET:
        raise Conflict(
            "dataset_upload_unusable",
            "The upload was created for a checkpoint.",
            "Create an upload with purpose 'dataset'.",
            pointer="/upload_id",
        )
    if upload.state is not UploadState.COMPLETED:
        raise Conflict(
            "dataset_upload_unusable",
            f"The upload is {upload.state}, not completed.",
            "Complete the upload first.",
            pointer="/upload_id",
        )


def samples_of(unit: UnitOfWork, dataset: Dataset) -> Artifact:
    """The file of its samples. Raises NotFound; Conflict while the dataset is being validated."""
    if dataset.state is DatasetState.VALIDATING:
        raise Conflict(
            "dataset_not_ready",
            "The dataset is being validated; samples are drawn from the whole of it.",
            "Wait until it is ready; where it was rejected, its `error` says why.",
            retry_after_s=5,
        )
    found = (
        unit.artifacts.named(dataset.project_id, dataset.validate_job_id, SAMPLES_NAME)
        if dataset.validate_job_id is not None
        else None
    )
    if found is None:
        raise NotFound(
            "samples_not_found",
            "The dataset has no samples: it was rejected, or it was validated before the "
            "service kept samples.",
            "Register the data again to see samples.",
        )
    return found


def rename(unit: UnitOfWork, caller: Caller, dataset_id: str, name: str | None) -> Dataset:
    """Give it another name; None takes the name away. Raises NotFound."""
    row = unit.datasets.get(caller.project_id, dataset_id, for_update=True)
    row.name = name
    note(unit, caller, "dataset.rename", row.id)
    unit.flush()
    return row


def delete(unit: UnitOfWork, caller: Caller, dataset_id: str) -> Dataset:
    """Mark as deleted. A running validation is cancelled; jobs stand in the way.

    Raises NotFound; Conflict (`dataset_in_use`).
    """
    row = unit.datasets.get(caller.project_id, dataset_id, for_update=True)
    using = [job_id for job_id in unit.jobs.active_using_dataset(row.id) if job_id != row.validate_job_id]
    if using:
        raise Conflict(
            "dataset_in_use",
            f"An unfinished job reads the dataset: {using[0]}."
            if len(using) == 1
            else f"{len(using)} unfinished jobs read the dataset, {using[0]} among them.",
            "Cancel them or wait for their end.",
        )
    is_undecided = row.state is DatasetState.VALIDATING and row.error is None  # else it was given up
    if row.validate_job_id and is_undecided:
        unit.jobs.request_cancel(caller.project_id, row.validate_job_id)
    note(unit, caller, "dataset.delete", row.id)
    return unit.datasets.delete(caller.project_id, dataset_id)


def _without_captions(dataset: Dataset, pointer: str) -> str:
    """What images can do that have no captions, where they were given to be trained on."""
    if dataset.kind is not DatasetKind.LABELLED or pointer != "/dataset_id":
        return ""
    return " To train on images alone, order uar with trained_on: labelled_images."


def check_usable(dataset: Dataset, kind: DatasetKind | None, pointer: str) -> None:
    """Raise InvalidInput for the wrong kind (None: any will do), Conflict unless ready."""
    if kind is not None and dataset.kind is not kind:
        raise InvalidInput(
            "dataset_wrong_kind",
            f"The dataset is of kind '{dataset.kind}'; '{kind}' is needed here.",
            f"Give the id of a dataset of kind '{kind}'.{_without_captions(dataset, pointer)}",
            pointer=pointer,
        )
    if dataset.state is not DatasetState.READY:
        raise Conflict(
            "dataset_not_ready",
            f"The dataset is {dataset.state}.",
            "Wait until it is ready."
            if dataset.state is DatasetState.VALIDATING
            else "Its error says why; repair the data and register it again.",
            pointer=pointer,
        )
