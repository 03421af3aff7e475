"""Checkpoints: the list with the forms to upload or name one, and what the inspection found of each."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from app.db.models.assets import Checkpoint
from app.db.models.job import Job
from app.db.unit_of_work import UnitOfWork
from app.domain.errors import Conflict, DomainError, NotFound
from app.domain.states import CheckpointState, UploadPurpose
from app.domain.verdicts import MOST_SHOWN, VerdictStage
from app.edge.error_codes import status_of
from app.live.ports import Ports, PortsDep
from app.schemas.checkpoints import CheckpointOut
from app.services import checkpoints, deletions, sources
from app.web.data import declared
from app.web.kit.addresses import EMPTY_IS_NONE, CheckpointId, CheckpointPath, Cursor, DeletionId, seen_mark
from app.web.kit.once import FIELD, new_form, once
from app.web.kit.rendering import page, see_other
from app.web.kit.visitor import FormDep, Reader, Uploader, Visitor
from app.web.project.receipts import deletion_reported
from cleanclip.vocabulary.recipe import DeclaredOptions
from cleanclip.vocabulary.report_inputs import WHAT_DANGEROUS_MEANS

HERE = "/ui/checkpoints"
PER_PAGE = 25
MAX_JOBS = 20
MAX_OPEN_UPLOADS = 20
UNDECIDED = frozenset({CheckpointState.QUARANTINED, CheckpointState.SCANNING})

router = APIRouter()


@router.get("/checkpoints")
def show_checkpoints(
    *,
    request: Request,
    visitor: Reader,
    ports: PortsDep,
    after: Cursor = None,
    state: Annotated[CheckpointState | None, EMPTY_IS_NONE] = None,
    like: Annotated[CheckpointId | None, EMPTY_IS_NONE] = None,
    deleted: Annotated[DeletionId | None, EMPTY_IS_NONE] = None,
) -> Response:
    """Newest first, the forms above. `like`: a checkpoint whose declaration the form begins with."""
    return _listed(request, visitor, ports, after=after, state=state, like=like, deleted=deleted)


@router.post("/checkpoints")
def fetch_checkpoint(request: Request, visitor: Uploader, form: FormDep, ports: PortsDep) -> Response:
    """Let the service fetch one, pressed once or twice; then its own page. What is refused is said in the
    form."""
    text = form.get("source").strip()
    try:
        checkpoint_id = _ordered(ports, visitor, text, form.get(FIELD))
    except DomainError as refusal:
        return _listed(request, visitor, ports, status=status_of(refusal), source=text, refusal=refusal)
    return see_other(f"{HERE}/{checkpoint_id}")


def _ordered(ports: Ports, visitor: Visitor, text: str, form_id: str) -> str:
    caller, settings = visitor.caller, ports.settings
    source = sources.allowed(
        text, project_id=caller.project_id, own_bucket=ports.store.bucket, settings=settings
    )
    file = sources.announced(
        source, max_size_bytes=None, sha256=None, declared=DeclaredOptions(), settings=settings
    )

    def work(unit: UnitOfWork) -> tuple[str, Job]:
        row, job = sources.order(unit, caller, text, file, settings)
        return row.id, job

    return once(ports, caller, path=HERE, form=form_id, content=text, work=work)


def _listed(
    request: Request,
    visitor: Visitor,
    ports: Ports,
    *,
    status: int = 200,
    after: str | None = None,
    state: CheckpointState | None = None,
    like: str | None = None,
    deleted: str | None = None,
    source: str = "",
    refusal: DomainError | None = None,
) -> Response:
    project_id = visitor.caller.project_id
    with ports.database.unit_of_work(project_id) as unit:
        rows, has_more = unit.checkpoints.page(project_id, after, PER_PAGE, state=state)
        judged = checkpoints.worst_verdicts(unit, project_id, rows)
        may_upload = visitor.may("upload")
        open_uploads, has_more_open = (
            unit.uploads.open_of(project_id, UploadPurpose.CHECKPOINT, MAX_OPEN_UPLOADS)
            if may_upload
            else ((), False)
        )
        model = _like(unit, project_id, like) if may_upload else None
        deletion = deletion_reported(unit, project_id, deleted)
    return page(
        request,
        "checkpoints.html",
        status,
        hosts=ports.settings.sources.allowed_hosts,
        source=source,
        refusal=refusal,
        form_id=new_form(),
        checkpoints=[CheckpointOut.of(row, found) for row, found in zip(rows, judged, strict=True)],
        has_more=has_more,
        after=after,
        state=state,
        states=list(CheckpointState),
        open_uploads=open_uploads,
        has_more_open=has_more_open,
        model=model,
        declared=_declared_texts(model),
        fields=declared.FIELDS,
        prefix=declared.PREFIX,
        deletion=deletion,
        max_bytes=ports.settings.uploads.max_size_bytes,
        expires_s=ports.settings.uploads.expires_s,
    )


def _like(unit: UnitOfWork, project_id: str, checkpoint_id: str | None) -> Checkpoint | None:
    try:
        return unit.checkpoints.get(project_id, checkpoint_id) if checkpoint_id else None
    except NotFound:
        return None


def _declared_texts(model: Checkpoint | None) -> Mapping[str, str]:
    return declared.declared_texts(model.declared or {}) if model is not None else {}


@router.get("/checkpoints/{checkpoint_id}")
def show_checkpoint(
    checkpoint_id: CheckpointPath, request: Request, visitor: Reader, ports: PortsDep
) -> Response:
    """Whole; while it is inspected its state is asked for again and again."""
    with ports.database.unit_of_work(visitor.caller.project_id) as unit:
        values = _values(unit, visitor, checkpoint_id)
    return page(request, "checkpoint.html", **values, refusal=None)


@router.get("/checkpoints/{checkpoint_id}/part")
def show_checkpoint_part(
    *,
    checkpoint_id: CheckpointPath,
    request: Request,
    visitor: Reader,
    ports: PortsDep,
    seen: Annotated[str, Query(max_length=64)] = "",
) -> Response:
    """What can change, for htmx; nothing (204) while it is as the browser has `seen` it."""
    with ports.database.unit_of_work(visitor.caller.project_id) as unit:
        if _version(unit.checkpoints.get(visitor.caller.project_id, checkpoint_id)) == seen:
            return Response(status_code=204)
        values = _values(unit, visitor, checkpoint_id)
    return page(request, "checkpoint_part.html", **values)


@router.post("/checkpoints/{checkpoint_id}/delete")
def delete_checkpoint(
    *, checkpoint_id: CheckpointPath, request: Request, visitor: Uploader, form: FormDep, ports: PortsDep
) -> Response:
    """Refused while unfinished jobs read it; the page then says so."""
    del form
    try:
        with ports.database.unit_of_work(visitor.caller.project_id) as unit:
            receipt = deletions.delete_checkpoint(unit, visitor.caller, checkpoint_id).id
    except Conflict as refusal:
        with ports.database.unit_of_work(visitor.caller.project_id) as unit:
            values = _values(unit, visitor, checkpoint_id)
        return page(request, "checkpoint.html", 409, **values, refusal=refusal)
    return see_other(f"{HERE}?deleted={receipt}")


def _values(unit: UnitOfWork, visitor: Visitor, checkpoint_id: str) -> dict[str, Any]:
    project_id = visitor.caller.project_id
    row = unit.checkpoints.get(project_id, checkpoint_id)
    jobs, has_more_jobs = unit.jobs.about_checkpoint(project_id, row.id, MAX_JOBS)
    return {
        "checkpoint": CheckpointOut.of(row, unit.verdicts.on(project_id, row.weights_sha256, MOST_SHOWN)),
        "declared": declared.declared_texts(row.declared or {}),
        "labels": {field.name: field.label for field in declared.FIELDS},
        "jobs": jobs,
        "has_more_jobs": has_more_jobs,
        "what_dangerous_means": WHAT_DANGEROUS_MEANS,
        "stage": VerdictStage,
        "is_undecided": row.state in UNDECIDED and row.error is None,
        "version": _version(row),
    }


def _version(row: Checkpoint) -> str:
    return seen_mark(row.id, row.state, row.updated_at)
