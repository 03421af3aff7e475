"""Files of a finished job: the page leads to a URL of the store that serves this one for a few minutes."""

from fastapi import APIRouter
from starlette.responses import Response

from app.live.ports import PortsDep
from app.web.kit.addresses import ArtifactPath
from app.web.kit.rendering import see_other
from app.web.kit.visitor import Reader

router = APIRouter()


@router.get("/artifacts/{artifact_id}/content")
def download(artifact_id: ArtifactPath, visitor: Reader, ports: PortsDep) -> Response:
    """As `GET /v1/artifacts/{id}/content`. The answer is kept by no cache: the URL holds a signature."""
    with ports.database.unit_of_work(visitor.caller.project_id) as unit:
        row = unit.artifacts.get(visitor.caller.project_id, artifact_id)
    return see_other(ports.download_url(row))
