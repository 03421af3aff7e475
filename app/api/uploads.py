"""Routes of uploads: announce, URLs of parts, the streaming fallback, complete, cancel."""

from typing import Annotated

from fastapi import APIRouter, Body, Request
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from app.api.answers import json_answer, refusals
from app.api.auth import Reader, Uploader
from app.api.deletions import deletion_answer
from app.api.idempotency import REPLAYED, Once, OnceDep
from app.api.paths import UploadPath
from app.db.models.assets import Upload
from app.domain.states import UploadPurpose, UploadState
from app.live.ports import Ports, PortsDep
from app.logs import get_logger
from app.schemas.deletions import DeletionOut
from app.schemas.uploads import CompleteIn, PartOut, PartsIn, PartsOut, StoredPartOut, UploadIn, UploadOut
from app.services import deletions, quotas, upload_assembly, upload_completion, upload_content, uploads
from app.services.api_keys import Caller
from app.services.trail import note
from app.services.upload_assembly import ClaimedPart
from app.services.uploads import Announcement
from cleanclip.vocabulary.recipe import DeclaredOptions

router = APIRouter(prefix="/v1/uploads", tags=["uploads"])
log = get_logger(__name__)


@router.post(
    "",
    summary="Create an upload and get the plan of its parts",
    status_code=201,
    response_model=UploadOut,
    responses=refusals(409, 413, 422),
)
def create_upload(body: UploadIn, caller: Uploader, ports: PortsDep, once: OnceDep) -> Response:
    """The answer holds the URLs of the first parts (at most a hundred); request the others when you need
    them."""
    file = Announcement(
        filename=body.filename,
        size_bytes=body.size_bytes,
        sha256=body.sha256,
        purpose=UploadPurpose(body.purpose),
        declared=body.declared or DeclaredOptions(),
    )
    uploads.check_size(file, ports.settings.uploads)
    with ports.database.unit_of_work(caller.project_id) as unit:
        if (answer := once.glance(unit, caller)) is not None:
            row = unit.uploads.get(caller.project_id, UploadOut.model_validate_json(bytes(answer.body)).id)
    if answer is None:
        row, answer = _create(ports, caller, once, file)
    return _with_first_urls(ports, row, answer)


def _create(ports: Ports, caller: Caller, once: Once, file: Announcement) -> tuple[Upload, Response]:
    with uploads.begun(ports.store, caller) as begun:
        with ports.database.unit_of_work(caller.project_id) as unit:
            if (answer := once.seen(unit, caller)) is not None:  # another request was quicker
                known = UploadOut.model_validate_json(bytes(answer.body)).id
                return unit.uploads.get(caller.project_id, known), answer
            quotas.check_new_upload(unit, caller.project_id, file.size_bytes, ports.settings.quotas)
            row = uploads.create(unit, caller, file, begun, ports.settings.uploads)
            headers = {"Location": f"/v1/uploads/{row.id}"}
            answer = once.keep(unit, UploadOut.of(row), status=201, headers=headers)
        begun.has_row = True
    return row, answer


def _with_first_urls(ports: Ports, upload: Upload, answer: Response) -> Response:
    """The answer with fresh URLs; they are short-lived and therefore not part of what is stored."""
    if upload.state is not UploadState.OPEN:
        return answer
    parts = _urls(ports, upload, uploads.first_numbers(upload))
    body = UploadOut.model_validate_json(bytes(answer.body)).model_copy(update={"parts": parts})
    kept = {name: answer.headers[name] for name in ("Location", REPLAYED) if name in answer.headers}
    return json_answer(body, status=answer.status_code, headers=kept)


def _urls(ports: Ports, upload: Upload, numbers: list[int] | range) -> list[PartOut]:
    expires_s = ports.settings.uploads.part_url_expires_s
    return [
        PartOut(number=part.number, size_bytes=part.size_bytes, url=part.url, expires_at=part.expires_at)
        for part in uploads.presign(ports.store, upload, numbers, expires_s=expires_s)
    ]


def _read(ports: Ports, caller: Caller, upload_id: str) -> Upload:
    with ports.database.unit_of_work(caller.project_id) as unit:
        return unit.uploads.get(caller.project_id, upload_id)


@router.post(
    "/{upload_id}/parts",
    summary="URLs of a batch of parts",
    response_model=PartsOut,
    responses=refusals(404, 409, 413, 422),
)
def presign_upload_parts(upload_id: UploadPath, body: PartsIn, caller: Uploader, ports: PortsDep) -> Response:
    """Each URL accepts one part, for fifteen minutes; a part that is sent again replaces the one before.
    Nothing is created, so no Idempotency-Key is needed: every call makes new URLs."""
    with ports.database.unit_of_work(caller.project_id) as unit:
        upload = unit.uploads.get(caller.project_id, upload_id)
        parts = _urls(ports, upload, body.numbers)  # signed here; the store is not asked
        note(unit, caller, "upload.parts", upload.id)
    return json_answer(PartsOut(upload_id=upload.id, parts=parts))


@router.get(
    "/{upload_id}",
    summary="The state of an upload, with the parts that are stored",
    response_model=UploadOut,
    responses=refusals(404),
)
def get_upload(upload_id: UploadPath, caller: Reader, ports: PortsDep) -> Response:
    """To resume: send the parts of the plan that `stored_parts` does not list."""
    upload = _read(ports, caller, upload_id)
    stored = [
        StoredPartOut(number=part.number, size_bytes=part.size_bytes, etag=part.etag)
        for part in uploads.stored_parts(ports.store, upload)
    ]
    return json_answer(UploadOut.of(upload).model_copy(update={"stored_parts": stored}))


@router.put(
    "/{upload_id}/content",
    summary="The whole file in one request",
    response_model=UploadOut,
    responses=refusals(404, 409, 422),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def put_upload_content(
    upload_id: UploadPath, request: Request, caller: Uploader, ports: PortsDep
) -> Response:
    """For `curl -T FILE`.

    It streams the file and replaces parts that were sent before. Complete the upload afterwards. The number
    of parallel streams is limited (`uploads_busy`), and a stream must not be too slow (`upload_stalled`).
    """
    upload = await run_in_threadpool(_read, ports, caller, upload_id)
    announced = request.headers.get("content-length", "")
    with ports.upload_slots.one_for(caller.project_id):
        try:
            received = await upload_content.receive(
                ports.database,
                ports.store,
                caller,
                upload,
                upload_content.briskly(request.stream(), ports.settings.uploads),
                announced_bytes=int(announced) if announced.isdecimal() else None,
            )
        except ClientDisconnect:
            log.info("upload_cut", upload_id=upload_id)
            return Response(status_code=499)  # nobody hears it; nothing was left at the store
    return json_answer(UploadOut.of(received))


@router.post(
    "/{upload_id}/complete",
    summary="Complete an upload whose parts are all sent",
    response_model=UploadOut,
    responses=refusals(404, 409, 413, 422),
)
def complete_upload(
    upload_id: UploadPath,
    caller: Uploader,
    ports: PortsDep,
    once: OnceDep,
    body: Annotated[CompleteIn | None, Body()] = None,
) -> Response:
    """Checks that every part is there and has its size. A checkpoint then waits in quarantine for its
    inspection, which also compares the bytes with the SHA-256 that was declared here or at creation.
    A second call gives the same answer."""
    sha256 = None if body is None else body.sha256
    defaults = ports.settings.quotas
    with ports.database.unit_of_work(caller.project_id) as unit:
        if (answer := once.glance(unit, caller)) is not None:
            return answer
        upload = upload_completion.check(unit, caller, upload_id, sha256=sha256, defaults=defaults)
    if upload.state is not UploadState.COMPLETED:
        claimed = None if body is None or body.parts is None else body.parts
        upload_assembly.assemble(
            ports.store,
            upload,
            None if claimed is None else [ClaimedPart(number=p.number, etag=p.etag) for p in claimed],
        )
    return _finish(ports, caller, upload, once, sha256=sha256)


def _finish(ports: Ports, caller: Caller, upload: Upload, once: Once, *, sha256: str | None) -> Response:
    with (
        upload_completion.discarded_if_given_up(ports.store, upload),
        ports.database.unit_of_work(caller.project_id) as unit,
    ):
        if (answer := once.seen(unit, caller)) is not None:
            return answer
        row, job = upload_completion.finish(
            unit, caller, upload.id, sha256=sha256, defaults=ports.settings.quotas
        )
        answer = once.keep(unit, UploadOut.of(row), status=200)
    ports.hint(job)
    return answer


@router.post(
    "/{upload_id}/cancel",
    summary="Cancel an upload",
    response_model=UploadOut,
    responses=refusals(404, 409),
)
def cancel_upload(upload_id: UploadPath, caller: Uploader, ports: PortsDep, once: OnceDep) -> Response:
    """Parts that were sent are deleted. A completed upload cannot be cancelled: delete its checkpoint."""
    with ports.database.unit_of_work(caller.project_id) as unit:
        if (answer := once.seen(unit, caller)) is not None:
            return answer
        row = uploads.cancel(unit, caller, upload_id)
        answer = once.keep(unit, UploadOut.of(row), status=200)
    uploads.discard(ports.store, row)
    return answer


@router.delete(
    "/{upload_id}",
    summary="Delete an upload and its bytes",
    status_code=202,
    response_model=DeletionOut,
    responses=refusals(404, 409),
)
def delete_upload(upload_id: UploadPath, caller: Uploader, ports: PortsDep) -> Response:
    """An open upload is cancelled. If it became a checkpoint or a dataset, delete that instead."""
    with ports.database.unit_of_work(caller.project_id) as unit:
        row = deletions.delete_upload(unit, caller, upload_id)
    return deletion_answer(row)
