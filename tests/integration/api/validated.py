"""What the validation of a dataset leaves beside its summary, by hand: its job, and samples to look at."""

import hashlib
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from app.db.models.job import Artifact, Job
from app.db.session import Database
from app.db.unit_of_work import UnitOfWork
from app.domain.dataset_references import SAMPLES_NAME, DatasetSample, DatasetSamples
from app.domain.ids import new_id
from app.domain.object_keys import in_prefix, output_attempt_prefix
from app.domain.states import JobKind, JobState
from app.storage.port import ObjectStore
from tests.integration.api.service import Service

GREY_JPEG = (
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDACgcHiMeGSgjISMtKygwPGRBPDc3PHtYXUlkkYCZlo+AjIqgtObDoKrarYqMyP/L"
    "2u71////m8H////6/+b9//j/wAALCAAoADwBAREA/8QAFQABAQAAAAAAAAAAAAAAAAAAAAL/xAAUEAEAAAAAAAAAAAAAAAAA"
    "AAAA/9oACAEBAAA/AJAAAAAAAAAAAAAf/9k="
)
"""60 x 40 pixels, in base64: no test of the service needs a library for pictures."""


def sample(index: int, **texts: Any) -> DatasetSample:
    """A pair or, with `label`, a labelled image, as a worker publishes it."""
    values = {"key": f"{index:08d}", "caption": None, "label": None, "class_name": None}
    if "label" not in texts:
        values["caption"] = f"the image number {index}"
    return DatasetSample(index=index, width=60, height=40, jpeg_base64=GREY_JPEG, **(values | texts))


def validation_of(service: Service, dataset_id: str, *, project_id: str | None = None, **values: Any) -> str:
    """The dataset's validate job, queued unless `values` (as of `Service.set_job`) say otherwise; its id."""
    project = project_id or service.ours.project_id
    with service.database.unit_of_work() as unit:
        job_id = _validate(unit, project, dataset_id)
    if values:
        state = JobState(values.pop("state", JobState.QUEUED))
        service.set_job(job_id, state, **values)
    return job_id


def give_samples(
    service: Service, dataset_id: str, *samples: DatasetSample, project_id: str | None = None
) -> Mapping[str, str]:
    """`publish_samples` for a dataset of the service's project, or of `project_id`."""
    project = project_id or service.ours.project_id
    return publish_samples(service.database, service.store, project, dataset_id, *samples)


def publish_samples(
    database: Database, store: ObjectStore, project_id: str, dataset_id: str, *samples: DatasetSample
) -> Mapping[str, str]:
    """As a worker publishes them; ids of the validate `job` and the artifact, and the `key` of the object."""
    body = TypeAdapter(DatasetSamples).dump_json(DatasetSamples(seed=0, samples=samples))
    with database.unit_of_work() as unit:
        job_id = _validate(unit, project_id, dataset_id)
        key = in_prefix(output_attempt_prefix(project_id, job_id, 1), SAMPLES_NAME)
        store.put_bytes(key, body, content_type="application/json")
        job = unit.jobs.get(project_id, job_id, for_update=True)
        job.state, job.attempt = JobState.SUCCEEDED, 1
        row = Artifact(
            id=new_id("art"),
            project_id=project_id,
            job_id=job_id,
            attempt=1,
            name=SAMPLES_NAME,
            object_key=key,
            size_bytes=len(body),
            sha256=hashlib.sha256(body).hexdigest(),
            media_type="application/json",
        )
        unit.artifacts.add(row)
    return {"job": job_id, "artifact": row.id, "key": key}


def _validate(unit: UnitOfWork, project_id: str, dataset_id: str) -> str:
    """Queue the job that validates the dataset; its id."""
    job = unit.jobs.enqueue(
        Job(
            id=new_id("job"),
            project_id=project_id,
            kind=JobKind.VALIDATE,
            dataset_id=dataset_id,
            spec={"version": 1},
        )
    )
    unit.datasets.get(project_id, dataset_id, for_update=True).validate_job_id = job.id
    return job.id
