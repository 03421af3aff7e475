"""When and how long to wait before trying again, and the clock that does the waiting.

Exponential backoff with jitter: after n failed tries between half and all of base · 2ⁿ⁻¹ seconds; never less
than what the server's Retry-After asks for.

tenacity would be one more package for every customer, and Retry-After with its limit would still be written
here.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

RETRIED_STATUSES = frozenset({429, 502, 503, 504})


@dataclass(frozen=True)
class Clock:
    """Time as the client sees it; tests give one that does not wait."""

    now: Callable[[], float] = time.monotonic
    """Seconds; only differences mean anything."""
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class AsyncClock:
    """The same for the asynchronous client."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


SYSTEM_CLOCK = Clock()
ASYNC_SYSTEM_CLOCK = AsyncClock()


@dataclass(frozen=True, kw_only=True)
class Retries:
    """`max_tries` includes the first one. A Retry-After above `max_retry_after_s` is not waited for."""

    max_tries: int = 6
    base_s: float = 0.5
    max_s: float = 20.0
    max_retry_after_s: float = 120.0
    jitter: Callable[[], float] = field(default=random.random)
    """Uniform in [0, 1)."""

    def pause_s(self, num_tried: int, retry_after_s: float | None = None) -> float | None:
        """Seconds until the next try after `num_tried` failed ones; None: give up."""
        if num_tried >= self.max_tries:
            return None
        backoff_s = min(self.max_s, self.base_s * 2.0 ** (num_tried - 1)) * (0.5 + 0.5 * self.jitter())
        if retry_after_s is None:
            return backoff_s
        if retry_after_s > self.max_retry_after_s:
            return None
        return max(backoff_s, retry_after_s)


def parse_retry_after(text: str | None) -> float | None:
    """Seconds from a Retry-After header, in either of its forms; None where it is absent or unreadable."""
    if text is None:
        return None
    if text.strip().isdecimal():
        return float(text)
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())
