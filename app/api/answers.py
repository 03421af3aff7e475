"""Answers as the routes give them: JSON with its headers, ETags, 304; what the document says of errors."""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel
from pydantic_core import to_json
from starlette.responses import Response, StreamingResponse

from app.db.models.job import Artifact
from app.schemas.common import Page
from app.storage.port import ObjectStore

PageT = TypeVar("PageT", bound=Page[Any])
JSON = "application/json"
POLL_AFTER_S = 2
"""`Retry-After` on 202: how many seconds to wait before asking again."""

_ETAG = re.compile(r'(?:W/)?"([^"]*)"')


def json_answer(body: BaseModel, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """`body` as JSON; what is None stays in it, so that every field is always there."""
    return Response(body.model_dump_json(), status_code=status, headers=dict(headers or {}), media_type=JSON)


def cache_headers(etag: str) -> dict[str, str]:
    """Headers of an answer that may be asked for again with If-None-Match."""
    return {"ETag": f'"{etag}"', "Cache-Control": "private, no-cache"}


def is_unchanged(request: Request, etag: str) -> bool:
    """Whether the client holds this version already (RFC 9110 §13.1.2, weak comparison)."""
    given = request.headers.get("if-none-match")
    if given is None:
        return False
    return given.strip() == "*" or etag in _ETAG.findall(given)


def asks_conditionally(request: Request) -> bool:
    return "if-none-match" in request.headers


def not_modified(etag: str) -> Response:
    return Response(status_code=304, headers=cache_headers(etag))


def etag_of(parts: Iterable[object]) -> str:
    """An ETag from everything that an answer depends on."""
    text = "\n".join(str(part) for part in parts)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def cached_answer(request: Request, etag: str, body: Callable[[], BaseModel]) -> Response:
    """304 where the client holds this version already; else `body`, with its ETag."""
    if is_unchanged(request, etag):
        return not_modified(etag)
    return json_answer(body(), headers=cache_headers(etag))


def stored_answer(
    request: Request, store: ObjectStore, file: Artifact, headers: Mapping[str, str] | None = None
) -> Response:
    """A JSON file of the store, whose digest is its ETag."""
    if is_unchanged(request, file.sha256):
        return not_modified(file.sha256)
    return StreamingResponse(
        store.stream(file.object_key),
        media_type=JSON,
        headers={"Content-Length": str(file.size_bytes), **(headers or {}), **cache_headers(file.sha256)},
    )


def page_of(kind: type[PageT], items: Iterable[Any], has_more: bool, **others: Any) -> PageT:
    """A page of items that have ids."""
    data = list(items)
    return kind(
        data=data,
        has_more=has_more,
        first_id=data[0].id if data else None,
        last_id=data[-1].id if data else None,
        **others,
    )


def json_page(items: Mapping[str, bytes], has_more: bool, *, headers: Mapping[str, str]) -> Response:
    """As `page_of`, of items that are JSON already, by their ids."""
    ids = [*items]
    ends = {"has_more": has_more, "first_id": ids[0] if ids else None, "last_id": ids[-1] if ids else None}
    body = b'{"object":"list","data":[%b],%b' % (b",".join(items.values()), to_json(ends)[1:])
    return Response(body, headers=dict(headers), media_type=JSON)


_MEANINGS = {
    304: "Not modified: your copy is current.",
    400: "The request cannot be read.",
    401: "No key, or an invalid one.",
    403: "The key lacks the scope.",
    404: "This project has no such resource.",
    408: "The body did not arrive in time.",
    409: "The state of the resource does not allow it.",
    413: "Too large.",
    415: "The body is not JSON.",
    422: "Values that cannot be used; `errors` has their pointers.",
    429: "A quota of the project is used up (requests, jobs or bytes); `quota` says which.",
    503: "A part of the service does not answer; try again after `Retry-After`.",
}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For the OpenAPI document: which problems a route answers, beside those that every route may."""
    answers: dict[int | str, dict[str, Any]] = {}
    for status in sorted({401, 403, 429, 503, *statuses}):
        answers[status] = {"description": _MEANINGS[status]}
        if status != 304:
            answers[status]["content"] = {
                "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
            }
    return answers
