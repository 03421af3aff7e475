"""`Idempotency-Key`: a POST that is repeated is answered as it was the first time.

The answer is stored in the transaction of what the POST created; a POST that was refused leaves no trace
and may be tried again with the same key.
"""

import hashlib
import json
import re
from typing import Annotated

from fastapi import Depends, Header, Request
from pydantic import BaseModel
from starlette.responses import Response

from app.api.answers import JSON
from app.db.models.project import IdempotencyKey, IdempotencyState
from app.db.unit_of_work import UnitOfWork
from app.domain.errors import InvalidInput
from app.domain.limits import MAX_IDEMPOTENCY_KEY_CHARACTERS
from app.live.ports import PortsDep
from app.services.api_keys import Caller

REPLAYED = "Idempotency-Replayed"
_FORM = re.compile(rf"[!-~]{{1,{MAX_IDEMPOTENCY_KEY_CHARACTERS}}}")


class Once:
    """The idempotency of one request; without the header, everything passes through."""

    def __init__(self, *, key: str | None, method: str, path: str, request_sha256: str, ttl_s: float) -> None:
        self._key = key
        self._method = method
        self._path = path
        self._request_sha256 = request_sha256
        self._ttl_s = ttl_s
        self._row: IdempotencyKey | None = None

    def seen(self, unit: UnitOfWork, caller: Caller) -> Response | None:
        """The stored answer of an earlier, finished request, or None: do the work, then `keep`.

        Raises InvalidInput when the key belongs to another request, Conflict while it is being handled.
        """
        if self._key is None:
            return None
        self._row = unit.idempotency.begin(
            project_id=caller.project_id,
            key=self._key,
            method=self._method,
            path=self._path,
            request_sha256=self._request_sha256,
            ttl_s=self._ttl_s,
        )
        return self._stored(self._row) if self._row.state is IdempotencyState.DONE else None

    def glance(self, unit: UnitOfWork, caller: Caller) -> Response | None:
        """`seen` without taking the key: for a look before slow work that happens outside a transaction."""
        if self._key is None:
            return None
        row = unit.idempotency.peek(
            project_id=caller.project_id,
            key=self._key,
            method=self._method,
            path=self._path,
            request_sha256=self._request_sha256,
        )
        return None if row is None else self._stored(row)

    @staticmethod
    def _stored(row: IdempotencyKey) -> Response:
        return Response(
            json.dumps(row.response_body, ensure_ascii=False, separators=(",", ":")),
            status_code=row.response_status or 200,
            headers={**(row.response_headers or {}), REPLAYED: "true"},
            media_type=JSON,
        )

    def keep(
        self,
        unit: UnitOfWork,
        body: BaseModel,
        *,
        status: int,
        headers: dict[str, str] | None = None,
        stored: BaseModel | None = None,
    ) -> Response:
        """Store the answer with the work, in the same transaction, and give it.

        `stored` is what a repetition gets, where it may not get all of `body`.
        """
        if self._row is not None:
            kept = body if stored is None else stored
            unit.idempotency.finish(
                self._row, status=status, body=kept.model_dump(mode="json"), headers=headers or {}
            )
        return Response(body.model_dump_json(), status_code=status, headers=headers, media_type=JSON)


async def _once(
    request: Request,
    ports: PortsDep,
    idempotency_key: Annotated[
        str | None,
        Header(
            description="Any unique text. A POST repeated with it gets the stored answer (24 h).",
            json_schema_extra={"pattern": f"^{_FORM.pattern}$"},
        ),
    ] = None,
) -> Once:
    if idempotency_key is not None and not _FORM.fullmatch(idempotency_key):
        raise InvalidInput(
            "idempotency_key_invalid",
            "The Idempotency-Key is not 1 to 255 printable ASCII characters without spaces.",
            "Use a random UUID.",
        )
    digest = hashlib.sha256(request.scope.get("query_string", b"") + b"\n" + await request.body())
    return Once(
        key=idempotency_key,
        method=request.method,
        path=request.url.path,
        request_sha256=digest.hexdigest(),
        ttl_s=ports.settings.api.idempotency_ttl_s,
    )


OnceDep = Annotated[Once, Depends(_once)]
