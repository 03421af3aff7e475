"""The route of live events: a job followed over one long answer (server-sent events), without polling."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Annotated

from fastapi import APIRouter, Header, Query
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.api.answers import refusals
from app.api.auth import Reader
from app.api.followers import Follower, Followers
from app.api.paths import JobPath
from app.api.ports import PortsDep
from app.api.sse import HEARTBEAT, MEDIA_TYPE, greeting
from app.domain.errors import InvalidInput
from app.logs import get_logger
from app.services import jobs
from app.settings import StreamSettings

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
log = get_logger(__name__)

MAX_SEQ = 2**53
_RETRY_MS = (1000, 3000)
"""Drawn anew for each stream: else all who were cut off together come back together."""
_EXAMPLE = {"id": "3", "event": "phase_started", "data": '{"object": "event", "seq": 3, "type": …}'}


class EventStream(Response):
    """Sends what the follower is given, with heartbeats between; a second task waits for the goodbye."""

    media_type = MEDIA_TYPE

    def __init__(self, follower: Follower, followers: Followers, settings: StreamSettings) -> None:
        self.status_code = 200
        self.background = None
        self._follower = follower
        self._followers = followers
        self._settings = settings
        # nginx buffers answers unless told; nothing that lies between may keep one.
        self.init_headers({"X-Accel-Buffering": "no", "Cache-Control": "no-store"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        listening = asyncio.get_running_loop().create_task(self._until_gone(receive))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await self._send_all(send)
        except TimeoutError:
            log.info("slow_follower_dropped", job_id=self._follower.job_id)
        finally:
            self._followers.leave(self._follower)
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def _until_gone(self, receive: Receive) -> None:
        try:
            while (await receive())["type"] != "http.disconnect":
                pass
        finally:
            self._follower.end()

    async def _send_all(self, send: Send) -> None:
        ends_s = time.monotonic() + self._settings.longest_s
        await self._put(send, greeting(self._follower.job_id, random.randint(*_RETRY_MS)))  # noqa: S311
        while not self._follower.has_ended and (left_s := ends_s - time.monotonic()) > 0:
            taken = await self._follower.take(min(self._settings.heartbeat_s, left_s))
            if taken or not self._follower.has_ended:
                await self._put(send, taken or HEARTBEAT)
        await self._put(send, b"", more=False)

    async def _put(self, send: Send, body: bytes, *, more: bool = True) -> None:
        """Raises TimeoutError where the client does not take it."""
        async with asyncio.timeout(self._settings.send_timeout_s):
            await send({"type": "http.response.body", "body": body, "more_body": more})


@router.get(
    "/{job_id}/events/stream",
    operation_id="stream_job_events",
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
    after: Annotated[int | None, Query(ge=0, le=MAX_SEQ, description="Begin after this seq.")] = None,
    last_event_id: Annotated[
        int | None,
        Header(
            alias="Last-Event-ID", ge=0, le=MAX_SEQ, description="The last `id` that came; wins over `after`."
        ),
    ] = None,
) -> Response:
    """Each event once and in order: `id` is its `seq`, `event` its type, `data` as in the list of events.

    `job` (no `id`; `data` as in `GET /v1/jobs/{id}`) says how the job stands, first and after every change,
    progress included; `done` says it for the last time. A stream that ends without `done` goes on in a new
    one: send `Last-Event-ID`. Lines that begin with a colon are heartbeats.
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
