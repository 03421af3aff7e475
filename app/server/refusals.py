"""What the server itself answers, before or without the application: whole answers, as bytes."""

from dataclasses import dataclass
from http import HTTPStatus

from app.api.middleware import SAFE_HEADERS
from app.api.problems import problem
from app.domain.ids import new_id


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """One reason to end a connection. `code` is one of ERROR_CODES."""

    code: str
    detail: str
    remedy: str

    def rendered(self) -> bytes:
        """Status line, headers and a problem; the connection ends after it."""
        request_id = new_id("req")
        answer = problem(
            code=self.code,
            detail=self.detail,
            remedy=self.remedy,
            request_id=request_id,
            headers={**SAFE_HEADERS, "X-Request-ID": request_id, "Connection": "close"},
        )
        lines = [f"HTTP/1.1 {answer.status_code} {HTTPStatus(answer.status_code).phrase}".encode()]
        lines += [name + b": " + value for name, value in answer.raw_headers]
        return b"\r\n".join([*lines, b"", bytes(answer.body)])


UNREADABLE = Refusal(
    code="bad_request",
    detail="The request is not valid HTTP/1.1.",
    remedy="Send a request that a common HTTP client makes.",
)
NO_ONE_HOST = Refusal(
    code="bad_request",
    detail="An HTTP/1.1 request has one Host header with the name, and perhaps the port, of the service.",
    remedy="Send Host once, as a common HTTP client does.",
)
HEAD_TOO_LARGE = Refusal(
    code="head_too_large",
    detail="The request line and headers are larger, or more, than the service reads.",
    remedy="Send fewer or shorter headers; values belong in the body.",
)
HEAD_TOO_SLOW = Refusal(
    code="head_too_slow",
    detail="The request line and headers did not arrive in time.",
    remedy="Send the request again, over a faster connection.",
)
ADDRESS_FULL = Refusal(
    code="too_many_connections",
    detail="This address holds as many connections as one address may.",
    remedy="Close connections that you do not need, or use them for more than one request.",
)
SERVER_FULL = Refusal(
    code="connections_busy",
    detail="The service holds as many connections as it can.",
    remedy="Try again in a few seconds.",
)
