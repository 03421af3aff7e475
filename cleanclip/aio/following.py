"""A job's events as they happen: over the service's stream, taken up again where it broke, or polled.

The stream is left for good where it is refused or does not get through: a service that has none, a share of
open streams that is used up, a proxy that keeps back what it should pass on. Polling brings the same events.

Server-sent events (WHATWG HTML §9.2) from bytes.

A line ends with CR, LF or both, never with anything else that Unicode calls a line's end; the text is UTF-8.
What comes from a broken proxy may continue for ever without a line's end, so that what is held is bounded.
"""

import re
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

from cleanclip.aio.waiting import FIRST_PAUSE_S, LONGEST_PAUSE_S, OUTAGES, SLOWER_BY, Patience
from cleanclip.aio.wire import Wire
from cleanclip.errors import ApiError, RateLimited, ServerError, TransportError
from cleanclip.models import Event, EventPage, Job
from cleanclip.retries import Retries
from cleanclip.vocabulary.strict_json import refuse_many

MEDIA_TYPE = "text/event-stream"
MAX_FRAME_BYTES = 8 * 1024 * 1024
_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


class NotAnEventStream(Exception):
    """More bytes than a frame may have."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One event. `id` is that of this frame, None where it has none."""

    event: str
    data: str
    id: str | None


async def frames(chunks: AsyncIterable[bytes]) -> AsyncIterator[Frame | None]:
    """Every event that came whole; None for a comment, which says that the other side lives.

    An event that the end of the stream cut off is dropped, as the standard says. Raises NotAnEventStream.
    """
    event, frame_id, data, num_bytes = "", None, list[str](), 0
    async for line in _lines(chunks):
        num_bytes += len(line)
        if num_bytes > MAX_FRAME_BYTES:
            raise NotAnEventStream(f"an event has more than {MAX_FRAME_BYTES} bytes")
        if not line:
            if data:
                yield Frame(event=event or "message", data="\n".join(data), id=frame_id)
            event, frame_id, data, num_bytes = "", None, [], 0
            continue
        name, _, value = line.decode("utf-8", "replace").partition(":")
        value = value.removeprefix(" ")
        if not name:
            yield None
        elif name == "event":
            event = value
        elif name == "data":
            data.append(value)
        elif name == "id" and "\0" not in value:
            frame_id = value


async def _lines(chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    held, is_first = b"", True
    async for chunk in chunks:
        held += chunk
        waits = b"\r" if held.endswith(b"\r") else b""  # for the LF that may belong to it
        *whole, held = _LINE_END.split(held.removesuffix(waits))
        held += waits
        if len(held) > MAX_FRAME_BYTES:
            raise NotAnEventStream(f"a line has more than {MAX_FRAME_BYTES} bytes")
        for line in whole:
            yield line.removeprefix(_BOM) if is_first else line
            is_first = False
    for line in _LINE_END.split(held)[:-1]:
        yield line


SILENCE_S = 25.0
"""The service says every 15 seconds that it lives; longer silence: it is dead, or kept back."""
GOOD_AFTER_S = 5.0
"""Streams that break sooner, again and again, are no better than polling."""
POLLED_AT_THE_END_S = 2 * SILENCE_S
"""Only polling ends on the second, so it does the last part of a wait that has a limit."""
_RECONNECTS = Retries(max_tries=6, base_s=0.5, max_s=5.0)
_FINAL = frozenset({"job_not_found", "event_unknown", "key_missing", "invalid_key", "scope_missing"})
_STANDING, _DONE = "job", "done"


class StreamRefused(Exception):
    """It must be polled."""


@dataclass
class _Place:
    """How far a follower has come: the number of the last event that was handed on."""

    seq: int


async def events(wire: Wire, job_id: str, after: int) -> AsyncGenerator[Event, None]:
    """Every event after that number, once and in order, until the job's end.

    Raises ApiError, TransportError.
    """
    place = _Place(after)
    try:
        async with aclosing(_messages(wire, job_id, place, float("inf"))) as messages:
            async for message in messages:
                if isinstance(message, Event):
                    yield message
    except StreamRefused:
        async for event in _polled(wire, job_id, place.seq):
            yield event


async def states(wire: Wire, job_id: str, left_s: float) -> AsyncGenerator[Job, None]:
    """The job, after every change; ends with the last one, or before it where polling must do the rest."""
    ends_at = wire.clock.now() + left_s - POLLED_AT_THE_END_S
    try:
        async with aclosing(_messages(wire, job_id, _Place(0), ends_at)) as messages:
            async for message in messages:
                if isinstance(message, Job):
                    yield message
    except StreamRefused:
        return


async def _messages(
    wire: Wire, job_id: str, place: _Place, ends_at: float
) -> AsyncGenerator[Event | Job | None, None]:
    """Events and states from stream after stream, each begun where the last one broke; None: still alive.

    Ends with the job, or at `ends_at`. Raises StreamRefused, ApiError for what polling would meet too.
    """
    num_failed = 0
    while wire.clock.now() < ends_at:
        began, is_silent = wire.clock.now(), True
        try:
            async with aclosing(_one_stream(wire, job_id, place)) as messages:
                async for message in messages:
                    is_silent = False
                    if isinstance(message, Event) or wire.clock.now() - began >= GOOD_AFTER_S:
                        num_failed = 0
                    yield message
                    is_last = isinstance(message, Job) and message.is_finished
                    if is_last or wire.clock.now() >= ends_at:
                        return
        except (RateLimited, NotAnEventStream, ValueError) as cause:
            raise StreamRefused from cause
        except ApiError as error:
            if error.code in _FINAL:
                raise
            if not isinstance(error, ServerError):
                raise StreamRefused from error
        except TransportError as error:
            if is_silent and wire.clock.now() - began >= SILENCE_S:
                raise StreamRefused from error
        num_failed += 1
        pause_s = _RECONNECTS.pause_s(num_failed)
        if pause_s is None:
            raise StreamRefused
        await wire.clock.sleep(pause_s)


async def _one_stream(wire: Wire, job_id: str, place: _Place) -> AsyncGenerator[Event | Job | None, None]:
    """What one stream brings, until it ends or a number is missing. Raises StreamRefused for no stream."""
    headers = {"Accept": MEDIA_TYPE, "Accept-Encoding": "identity", "Last-Event-ID": str(place.seq)}
    async with wire.stream(
        f"/v1/jobs/{job_id}/events/stream", headers=headers, silence_s=SILENCE_S
    ) as answer:
        if answer is None or answer.media_type != MEDIA_TYPE:
            raise StreamRefused
        async for frame in frames(answer.chunks):
            message = None if frame is None else _read(frame)
            if isinstance(message, Event):
                if message.seq <= place.seq:
                    continue
                if message.seq != place.seq + 1:
                    return  # something on the way lost one: ask again from the last that came
                place.seq = message.seq
            yield message


def _read(frame: Frame) -> Event | Job | None:
    refuse_many(frame.data)
    if frame.event in {_STANDING, _DONE}:
        return Job.model_validate_json(frame.data)
    return None if frame.id is None else Event.model_validate_json(frame.data)


async def _polled(wire: Wire, job_id: str, seq: int) -> AsyncGenerator[Event, None]:
    address, patience = f"/v1/jobs/{job_id}", Patience(wire.clock)
    pause_s = FIRST_PAUSE_S
    while True:
        try:
            is_finished = (await wire.get(Job, address)).is_finished
            page = await wire.get(EventPage, f"{address}/events", {"after": seq, "limit": 100})
            patience.heard()
        except OUTAGES as error:
            patience.bear(error)
            await wire.clock.sleep(LONGEST_PAUSE_S)
            continue
        for event in page.data:
            yield event
        seq = page.last_seq if page.last_seq is not None else seq
        if page.has_more:
            continue
        if is_finished:
            return
        pause_s = FIRST_PAUSE_S if page.data else min(LONGEST_PAUSE_S, pause_s * SLOWER_BY)
        await wire.clock.sleep(pause_s)
