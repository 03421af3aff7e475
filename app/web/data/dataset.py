"""One dataset: its validation as it goes on, what it holds, some samples, jobs that read it, its end."""

from dataclasses import dataclass

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.db.models.assets import Dataset
from app.db.models.job import Artifact, Job
from app.db.unit_of_work import UnitOfWork
from app.domain.dataset_references import MAX_SAMPLES_BYTES
from app.domain.errors import Conflict, InvalidInput, NotFound
from app.domain.states import JobPhase, JobState
from app.live.ports import Ports, PortsDep
from app.logs import get_logger
from app.schemas.datasets import DatasetOut, DatasetSamplesOut
from app.schemas.jobs import ProgressOut
from app.services import datasets, deletions
from app.storage.errors import StorageError
from app.web.kit.addresses import DatasetPath
from app.web.kit.fields import read_name_or_none
from app.web.kit.rendering import page, see_other
from app.web.kit.visitor import FormDep, Reader, Uploader, Visitor
from cleanclip.kinds.catalogue import KINDS
from cleanclip.vocabulary.skip_reasons import meaning

MAX_JOBS = 25
MAX_CLASSES = 200
"""In the table; a set may have 25,000."""

log = get_logger(__name__)
router = APIRouter()


@dataclass(frozen=True, kw_only=True)
class Validation:
    """How far the validation has come; `done` and `total` samples, where they are known."""

    sentence: str
    fraction: float | None
    done: int | None = None
    total: int | None = None
    rate: float | None = None
    eta_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Samples:
    """The samples of a ready dataset, or the sentence that stands in their place."""

    shown: DatasetSamplesOut | None
    instead: str | None = None


@dataclass(frozen=True, kw_only=True)
class Use:
    job: Job
    role: str


@router.get("/datasets/{dataset_id}")
def show_dataset(dataset_id: DatasetPath, request: Request, visitor: Reader, ports: PortsDep) -> Response:
    """The whole page."""
    return _page(request, visitor, ports, dataset_id)


@router.get("/datasets/{dataset_id}/part")
def show_part(dataset_id: DatasetPath, request: Request, visitor: Reader, ports: PortsDep) -> Response:
    """The part that changes, which the page asks for while the dataset is validated."""
    return _page(request, visitor, ports, dataset_id, template="dataset_part.html", is_part=True)


@router.post("/datasets/{dataset_id}/rename")
def rename_dataset(
    dataset_id: DatasetPath, request: Request, visitor: Uploader, form: FormDep, ports: PortsDep
) -> Response:
    """Back to its page."""
    try:
        name = read_name_or_none(form)
    except InvalidInput as error:
        return _page(request, visitor, ports, dataset_id, status=422, wrong_name=error.message)
    with ports.database.unit_of_work(visitor.caller.project_id) as unit:
        datasets.rename(unit, visitor.caller, dataset_id, name)
    return see_other(f"/ui/datasets/{dataset_id}")


@router.post("/datasets/{dataset_id}/delete")
def delete_dataset(
    dataset_id: DatasetPath, request: Request, visitor: Uploader, form: FormDep, ports: PortsDep
) -> Response:
    """Refused while unfinished jobs read it."""
    del form
    try:
        with ports.database.unit_of_work(visitor.caller.project_id) as unit:
            deletion = deletions.delete_dataset(unit, visitor.caller, dataset_id)
    except Conflict as error:
        return _page(request, visitor, ports, dataset_id, status=409, refused=error)
    return see_other(f"/ui/datasets?deleted={deletion.id}")


def _page(
    request: Request,
    visitor: Visitor,
    ports: Ports,
    dataset_id: str,
    *,
    template: str = "dataset.html",
    status: int = 200,
    is_part: bool = False,
    refused: Conflict | None = None,
    wrong_name: str | None = None,
) -> Response:
    project_id = visitor.caller.project_id
    with ports.database.unit_of_work(project_id) as unit:
        row = unit.datasets.get(project_id, dataset_id)
        validation = _validation(unit, row)
        file = _file_of_samples(unit, row)
        jobs = unit.jobs.using_dataset(project_id, row.id, MAX_JOBS)
    return page(
        request,
        template,
        status,
        dataset=DatasetOut.of(row),
        validation=validation,
        samples=_samples(ports, file),
        uses=[Use(job=job, role=_role(job, row)) for job in jobs],
        max_jobs=MAX_JOBS,
        max_classes=MAX_CLASSES,
        meaning=meaning,
        is_part=is_part,
        refused=refused,
        wrong_name=wrong_name,
    )


def _validation(unit: UnitOfWork, row: Dataset) -> Validation | None:
    if row.state != "validating" or row.validate_job_id is None:
        return None
    try:
        job = unit.jobs.get(row.project_id, row.validate_job_id)
    except NotFound:
        return None
    if job.state is JobState.QUEUED:
        again = "An attempt ended early; it is retried. " if job.attempts_used else ""
        return Validation(sentence=f"{again}It waits for a worker.", fraction=None)
    reported = ProgressOut.of(job.progress)
    counts = reported if job.phase is JobPhase.VALIDATE else ProgressOut()
    return Validation(
        sentence=f"{KINDS[job.kind].phase(job.phase).title}." if job.phase else "A worker has started it.",
        fraction=reported.fraction,
        done=counts.step,
        total=counts.total_steps,
        rate=counts.rate,
        eta_s=reported.eta_s,
    )


def _file_of_samples(unit: UnitOfWork, row: Dataset) -> Artifact | None:
    try:
        return datasets.samples_of(unit, row)
    except (NotFound, Conflict):
        return None


def _samples(ports: Ports, file: Artifact | None) -> Samples:
    if file is None:
        return Samples(
            shown=None,
            instead="It was validated before samples were kept. Register the data again to see samples.",
        )
    try:
        body = ports.store.read_bytes(file.object_key, max_bytes=MAX_SAMPLES_BYTES)
    except StorageError as error:  # the counts are worth a page without them
        log.warning("samples_unread", exc_info=error)
        return Samples(
            shown=None,
            instead="The object store does not answer at the moment. Reload the page in a few seconds.",
        )
    return Samples(shown=DatasetSamplesOut.model_validate_json(body))


def _role(job: Job, row: Dataset) -> str:
    named = (one for one in KINDS[job.kind].inputs if one.folder is None)
    return ", ".join(one.used_for for one in named if getattr(job, one.column) == row.id)
