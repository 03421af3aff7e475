"""Server-sent events (WHATWG HTML §9.2) from bytes. Knows no HTTP and no noun.

A line ends with CR, LF or both, never with anything else that Unicode calls a line's end; the text is UTF-8.
What comes from a broken proxy may continue for ever without a line's end, so that what is held is bounded.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass

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
