"""Who calls: the bearer key of a request becomes a `Caller` with the scope that the route needs.

The form and checksum are checked before the database is asked. Authentication is a short transaction of its
own, so that nothing of a request is read, let alone written, for a stranger.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from app.api.ports import PortsDep
from app.api.problems import request_id_of
from app.domain.errors import Unauthorized
from app.services.api_keys import Caller, read_key, recognise

bearer = HTTPBearer(
    auto_error=False,
    scheme_name="ApiKey",
    description="`Authorization: Bearer cclip_live_…`: a key of your project, shown once when it was made.",
)


def _caller_with(scope: str) -> Callable[..., Caller]:
    def caller(
        request: Request,
        ports: PortsDep,
        credentials: Annotated[HTTPAuthorizationCredentials | None, Security(bearer)],
    ) -> Caller:
        if credentials is None:
            raise Unauthorized(
                "key_missing", "No API key was given.", "Send the header Authorization: Bearer <your key>."
            )
        presented = read_key(credentials.credentials)
        with ports.database.unit_of_work(key_sha256=presented.secret_sha256) as unit:
            found = recognise(
                unit,
                presented,
                request_id=request_id_of(request),
                remote_addr=request.client.host if request.client else None,
            )
        request.scope["key_id"] = found.key_id
        found.require(scope)
        return found

    caller.__name__ = f"caller_with_{scope}"
    return caller


Reader = Annotated[Caller, Depends(_caller_with("read"))]
Uploader = Annotated[Caller, Depends(_caller_with("upload"))]
Runner = Annotated[Caller, Depends(_caller_with("run"))]
