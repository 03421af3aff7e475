"""Many followers in one process: a bare connection each, taken up again from the last event where it ends.

    python -m lab.drills.follow_client < order.json > seen.json

Every event is written down with the time of its arrival (CLOCK_MONOTONIC, which all processes of a machine
share). A follower that has seen `done` is through. Depends on the form of the service's streams alone.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from dataclasses import asdict, dataclass, field

from lab.drills.load_client import request_text

_RECONNECT_S = 0.3
_ID = re.compile(rb"^id: (\d+)$", re.M)
_DONE = re.compile(rb"^event: done$", re.M)
_LIMIT = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Order:
    """One follower for each of `job_ids`, which may name a job many times."""

    port: int
    key: str
    job_ids: list[str]


@dataclass(kw_only=True)
class Seen:
    """What one follower saw: (number, seconds), in the order in which it came."""

    job_id: str
    events: list[tuple[int, float]] = field(default_factory=list)
    num_streams: int = 0
    num_cut: int = 0
    """Streams that broke; one that ends as it should is not cut."""
    is_through: bool = False


class _Follower:
    def __init__(self, order: Order, job_id: str) -> None:
        self._order = order
        self.seen = Seen(job_id=job_id)

    async def run(self) -> None:
        while not self.seen.is_through:
            try:
                await self._one_stream()
            except (OSError, asyncio.IncompleteReadError, ValueError):
                self.seen.num_cut += 1
            if not self.seen.is_through:
                await asyncio.sleep(_RECONNECT_S)

    async def _one_stream(self) -> None:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._order.port, limit=_LIMIT)
        except OSError:
            return
        try:
            writer.write(self._request())
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in head.split(b"\r\n", 1)[0]:
                return
            self.seen.num_streams += 1
            await self._read(reader)
        finally:
            writer.close()

    def _request(self) -> bytes:
        headers = {"Authorization": f"Bearer {self._order.key}"}
        if self.seen.events:
            headers["Last-Event-ID"] = str(self.seen.events[-1][0])
        return request_text("GET", f"/v1/jobs/{self.seen.job_id}/events/stream", headers).encode()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        """Chunks of the answer until it ends; raises where it is cut."""
        held = b""
        while size := int(await reader.readuntil(b"\r\n"), 16):
            held += (await reader.readexactly(size + 2))[:-2]
            *frames, held = held.split(b"\n\n")
            now = time.monotonic()
            for frame in frames:
                if found := _ID.search(frame):
                    self.seen.events.append((int(found[1]), now))
                elif _DONE.search(frame):
                    self.seen.is_through = True
                    return


async def follow(order: Order) -> list[Seen]:
    """What each saw, once all are through."""
    followers = [_Follower(order, job_id) for job_id in order.job_ids]
    await asyncio.gather(*(follower.run() for follower in followers))
    return [follower.seen for follower in followers]


if __name__ == "__main__":
    json.dump([asdict(one) for one in asyncio.run(follow(Order(**json.load(sys.stdin))))], sys.stdout)
