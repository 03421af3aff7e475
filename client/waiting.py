"""Polling until something is finished: If-None-Match, a pace that slows while nothing changes, patience.

Knows no noun. An outage of the service in the middle of a wait is sat out for five minutes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from client.errors import RateLimited, ServerError, TransportError, UnexpectedAnswer, WaitTimeout
from client.models import Checkpoint, Dataset, Job
from client.retries import parse_retry_after
from client.wire import Wire

R = TypeVar("R", Checkpoint, Dataset, Job)

FIRST_PAUSE_S = 0.5
SLOWER_BY = 1.5
LONGEST_PAUSE_S = 5.0
PATIENCE_S = 300.0


def wait_for(
    wire: Wire,
    kind: type[R],
    path: str,
    *,
    timeout_s: float | None,
    on_change: Callable[[R], None] | None,
) -> R:
    """Poll `path` until `is_finished`; `on_change` gets the first answer and every one that differs.

    Raises WaitTimeout, ApiError; TransportError at once for the first request, later after PATIENCE_S.
    """
    clock = wire.clock
    started = clock.now()
    current: R | None = None
    etag: str | None = None
    pause_s = FIRST_PAUSE_S
    silent_since: float | None = None
    while True:
        asked_s = 0.0
        try:
            answer = wire.send("GET", path, headers={"If-None-Match": etag} if etag else None)
            if answer.status_code == 304:
                pause_s = min(LONGEST_PAUSE_S, pause_s * SLOWER_BY)
            else:
                current, etag = wire.read(kind, answer), answer.headers.get("ETag")
                if on_change is not None:
                    on_change(current)
                if current.is_finished:
                    return current
                pause_s = FIRST_PAUSE_S
            silent_since = None
            asked_s = parse_retry_after(answer.headers.get("Retry-After")) or 0.0
        except (TransportError, ServerError, RateLimited) as error:
            if current is None or isinstance(error, UnexpectedAnswer):
                raise
            silent_since = clock.now() if silent_since is None else silent_since
            if clock.now() - silent_since > PATIENCE_S:
                raise
            pause_s = LONGEST_PAUSE_S
        assert current is not None
        left_s = float("inf") if timeout_s is None else started + timeout_s - clock.now()
        if left_s <= 0:
            assert timeout_s is not None
            raise WaitTimeout(current, timeout_s)
        clock.sleep(min(max(pause_s, asked_s), left_s))
