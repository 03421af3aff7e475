"""The OpenAPI document: what FastAPI derives, and the problem that every route may answer."""

import functools
import json
import re
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.requests import Request
from starlette.responses import Response

from app.api.answers import refusals
from app.live.sse import SERVER_SENT_EVENT
from app.schemas.common import Problem

DESCRIPTION = """
Is this CLIP checkpoint backdoored, and can you fix it? Upload a checkpoint, audit it, clean it, download it.

- **Errors** are `application/problem+json` with a stable `code`, `errors` with JSON pointers, and a
  `request_id` to quote.
- **Repeat a POST** safely with an `Idempotency-Key` header.
- **Poll** with `If-None-Match`; `Retry-After` says how long to wait.
- **Follow** a job live over `GET /v1/jobs/{id}/events/stream` (server-sent events, `Last-Event-ID`).
- **Pages**: `after` = the `last_id` of the page before.
"""


PATH = "/v1/openapi.json"


def install(app: FastAPI) -> None:
    """Replace the application's document by the full one, built when it is first asked for, and serve it as
    bytes that are made once: it costs milliseconds, and everybody may ask for it."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _build(app)
        return app.openapi_schema

    @functools.cache
    def rendered() -> bytes:
        return json.dumps(document(), ensure_ascii=False, separators=(",", ":")).encode()

    async def answer(_request: Request) -> Response:
        return Response(rendered(), media_type="application/json")

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's own documented way
    app.add_route(PATH, answer, include_in_schema=False)


def _build(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(title=app.title, version=app.version, description=DESCRIPTION, routes=app.routes)
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs", {}))
    schemas["Problem"] = problem
    schemas["ServerSentEvent"] = SERVER_SENT_EVENT
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    document = _with_names_of_the_house(document)
    answer = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for operations in document["paths"].values():
        for operation in operations.values():
            for status, refusal in _of_the_body(operation).items():
                operation["responses"].setdefault(status, refusal)
            refusal = operation["responses"].get("422")
            if refusal is not None:
                refusal["content"] = answer
    return document


def _with_names_of_the_house(openapi: dict[str, Any]) -> dict[str, Any]:
    """`XIn` and `XOut` for what FastAPI calls `X-Input` and `X-Output`, both with the title X.

    Generators make a class of each title; two of one name they leave out, with all that holds them.
    """
    text = re.sub(r'"(#/components/schemas/\w+)-(In|Out)put"', r'"\1\2"', json.dumps(openapi))
    document: dict[str, Any] = json.loads(text)
    schemas = document["components"]["schemas"]
    for name in [name for name in schemas if name.endswith(("-Input", "-Output"))]:
        own = name.replace("-", "").removesuffix("put")
        schemas[own] = schemas.pop(name) | {"title": own}
    return document


def _of_the_body(operation: dict[str, Any]) -> dict[str, Any]:
    """What the framework and the middleware refuse before a route sees the body."""
    takes_json = "application/json" in operation.get("requestBody", {}).get("content", {})
    names = [parameter["name"] for parameter in operation.get("parameters", [])]
    if takes_json:
        statuses = [400, 408, 413, 415]
    elif "idempotency-key" in names:  # the body is read, to be told from another request's
        statuses = [408, 413]
    else:
        return {}
    responses = refusals(*statuses)
    return {str(status): responses[status] for status in statuses}
