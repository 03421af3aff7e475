"""Every failure as `application/problem+json` (RFC 9457). Never a traceback, never a value that came in."""

from collections.abc import Sequence
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from app.domain.errors import DomainError, QuotaExceeded, Unavailable
from app.edge.error_codes import ERROR_CODES, status_of
from app.edge.invalid_values import error_item
from app.live.callers import request_id_of
from app.logs import get_logger
from app.schemas.common import ErrorItem, Problem, QuotaOut
from app.storage.errors import StorageError, StoreRefused

MEDIA_TYPE = "application/problem+json"
MAX_ERRORS = 50
_RETRY_AFTER_S = {409: 1, 503: 5}  # 429 says it itself, where waiting helps

log = get_logger(__name__)


class Refused(HTTPException):
    """A refusal of ours, from where a body is received: the framework lets HTTPException pass, and makes
    "cannot be parsed" of anything else."""

    def __init__(self, reason: DomainError, headers: dict[str, str] | None = None) -> None:
        super().__init__(status_of(reason), headers=headers)
        self.reason = reason


class ProblemResponse(Response):
    """A rendered Problem."""

    media_type = MEDIA_TYPE


def problem(
    *,
    code: str,
    detail: str,
    request_id: str,
    status: int | None = None,
    remedy: str | None = None,
    errors: Sequence[ErrorItem] = (),
    headers: dict[str, str] | None = None,
    quota: QuotaOut | None = None,
) -> ProblemResponse:
    """Render one problem; the status and the title are those of the code unless `status` is given."""
    known = ERROR_CODES.get(code)
    status = status if status is not None else known.status if known else 500
    body = Problem(
        type=f"urn:cleanclip:problem:{code}",
        title=known.title if known else HTTPStatus(status).phrase,
        status=status,
        code=code,
        detail=detail,
        remedy=remedy,
        errors=list(errors),
        request_id=request_id,
        quota=quota,
    )
    answer = dict(headers or {})
    if status in _RETRY_AFTER_S:
        answer.setdefault("Retry-After", str(_RETRY_AFTER_S[status]))
    if status == HTTPStatus.UNAUTHORIZED:
        answer.setdefault("WWW-Authenticate", 'Bearer realm="cleanclip"')
    unsaid = {"quota"} if quota is None else None
    return ProblemResponse(body.model_dump_json(exclude=unsaid), status_code=status, headers=answer)


def on_domain_error(request: Request, error: Exception) -> Response:
    """A refusal of ours."""
    assert isinstance(error, DomainError)
    if isinstance(error, Unavailable):
        log.warning("part_unavailable", code=error.code, cause=repr(error.__cause__))
    items = [] if error.pointer is None else [ErrorItem(pointer=error.pointer, detail=error.message)]
    headers = {} if error.retry_after_s is None else {"Retry-After": str(error.retry_after_s)}
    return problem(
        code=error.code,
        status=status_of(error),
        detail=error.message,
        remedy=error.remedy,
        errors=items,
        request_id=request_id_of(request),
        headers=headers,
        quota=_quota_of(error),
    )


def _quota_of(error: DomainError) -> QuotaOut | None:
    use = error.quota if isinstance(error, QuotaExceeded) else None
    if use is None:
        return None
    return QuotaOut(name=use.name, limit=use.limit, current=use.current, wanted=use.wanted)


def on_storage_error(request: Request, error: Exception) -> Response:
    """The object store failed unexpectedly: an operator must know, a caller may retry."""
    if isinstance(error, StoreRefused):  # not asked: the failures that led to it have had their lines
        log.warning("store_not_asked", reason=error.reason)
        headers = {"Retry-After": str(error.retry_after_s)}
    else:
        log.error("store_failed", exc_info=error)
        headers = {}
    return problem(
        code="store_unavailable",
        detail="The object store did not do what the service asked.",
        remedy="Try again in a few seconds.",
        request_id=request_id_of(request),
        headers=headers,
    )


def on_http_error(request: Request, error: Exception) -> Response:
    """What the framework refuses: no such route, wrong method, a body that cannot be read."""
    assert isinstance(error, HTTPException)
    if isinstance(error, Refused):
        answer = on_domain_error(request, error.reason)
        answer.headers.update(error.headers or {})
        return answer
    codes = {
        400: (
            "bad_request",
            "The request could not be read.",
            "Send a JSON object, UTF-8, not deeply nested.",
        ),
        404: (
            "route_not_found",
            "There is nothing at this address.",
            "See /v1/openapi.json for all addresses.",
        ),
        405: ("method_not_allowed", "This address does not support this method.", "See the Allow header."),
        408: (
            "body_too_slow",
            "The body of the request did not arrive in time.",
            "Send it again, over a faster connection; upload files in parts.",
        ),
        413: ("body_too_large", "The body is larger than this address takes.", "Upload files in parts."),
    }
    code, detail, remedy = codes.get(
        error.status_code, ("http_error", HTTPStatus(error.status_code).phrase + ".", None)
    )
    return problem(
        code=code,
        status=error.status_code,
        detail=detail,
        remedy=remedy,
        request_id=request_id_of(request),
        headers=dict(error.headers or {}),
    )


def on_invalid_request(request: Request, error: Exception) -> Response:
    """Values out of bounds, of the wrong type, unknown or missing; each with its pointer."""
    assert isinstance(error, RequestValidationError)
    mistakes = error.errors()
    request_id = request_id_of(request)
    if any(item["type"] == "json_invalid" for item in mistakes):
        return problem(
            code="malformed_json",
            detail="The body is not JSON.",
            remedy="Send a JSON object, UTF-8.",
            request_id=request_id,
        )
    if isinstance(error.body, bytes) and any(tuple(item["loc"]) == ("body",) for item in mistakes):
        return problem(
            code="unsupported_media_type",
            detail="The body was not sent as JSON.",
            remedy="Set the header Content-Type: application/json.",
            request_id=request_id,
        )
    items = [error_item(item, error.body) for item in mistakes[:MAX_ERRORS]]
    first = items[0]
    where = first.pointer if first.pointer is not None else first.parameter
    more = f" And {len(mistakes) - 1} more." if len(mistakes) > 1 else ""
    return problem(
        code="invalid_request",
        detail=f"{where or 'The body'}: {first.detail}{more}",
        remedy="Correct the values named in errors; /v1/openapi.json has every field and its bounds.",
        errors=items,
        request_id=request_id,
    )


def install(app: FastAPI) -> None:
    """Register every handler. Unexpected exceptions are the middleware's."""
    app.add_exception_handler(DomainError, on_domain_error)
    app.add_exception_handler(StorageError, on_storage_error)
    app.add_exception_handler(HTTPException, on_http_error)
    app.add_exception_handler(RequestValidationError, on_invalid_request)
