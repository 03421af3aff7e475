"""The answer that follows a job: server-sent events for as long as the follower is given any."""

import asyncio
import random
import time

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.live.followers import Follower, Followers
from app.live.sse import HEARTBEAT, MEDIA_TYPE, greeting
from app.logs import get_logger
from app.settings import StreamSettings

_RETRY_MS = (1000, 3000)
"""Drawn again for each stream: else all who were cut off together come back together."""

log = get_logger(__name__)


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
