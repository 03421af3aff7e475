"""What the script that sends a file in parts asks of us, as JSON. The bytes go from the browser to the store.

The same use cases as the API's uploads. Every call is of the session, and what changes something carries its
form token; a refusal is JSON (app.web.jobs.failures) for whoever accepts JSON only.
"""

from typing import Any

from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.responses import JSONResponse, Response

from app.db.models.assets import Upload
from app.domain.errors import InvalidInput
from app.domain.states import UploadPurpose, UploadState
from app.live.ports import Ports, PortsDep
from app.schemas.uploads import CompleteIn, PartsIn, UploadIn
from app.services import quotas, upload_assembly, upload_completion, uploads
from app.services.api_keys import Caller
from app.services.trail import note
from app.services.uploads import Announcement
from app.web.data import declared
from app.web.jobs.failures import wants_json
from app.web.kit.addresses import UploadPath
from app.web.kit.rendering import see_other
from app.web.kit.visitor import Form, FormDep, Uploader, unreadable_form
from cleanclip.vocabulary.recipe import DeclaredOptions

CHECKPOINTS = "/ui/checkpoints"
_NAMES = {"filename": "The file's name", "size_bytes": "The file's size", "declared": "Declared"}

router = APIRouter()


@router.get("/uploads/session")
def show_session(visitor: Uploader) -> Response:
    """After signing in again beside a page that was open: whose it is, and the new form token."""
    return JSONResponse({"project_id": visitor.caller.project_id, "form_token": visitor.form_token})


@router.post("/uploads")
def begin_upload(visitor: Uploader, form: FormDep, ports: PortsDep) -> Response:
    """Announce a checkpoint's file; the answer is the plan of its parts."""
    announced = _read_announcement(form)
    uploads.check_size(announced, ports.settings.uploads)
    return JSONResponse(_out(_create(ports, visitor.caller, announced)), status_code=201)


def _read_announcement(form: Form) -> Announcement:
    size = form.get("size_bytes")
    try:
        body = UploadIn.model_validate(
            {
                "filename": form.get("filename"),
                "size_bytes": int(size) if size.isascii() and size.isdecimal() else size,
                "declared": declared.read(form),
            }
        )
    except ValidationError as error:
        raise _unusable(error) from error
    return Announcement(
        filename=body.filename,
        size_bytes=body.size_bytes,
        sha256=None,
        purpose=UploadPurpose.CHECKPOINT,
        declared=body.declared or DeclaredOptions(),
    )


def _unusable(error: ValidationError) -> InvalidInput:
    first = error.errors(include_input=False, include_url=False)[0]
    path = [str(step) for step in first["loc"]]
    labels = {field.name: field.label for field in declared.FIELDS}
    is_declared = path[:1] == ["declared"] and len(path) > 1
    what = labels.get(path[1], path[1]) if is_declared else _NAMES.get("".join(path[:1]), "A value")
    return InvalidInput(
        "invalid_request",
        f"{what}: {first['msg'].rstrip('.')}.",
        "Correct it and send the file again; leave empty what you do not know."
        if is_declared
        else "Choose the file again.",
        pointer="/" + "/".join(path[:2]),
    )


def _create(ports: Ports, caller: Caller, file: Announcement) -> Upload:
    with uploads.begun(ports.store, caller) as begun:
        with ports.database.unit_of_work(caller.project_id) as unit:
            quotas.check_new_upload(unit, caller.project_id, file.size_bytes, ports.settings.quotas)
            row = uploads.create(unit, caller, file, begun, ports.settings.uploads)
        begun.has_row = True
    return row


def _out(upload: Upload) -> dict[str, Any]:
    return {
        "id": upload.id,
        "state": upload.state.value,
        "filename": upload.filename,
        "size_bytes": upload.size_bytes,
        "part_size_bytes": upload.part_size_bytes,
        "num_parts": upload.num_parts,
        "checkpoint_url": f"{CHECKPOINTS}/{upload.checkpoint_id}" if upload.checkpoint_id else None,
    }


@router.get("/uploads/{upload_id}")
def show_upload(upload_id: UploadPath, visitor: Uploader, ports: PortsDep) -> Response:
    """How it stands and which parts the store holds: what is not listed is still to be sent."""
    upload = _get(ports, visitor.caller, upload_id)
    stored = [
        part.number
        for part in uploads.stored_parts(ports.store, upload)
        if part.number <= upload.num_parts and part.size_bytes == uploads.part_size(upload, part.number)
    ]
    return JSONResponse(_out(upload) | {"stored": stored})


def _get(ports: Ports, caller: Caller, upload_id: str) -> Upload:
    with ports.database.unit_of_work(caller.project_id) as unit:
        return unit.uploads.get(caller.project_id, upload_id)


@router.post("/uploads/{upload_id}/parts")
def presign_parts(upload_id: UploadPath, visitor: Uploader, form: FormDep, ports: PortsDep) -> Response:
    """Fresh addresses of these parts (`numbers`, with commas). How long they live is said in seconds, because
    the browser's clock may be wrong."""
    try:
        numbers = PartsIn.model_validate({"numbers": [int(text) for text in form.get("numbers").split(",")]})
    except ValueError as error:  # ValidationError is one
        raise unreadable_form("Part numbers are expected.") from error
    expires_s = ports.settings.uploads.part_url_expires_s
    with ports.database.unit_of_work(visitor.caller.project_id) as unit:
        upload = unit.uploads.get(visitor.caller.project_id, upload_id)
        parts = uploads.presign(ports.store, upload, numbers.numbers, expires_s=expires_s)
        note(unit, visitor.caller, "upload.parts", upload.id)
    urls = {str(part.number): part.url for part in parts}
    return JSONResponse({"urls": urls, "expires_in_s": expires_s})


@router.post("/uploads/{upload_id}/complete")
def complete_upload(upload_id: UploadPath, visitor: Uploader, form: FormDep, ports: PortsDep) -> Response:
    """Completes an upload whose parts are all sent; again gives the same answer.

    The inspection compares the bytes with `sha256`.
    """
    try:
        sha256 = CompleteIn(sha256=form.get("sha256") or None).sha256
    except ValidationError as error:
        raise unreadable_form("This is not a SHA-256.") from error
    caller, defaults = visitor.caller, ports.settings.quotas
    with ports.database.unit_of_work(caller.project_id) as unit:
        upload = upload_completion.check(unit, caller, upload_id, sha256=sha256, defaults=defaults)
    if upload.state is not UploadState.COMPLETED:
        upload_assembly.assemble(ports.store, upload, None)
    with (
        upload_completion.discarded_if_given_up(ports.store, upload),
        ports.database.unit_of_work(caller.project_id) as unit,
    ):
        row, job = upload_completion.finish(unit, caller, upload.id, sha256=sha256, defaults=defaults)
    ports.hint(job)
    return JSONResponse(_out(row))


@router.post("/uploads/{upload_id}/cancel")
def cancel_upload(
    upload_id: UploadPath, request: Request, visitor: Uploader, form: FormDep, ports: PortsDep
) -> Response:
    """Parts that were sent are deleted."""
    del form
    with ports.database.unit_of_work(visitor.caller.project_id) as unit:
        row = uploads.cancel(unit, visitor.caller, upload_id)
    uploads.discard(ports.store, row)
    return JSONResponse(_out(row)) if wants_json(request) else see_other(CHECKPOINTS)
