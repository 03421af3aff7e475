"""Waiting until something is finished: If-None-Match, a pace that slows while nothing changes, patience.

Knows no noun. What can be followed live is, as long as that works, and polled otherwise. An outage of the
service in the middle of a wait is sat out for five minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from client.errors import RateLimited, ServerError, TransportError, UnexpectedAnswer, WaitTimeout
from client.models import Checkpoint, Dataset, Job
from client.retries import Clock, parse_retry_after
from client.wire import Wire

R = TypeVar("R", Checkpoint, Dataset, Job)

FIRST_PAUSE_S = 0.5
SLOWER_BY = 1.5
LONGEST_PAUSE_S = 5.0
PATIENCE_S = 300.0


class Patience:
    """Sits out an outage: an error is raised again only once there was no answer for PATIENCE_S."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._silent_since: float | None = None

    def heard(self) -> None:
        """There was an answer."""
        self._silent_since = None

    def bear(self, error: Exception) -> None:
        """Raises `error` where patience is at its end."""
        if isinstance(error, UnexpectedAnswer):
            raise error
        now = self._clock.now()
        self._silent_since = now if self._silent_since is None else self._silent_since
        if now - self._silent_since > PATIENCE_S:
            raise error


def wait_for(
    wire: Wire,
    kind: type[R],
    path: str,
    *,
    timeout_s: float | None,
    on_change: Callable[[R], None] | None,
    follow: Callable[[float], Iterator[R]] | None = None,
) -> R:
    """Poll `path` until `is_finished`; `on_change` gets the first answer and every one that differs.

    `follow`, given how long it may take, yields the states as they change, without polling; where it ends
    before the last one, polling does the rest.
    Raises WaitTimeout, ApiError; TransportError at once for the first request, later after PATIENCE_S.
    """
    clock = wire.clock
    ends_at = float("inf") if timeout_s is None else clock.now() + timeout_s
    current: R | None = None
    etag: str | None = None
    pause_s = FIRST_PAUSE_S
    patience = Patience(clock)
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
                pause_s = FIRST_PAUSE_S
            patience.heard()
            asked_s = parse_retry_after(answer.headers.get("Retry-After")) or 0.0
        except (TransportError, ServerError, RateLimited) as error:
            if current is None:
                raise
            patience.bear(error)
            pause_s = LONGEST_PAUSE_S
        assert current is not None
        if follow is not None and not current.is_finished:
            current, etag = _followed(current, etag, follow(ends_at - clock.now()), on_change)
            follow = None
        if current.is_finished:
            return current
        left_s = ends_at - clock.now()
        if left_s <= 0:
            assert timeout_s is not None
            raise WaitTimeout(current, timeout_s)
        clock.sleep(min(max(pause_s, asked_s), left_s))


def _followed(
    current: R, etag: str | None, states: Iterator[R], on_change: Callable[[R], None] | None
) -> tuple[R, str | None]:
    """The last of the states, and its ETag; each that differs from the one before is told."""
    for state in states:
        own = getattr(state, "etag", None)
        tag = etag if own is None else f'"{own}"'
        if tag is not None and tag == etag:
            continue
        current, etag = state, tag
        if on_change is not None:
            on_change(current)
    return current, etag
