"""Large bodies are read when the project has a turn (`app.live.pacing`), and not before."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope

from app.api.middleware import NUM_VALUES, is_streamed
from app.api.problems import Refused
from app.domain.errors import DomainError
from app.live.ports import Ports

_WITHOUT_BODY = frozenset({"GET", "HEAD"})


class PacedBody:
    """Of one request. The streaming upload, which is never parsed, has limits of its own."""

    def __init__(self, scope: Scope, receive: Receive, ports: Ports) -> None:
        self._scope, self._receive, self._pace = scope, receive, ports.pace
        self._is_paced = scope["method"] not in _WITHOUT_BODY and not is_streamed(scope)
        self._is_begun = False
        headers, most = Headers(scope=scope), ports.settings.api.max_body_bytes
        announced = headers.get("content-length", "0")
        is_known = announced.isdecimal() and "transfer-encoding" not in headers
        self._num_bytes = min(int(announced[:20]), most) if is_known else most

    async def receive(self, project_id: str) -> Message:
        """The next message. Raises Refused before the first."""
        if self._is_paced and not self._is_begun:
            self._is_begun = True
            try:
                await self._pace.before(project_id, self._num_bytes)
            except DomainError as refusal:
                raise Refused(refusal, headers={"Connection": "close"}) from refusal
        message = await self._receive()
        if self._is_paced and message["type"] == "http.request" and not message.get("more_body", False):
            self._pace.after(project_id, self._num_bytes, self._scope.get(NUM_VALUES, 0))
        return message
