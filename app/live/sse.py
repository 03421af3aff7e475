"""Server-sent events as bytes (WHATWG HTML §9.2): what goes over a stream, made once for all who follow.

A job's events carry their number as `id`, so that who comes again says where to go on (`Last-Event-ID`).
How the job stands (`job`, at its end `done`) carries none: it is the present, not a thing that happened.
"""

from dataclasses import dataclass

from fastapi.sse import format_sse_event

from app.domain.states import TERMINAL
from app.schemas.jobs import EventOut, JobOut
from app.services.following import News

MEDIA_TYPE = "text/event-stream"
STANDING, DONE = "job", "done"
HEARTBEAT = format_sse_event(comment="still here")
SERVER_SENT_EVENT = {
    "title": "ServerSentEvent",
    "type": "object",
    "description": "One event of the stream, as its fields; `data` is JSON.",
    "required": ["event", "data"],
    "properties": {
        "id": {"type": "string", "pattern": "^[0-9]+$"},
        "event": {"type": "string"},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
}


@dataclass(frozen=True, kw_only=True)
class Frames:
    """`events`: (number, frame), oldest first; `standing`: how the job stood when it had `job_seq` events."""

    events: tuple[tuple[int, bytes], ...]
    standing: bytes
    job_seq: int
    version: int
    is_done: bool


def frames_of(news: News) -> Frames:
    """One job's news as frames."""
    job = news.job
    is_done = job.state in TERMINAL
    return Frames(
        events=tuple(
            (
                row.seq,
                format_sse_event(
                    data_str=EventOut.of(row).model_dump_json(), event=row.type, id=str(row.seq)
                ),
            )
            for row in news.events
        ),
        standing=format_sse_event(
            data_str=JobOut.of(job).model_dump_json(), event=DONE if is_done else STANDING
        ),
        job_seq=job.event_seq,
        version=job.version,
        is_done=is_done,
    )


def greeting(job_id: str, retry_ms: int) -> bytes:
    """Sent at once, so that the client, and what lies between, sees that the stream is open."""
    return format_sse_event(comment=f"what happens to {job_id}", retry=retry_ms)
