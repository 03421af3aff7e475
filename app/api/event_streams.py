"""The route of live events: a job followed over one long answer (server-sent events), without polling."""

from typing import Annotated

from fastapi import APIRouter, Header, Query
from starlette.responses import Response

from app.api.answers import refusals
from app.api.auth import Reader
from app.api.paths import JobPath
from app.domain.errors import InvalidInput
from app.edge.event_stream import EventStream
from app.live.ports import PortsDep
from app.live.sse import MEDIA_TYPE
from app.services import jobs

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

MAX_SEQ = 2**53
_EXAMPLE = {"id": "3", "event": "phase_started", "data": '{"object": "event", "seq": 3, "type": …}'}


@router.get(
    "/{job_id}/events/stream",
    summary="Follow a job live",
    response_class=Response,
    responses={
        200: {
            "description": "Server-sent events; the stream ends after `done`.",
            "content": {
                MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ServerSentEvent"}, "example": _EXAMPLE}
            },
        },
        **refusals(404, 422),
    },
)
async def stream_job_events(
    job_id: JobPath,
    caller: Reader,
    ports: PortsDep,
    after: Annotated[int | None, Query(ge=0, le=MAX_SEQ, description="Start after this seq.")] = None,
    last_event_id: Annotated[
        int | None,
        Header(
            alias="Last-Event-ID",
            ge=0,
            le=MAX_SEQ,
            description="The last `id` that was received; overrides `after`.",
        ),
    ] = None,
) -> Response:
    """Each event once and in order: `id` is its `seq`, `event` its type, `data` as in the list of events.

    `job` (no `id`; `data` as in `GET /v1/jobs/{id}`) is the state of the job, first and after every
    change, progress included; `done` is the last one. If a stream ends without `done`, open a new one with
    `Last-Event-ID`. Lines that begin with a colon are heartbeats.
    """
    row = await ports.jobs.get(caller.project_id, job_id)
    if row is None:
        raise jobs.not_found(job_id)
    seq = last_event_id if last_event_id is not None else after or 0
    if seq > row.event_seq:
        raise InvalidInput(
            "event_unknown",
            f"The job has no event {seq}: its last one is {row.event_seq}.",
            "Send the number of an event that you have seen, or none to begin with the first.",
        )
    return EventStream(ports.followers.follow(caller, job_id, seq), ports.followers, ports.settings.streams)
