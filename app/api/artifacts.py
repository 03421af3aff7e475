"""Routes of what a finished job left: the list, the bytes (by redirect), the report."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.api.answers import json_answer, page_of, refusals, stored_answer
from app.api.auth import Reader
from app.api.paths import ArtifactPath, JobPath
from app.live.ports import PortsDep
from app.schemas.artifacts import ArtifactOut, ArtifactPage
from app.schemas.jobs import SignatureOut
from app.services import artifacts, jobs
from cleanclip.vocabulary.report import Report

router = APIRouter(prefix="/v1", tags=["artifacts"])


@router.get(
    "/jobs/{job_id}/artifacts",
    summary="The files of a finished job",
    response_model=ArtifactPage,
    responses=refusals(404),
)
def list_job_artifacts(job_id: JobPath, caller: Reader, ports: PortsDep) -> Response:
    """Empty until the job has succeeded."""
    with ports.database.unit_of_work(caller.project_id) as unit:
        job = jobs.get(unit, caller.project_id, job_id)
        rows = unit.artifacts.of_job(caller.project_id, job_id)
    data = map(ArtifactOut.of, rows)
    return json_answer(page_of(ArtifactPage, data, has_more=False, signature=SignatureOut.of(job.result)))


@router.get(
    "/artifacts/{artifact_id}",
    summary="One file: its size and digest",
    response_model=ArtifactOut,
    responses=refusals(404),
)
def get_artifact(artifact_id: ArtifactPath, caller: Reader, ports: PortsDep) -> Response:
    """Artifacts never change."""
    with ports.database.unit_of_work(caller.project_id) as unit:
        row = unit.artifacts.get(caller.project_id, artifact_id)
    return json_answer(ArtifactOut.of(row))


@router.get(
    "/artifacts/{artifact_id}/content",
    summary="The bytes of a file",
    status_code=307,
    response_class=Response,
    responses=refusals(404),
)
def get_artifact_content(artifact_id: ArtifactPath, caller: Reader, ports: PortsDep) -> Response:
    """Redirects to a URL that serves this one file, with ranges, for at most five minutes. Do not send your
    key there."""
    with ports.database.unit_of_work(caller.project_id) as unit:
        row = unit.artifacts.get(caller.project_id, artifact_id)
    return Response(status_code=307, headers={"Location": ports.download_url(row)})


@router.get(
    "/jobs/{job_id}/report",
    summary="The report of a finished job",
    response_model=Report,
    responses=refusals(304, 404, 409),
)
def get_job_report(job_id: JobPath, request: Request, caller: Reader, ports: PortsDep) -> Response:
    """report.json, as the job wrote it: every share with its n, its interval and the seed.

    The file itself is not signed: the header `CleanCLIP-Signature` says whether the job's files are, and
    by which key.
    """
    with ports.database.unit_of_work(caller.project_id) as unit:
        job = jobs.get(unit, caller.project_id, job_id)
        row = artifacts.report_of(unit, job)
    signature = SignatureOut.of(job.result)
    signed = {"CleanCLIP-Signature": f"{signature.state} {signature.key_sha256 or ''}".rstrip()}
    return stored_answer(request, ports.store, row, signed)
