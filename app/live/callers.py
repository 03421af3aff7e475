"""Who makes a request: a key, or the digest of one, becomes a `Caller`.

Recognising is a short transaction of its own, so that nothing of a request is read, let alone written, for an
unknown key. Who was recognised a moment ago is recognised again without it (app/live/recognised.py).
"""

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from app.live.ports import Ports
from app.services.api_keys import Caller, PresentedKey, recognise


def request_id_of(request: Request) -> str:
    """The id that the middleware gave this request."""
    return str(request.scope.get("request_id", "unknown"))


def remote_addr_of(request: Request) -> str | None:
    """Where the request came from, as far as the server knows."""
    return request.client.host if request.client else None


async def known_caller(request: Request, ports: Ports, presented: PresentedKey) -> Caller:
    """The holder of the key. Raises Unauthorized."""
    request_id, remote_addr = request_id_of(request), remote_addr_of(request)
    found = ports.keys.get(presented.secret_sha256, request_id=request_id, remote_addr=remote_addr)
    if found is None:
        asked_at_s = ports.keys.now_s()
        found = await run_in_threadpool(
            _recognised, ports, presented, request_id=request_id, remote_addr=remote_addr
        )
        ports.keys.keep(presented.secret_sha256, found, asked_at_s=asked_at_s)
    return found


def _recognised(ports: Ports, presented: PresentedKey, *, request_id: str, remote_addr: str | None) -> Caller:
    with ports.database.unit_of_work(key_sha256=presented.secret_sha256) as unit:
        return recognise(unit, presented, request_id=request_id, remote_addr=remote_addr)
