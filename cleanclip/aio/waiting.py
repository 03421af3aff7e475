"""Waiting until something is finished: If-None-Match, a pace that slows while nothing changes, patience.

What can be followed live is, as long as that works, and polled otherwise. An outage of the
service in the middle of a wait is sat out for five minutes.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Generic, TypeVar

from cleanclip.aio.wire import Wire
from cleanclip.errors import RateLimited, ServerError, TransportError, UnexpectedAnswer, WaitTimeout
from cleanclip.models import Checkpoint, Dataset, Job
from cleanclip.retries import AsyncClock, parse_retry_after

R = TypeVar("R", Checkpoint, Dataset, Job)

FIRST_PAUSE_S = 0.5
SLOWER_BY = 1.5
LONGEST_PAUSE_S = 5.0
PATIENCE_S = 300.0
OUTAGES = (TransportError, ServerError, RateLimited)
"""What a wait that has begun sits out."""


class Patience:
    """Sits out an outage: an error is raised again only once there was no answer for PATIENCE_S."""

    def __init__(self, clock: AsyncClock) -> None:
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


class _Watched(Generic[R]):
    """What is waited for, as it was last seen."""

    def __init__(self, wire: Wire, kind: type[R], path: str, on_change: Callable[[R], None] | None) -> None:
        self._wire = wire
        self._kind: type[R] = kind
        self._path = path
        self._on_change: Callable[[R], None] | None = on_change
        self._etag: str | None = None
        self._patience = Patience(wire.clock)
        self._pause_s = FIRST_PAUSE_S
        self.last: R | None = None

    async def poll(self) -> tuple[R, float]:
        """Ask once; its state, and how many seconds to wait before it is asked again."""
        asked_s = 0.0
        try:
            headers = {"If-None-Match": self._etag} if self._etag else None
            answer = await self._wire.send("GET", self._path, headers=headers)
            if answer.status_code == 304:
                self._pause_s = min(LONGEST_PAUSE_S, self._pause_s * SLOWER_BY)
            else:
                self._saw(self._wire.read(self._kind, answer), answer.headers.get("ETag"))
                self._pause_s = FIRST_PAUSE_S
            self._patience.heard()
            asked_s = parse_retry_after(answer.headers.get("Retry-After")) or 0.0
        except OUTAGES as error:
            if self.last is None:
                raise
            self._patience.bear(error)
            self._pause_s = LONGEST_PAUSE_S
        assert self.last is not None
        return self.last, max(self._pause_s, asked_s)

    async def follow(self, states: AsyncGenerator[R, None]) -> R:
        """Take the states as they come; the last of them. One that was seen already is skipped."""
        async with aclosing(states):
            async for state in states:
                own = getattr(state, "etag", None)
                tag = None if own is None else f'"{own}"'
                if tag is None or tag != self._etag:
                    self._saw(state, tag)
        assert self.last is not None
        return self.last

    def _saw(self, state: R, etag: str | None) -> None:
        self.last, self._etag = state, etag
        if self._on_change is not None:
            self._on_change(state)


async def wait_for(
    wire: Wire,
    kind: type[R],
    path: str,
    *,
    timeout_s: float | None,
    on_change: Callable[[R], None] | None,
    follow: Callable[[float], AsyncGenerator[R, None]] | None = None,
) -> R:
    """Poll `path` until `is_finished`; `on_change` gets the first answer and every one that differs.

    `follow`, given how long it may take, yields the states as they change, without polling; where it ends
    before the last one, polling does the rest.
    Raises WaitTimeout, ApiError; TransportError at once for the first request, later after PATIENCE_S.
    """
    clock = wire.clock
    ends_at = float("inf") if timeout_s is None else clock.now() + timeout_s
    watched = _Watched(wire, kind, path, on_change)
    while True:
        current, pause_s = await watched.poll()
        if follow is not None and not current.is_finished:
            current = await watched.follow(follow(ends_at - clock.now()))
            follow = None
        if current.is_finished:
            return current
        left_s = ends_at - clock.now()
        if left_s <= 0:
            assert timeout_s is not None
            raise WaitTimeout(current, timeout_s)
        await clock.sleep(min(pause_s, left_s))
