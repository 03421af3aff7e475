"""One call of the sweep, and what of its answer may differ between a foreign id and an absent one."""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from tests.integration.access.belongings import Belongings
from tests.integration.access.coverage import Body, Coverage, holds, replaced
from tests.integration.access.document import Operation, Text
from tests.integration.access.watching import Work

VOLATILE_HEADERS = {"date", "x-request-id", "ratelimit", "ratelimit-policy", "ratelimit-remaining"}
_REQUEST_ID = re.compile(r"req_[0-9a-z]{26}")
_LAST_USED = re.compile(r'("last_used_at":)("[^"]*"|null)')
_JUST_MADE = re.compile(r'pol_[0-9a-z]{26}|(?<="(?:created|updated)_at":)"[^"]*"')
MUST_HAVE = {"x-content-type-options": "nosniff", "x-frame-options": "DENY", "referrer-policy": "no-referrer"}


@dataclass(frozen=True, kw_only=True)
class Call:
    operation: Operation
    ids: Mapping[str, str]
    """Of the path."""
    query: Mapping[str, str]
    body: Body | None
    key: str | None
    headers: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.operation.name} ({self.operation.method} {self.operation.path.format(**self.ids)})"


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    text: str
    work: tuple[str, ...]
    """What was asked of the database and the store."""
    took_s: float

    @property
    def code(self) -> str:
        return str(httpx.Response(self.status, text=self.text).json().get("code")) if self.text else ""

    def without(self, sent: str) -> tuple[int, Mapping[str, str], str, tuple[str, ...]]:
        """All that a caller can tell, but for the id sent, the request's own id and the date."""
        headers = {
            name: value.replace(sent, "ID")
            for name, value in self.headers.items()
            if name not in VOLATILE_HEADERS
        }
        body = _REQUEST_ID.sub("REQUEST", self.text).replace(sent, "ID")
        body = _JUST_MADE.sub("NEW", body) if self.status < 300 else body
        return self.status, headers, _LAST_USED.sub(r"\1TIME", body), self.work


class Caller:
    """Sends calls to one running application and looks at every answer's headers."""

    def __init__(self, url: str, work: Work, coverage: Coverage) -> None:
        self.coverage = coverage
        self.faults: list[str] = []
        self.num_calls = 0
        self._http = httpx.Client(base_url=url, timeout=60)
        self._work = work

    def close(self) -> None:
        self._http.close()

    def calls(
        self,
        operation: Operation,
        own: Belongings,
        *,
        key: str | None,
        instead: tuple[Text, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> list[Call]:
        """Calls of the operation with everything of `own`, but one id `instead`; one per accepted body."""
        ids = {name: own.first(self.coverage.prefixes[name]) for name in operation.path_ids}
        query: dict[str, str] = {}
        bodies = list(self.coverage.bodies_of(operation, own))
        if instead is not None:
            text, value = instead
            if text.place == "path":
                ids[text.pointer] = value
            elif text.place == "query":
                query[text.pointer] = value
            else:
                bodies = [replaced(body, text.pointer, value) for body in bodies if holds(body, text.pointer)]
        return [
            Call(operation=operation, ids=ids, query=query, body=body, key=key, headers=headers or {})
            for body in bodies
        ]

    def send(self, call: Call) -> Answer:
        """Call, and note faults that no answer may have."""
        headers = dict(call.headers)
        if call.key is not None:
            headers["Authorization"] = f"Bearer {call.key}"
        content: dict[str, Any] = {} if call.body is None else {"json": call.body}
        if call.body is None and call.operation.media_type is not None:
            content = {"content": b"abc"}
        request = self._http.build_request(
            call.operation.method,
            call.operation.path.format(**call.ids),
            params=call.query,
            headers=headers,
            **content,
        )
        self._work.begin()
        started = time.perf_counter()
        response = self._http.send(request)
        took_s = time.perf_counter() - started
        self.num_calls += 1
        self.faults += [f"{call}: {fault}" for fault in header_faults(response)]
        return Answer(
            status=response.status_code,
            headers=dict(response.headers),
            text=response.text,
            work=self._work.done(),
            took_s=took_s,
        )


def header_faults(answer: httpx.Response) -> list[str]:
    """What is wrong with the headers of an answer, whatever the answer is."""
    headers = answer.headers
    found = [
        f"{name} is {headers.get(name)}" for name, value in MUST_HAVE.items() if headers.get(name) != value
    ]
    if "default-src 'none'" not in headers.get("content-security-policy", ""):
        found.append("no strict Content-Security-Policy")
    if not headers.get("x-request-id"):
        found.append("no request id")
    if "server" in headers or "x-powered-by" in headers:
        found.append(f"a banner: {headers.get('server') or headers.get('x-powered-by')}")
    cache = headers.get("cache-control", "")
    may_be_kept = answer.request.method == "GET" and answer.status_code in {200, 304} and "etag" in headers
    if cache != "no-store" and not (may_be_kept and cache == "private, no-cache"):
        found.append(f"Cache-Control is {cache or 'missing'}")
    return found
