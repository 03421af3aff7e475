"""What can go wrong, as one tree; the classes mirror the statuses of the service's problems.

    CleanClipError
    ├── ApiError            the service refused, with a problem (RFC 9457): `code`, `detail`, `remedy`
    │   ├── InvalidInput    400, 413, 415, 422: values that cannot be used; `errors` has JSON pointers
    │   ├── Unauthorized    401: no key, or none that is valid
    │   ├── Forbidden       403: the key lacks the scope
    │   ├── NotFound        404: no such thing in this project
    │   ├── Conflict        409: the state of the thing does not allow it
    │   ├── RateLimited     429: still refused after all retries
    │   └── ServerError     5xx: still failing after all retries
    ├── TransportError      no answer at all, after all retries
    │   ├── UnexpectedAnswer   something answers, but it is not this service
    │   └── StoreError      the object store did not take or give bytes
    │       └── StoreUnreachable   no connection to it could be made at all
    ├── Unreadable          a file, folder or key on this machine cannot be read, so nothing is known about it
    ├── InUse               another download writes the file, or into the folder
    ├── NotACheckpoint      a file's first bytes are those of something else; it was not sent
    ├── DigestMismatch      bytes arrived that are not those that were promised; they were thrown away
    ├── FileChanged         a file changed while it was being sent
    ├── WebhookRejected     a received message is not genuine (cleanclip.webhook_verification)
    ├── Rejected            a checkpoint or dataset was rejected; `resource.error` says why
    ├── JobFailed           `job.error` says why
    ├── JobCancelled
    └── WaitTimeout         what was waited for goes on without us; `last` is how it stood

Every message says what happened and, where the service said so, what to do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cleanclip.models import Checkpoint, Dataset, Job


def with_remedy(detail: str, remedy: str | None) -> str:
    """What happened and what to do, as sentences."""
    if not (detail and remedy):
        return detail or remedy or ""
    return f"{detail}{'' if detail.endswith(('.', '!', '?')) else '.'} {remedy}"


class CleanClipError(Exception):
    """Base class of everything that this package raises on purpose."""


@dataclass(frozen=True, kw_only=True)
class ErrorItem:
    """One value that cannot be used: a JSON pointer into the body, or the name of a parameter."""

    pointer: str | None
    parameter: str | None
    detail: str


class ApiError(CleanClipError):
    """The service refused. `code` is stable; quote `request_id` to its operators."""

    def __init__(
        self,
        *,
        status: int,
        code: str,
        detail: str,
        title: str = "",
        remedy: str | None = None,
        errors: Sequence[ErrorItem] = (),
        request_id: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(with_remedy(detail, remedy))
        self.status = status
        self.code = code
        self.detail = detail
        self.title = title
        self.remedy = remedy
        self.errors = tuple(errors)
        self.request_id = request_id
        self.retry_after_s = retry_after_s


class InvalidInput(ApiError):
    """Values that cannot be used; see `errors`."""


class Unauthorized(ApiError):
    """No key, or an invalid one."""


class Forbidden(ApiError):
    """The key lacks the scope."""


class NotFound(ApiError):
    """This project has no such resource."""


class Conflict(ApiError):
    """The state of the resource does not allow it."""


class RateLimited(ApiError):
    """Too many requests, or the project's share is used up."""


class ServerError(ApiError):
    """The service failed."""


class TransportError(CleanClipError):
    """No answer; whether the request was carried out is not known."""


class UnexpectedAnswer(TransportError):
    """An answer that this client cannot read: probably another service at this address."""


class StoreError(TransportError):
    """The object store did not do its part. `status` is its HTTP status, None where it did not answer."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class StoreUnreachable(StoreError):
    """No connection to the object store could be made at all."""


class DigestMismatch(CleanClipError):
    """SHA-256 `actual`, where `expected` was promised."""

    def __init__(self, name: str, *, expected: str, actual: str) -> None:
        super().__init__(f"{name}: the SHA-256 is {actual}, but {expected} was expected.")
        self.name = name
        self.expected = expected
        self.actual = actual


class Unreadable(CleanClipError):
    """A file, folder or key of this machine cannot be read, so that nothing is known about it."""


class InUse(CleanClipError):
    """Another download writes this file, or into this folder."""

    def __init__(self, what: Path) -> None:
        super().__init__(
            f"Another download writes {what}. Nothing of it was changed. Wait until it ends, or choose "
            "another folder."
        )


class NotACheckpoint(CleanClipError):
    """The first bytes of a file are not those of a checkpoint. `code` is the service's for such a file."""

    def __init__(self, name: str, code: str, message: str) -> None:
        super().__init__(f"{name}: {message} Nothing was sent. ({code})")
        self.code = code


class FileChanged(CleanClipError):
    """The file is not the one whose sending was begun."""


class Rejected(CleanClipError):
    """A checkpoint or dataset that the service will not use."""

    def __init__(self, resource: Checkpoint | Dataset) -> None:
        error = resource.error
        why = with_remedy(error.detail, error.remedy) if error is not None else "no reason was given"
        super().__init__(f"{resource.id} was rejected: {why}")
        self.resource = resource
        self.code = error.code if error is not None else "unknown"


class Undecided(CleanClipError):
    """The service gave up reading a checkpoint or dataset by a fault of its own. It keeps the file."""

    def __init__(self, resource: Checkpoint | Dataset) -> None:
        error = resource.error
        why = with_remedy(error.detail, error.remedy) if error is not None else "no reason was given"
        super().__init__(f"{resource.id} was not read: {why}")
        self.resource = resource
        self.code = error.code if error is not None else "unknown"


class JobFailed(CleanClipError):
    """The job ended as failed."""

    def __init__(self, job: Job) -> None:
        error = job.error
        why = with_remedy(error.detail, error.remedy) if error is not None else "no reason was given"
        super().__init__(f"{job.id} failed: {why}")
        self.job = job
        self.code = error.code if error is not None else "unknown"


class JobCancelled(CleanClipError):
    """The job was cancelled."""

    def __init__(self, job: Job) -> None:
        super().__init__(f"{job.id} was cancelled.")
        self.job = job


class WaitTimeout(CleanClipError):
    """The time to wait is over; what was waited for goes on."""

    def __init__(self, last: Checkpoint | Dataset | Job, timeout_s: float) -> None:
        super().__init__(f"{last.id} is still {last.state} after {timeout_s:g} s; it continues.")
        self.last = last


_BY_STATUS: Mapping[int, type[ApiError]] = {
    400: InvalidInput,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: InvalidInput,
    415: InvalidInput,
    422: InvalidInput,
    429: RateLimited,
}


def api_error(status: int, problem: Mapping[str, Any], *, retry_after_s: float | None = None) -> ApiError:
    """The exception for a problem document; fields that are absent or odd are tolerated."""
    kind = _BY_STATUS.get(status, ServerError if status >= 500 else ApiError)
    items = problem.get("errors")
    return kind(
        status=status,
        code=str(problem.get("code", f"http_{status}")),
        detail=str(problem.get("detail") or problem.get("title") or f"The service answered {status}."),
        title=str(problem.get("title") or ""),
        remedy=str(problem["remedy"]) if problem.get("remedy") else None,
        errors=[
            ErrorItem(
                pointer=item.get("pointer"),
                parameter=item.get("parameter"),
                detail=str(item.get("detail", "")),
            )
            for item in (items if isinstance(items, list) else [])
            if isinstance(item, dict)
        ],
        request_id=str(problem["request_id"]) if problem.get("request_id") else None,
        retry_after_s=retry_after_s,
    )
