"""HEAD wherever there is GET: the same status and the same headers, and no body."""

import asyncio
from collections.abc import Collection

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class HeadMiddleware:
    """Below it a HEAD is a GET whose client leaves once the headers are out, so that a stream ends.

    `used_up_by_get`: addresses that work once. A program that only looks at a link must not use it up, so
    HEAD stays refused there.
    """

    def __init__(self, app: ASGIApp, used_up_by_get: Collection[str]) -> None:
        self._app = app
        self._used_up_by_get = frozenset(used_up_by_get)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_head = scope["type"] == "http" and scope["method"] == "HEAD"
        if not is_head or scope["path"] in self._used_up_by_get:
            await self._app(scope, receive, send)
            return
        answered = asyncio.Event()

        async def receive_until_answered() -> Message:
            gone = asyncio.create_task(answered.wait())
            coming = asyncio.ensure_future(receive())
            try:
                await asyncio.wait({gone, coming}, return_when=asyncio.FIRST_COMPLETED)
                return coming.result() if coming.done() else {"type": "http.disconnect"}
            finally:
                gone.cancel()
                coming.cancel()

        async def send_headers(message: Message) -> None:
            if message["type"] != "http.response.start":
                return
            scope["method"] = "HEAD"  # the server frames the answer by it: no chunk, no length to fill
            await send(message)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            answered.set()

        scope["method"] = "GET"  # in place: the log outside finds the route in this scope
        try:
            await self._app(scope, receive_until_answered, send_headers)
        finally:
            scope["method"] = "HEAD"
