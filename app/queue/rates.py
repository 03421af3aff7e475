"""`Rates`: how often something may happen in a minute, counted for all processes together at the broker.

A window that slides (two counters, weighted), by the library `limits`. A busy key is counted in small
batches, at most a hundredth of its limit ahead, so that polling does not ask the broker for every request.
Where the broker does not answer, everything passes uncounted for a few seconds: requests are worth more than
their count.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Protocol

from limits import RateLimitItemPerMinute
from limits.aio.storage import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import StorageError
from redis.asyncio import BlockingConnectionPool
from redis.exceptions import RedisError

from app.logs import get_logger

WINDOW_S = 60
ASK_AGAIN_AFTER_S = 5.0
MAX_KEPT = 10_000
_BATCH_SHARE = 0.01
_BATCH_FOR_S = 0.1
_BROKER_ERRORS = (RedisError, StorageError, OSError, TimeoutError)
_LOG = get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """What is left of a limit after one more. `reset_s`: until some of it is there again, at least 1."""

    is_allowed: bool
    limit: int
    remaining: int
    reset_s: int


class Rates(Protocol):
    """Counts. Used on one event loop; never raises."""

    async def spend(self, key: str, per_minute: int) -> Allowance | None:
        """One more of `key`, of which there may be so many in any minute. None: not counted, let it pass."""
        ...

    async def look(self, key: str, per_minute: int) -> Allowance | None:
        """The same without counting; `is_allowed` says whether one more would be."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


@dataclass
class _Batch:
    permits: int
    size: int
    taken_at_s: float
    allowance: Allowance


class BrokerRates:
    """`url` as Celery takes it (redis://, rediss://, unix://). `on_outage` is told once per outage."""

    def __init__(
        self,
        url: str,
        *,
        key_prefix: str = "",
        timeout_s: float = 0.25,
        on_outage: Callable[[], None] = lambda: None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool = BlockingConnectionPool.from_url(
            url,
            max_connections=16,
            timeout=timeout_s,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
        )
        storage = RedisStorage(
            "async+redis://",  # the pool knows the real address
            implementation="redispy",
            connection_pool=self._pool,  # type: ignore[arg-type]  # as its documentation has it
            key_prefix=f"{key_prefix}cleanclip.rates",
        )
        self._limiter = SlidingWindowCounterRateLimiter(storage)
        self._timeout_s = timeout_s
        self._on_outage = on_outage
        self._now_s = now_s
        self._away_until_s = -math.inf
        self._batches: dict[str, _Batch] = {}

    async def spend(self, key: str, per_minute: int) -> Allowance | None:
        now = self._now_s()
        batch = self._batches.get(key)
        is_recent = batch is not None and now - batch.taken_at_s < _BATCH_FOR_S
        if batch is not None and is_recent and batch.permits > 0 and batch.allowance.limit == per_minute:
            batch.permits -= 1
            return replace(batch.allowance, remaining=batch.allowance.remaining + batch.permits)
        most = max(1, int(per_minute * _BATCH_SHARE))
        size = min(most, 2 * batch.size) if batch is not None and is_recent else 1
        return await self._asked(lambda: self._take(key, per_minute, size, now))

    async def look(self, key: str, per_minute: int) -> Allowance | None:
        return await self._asked(lambda: self._stats(key, per_minute, is_allowed=None))

    async def close(self) -> None:
        await self._pool.disconnect()

    async def _take(self, key: str, per_minute: int, size: int, now: float) -> Allowance:
        item = RateLimitItemPerMinute(per_minute)
        is_allowed = await self._limiter.hit(item, key, cost=size)
        if not is_allowed and size > 1:  # fewer may be left than a batch
            size = 1
            is_allowed = await self._limiter.hit(item, key)
        allowance = await self._stats(key, per_minute, is_allowed=is_allowed)
        if is_allowed:
            if len(self._batches) >= MAX_KEPT:
                self._batches.clear()
            self._batches[key] = _Batch(size - 1, size, now, allowance)
            return replace(allowance, remaining=allowance.remaining + size - 1)
        return allowance

    async def _stats(self, key: str, per_minute: int, *, is_allowed: bool | None) -> Allowance:
        stats = await self._limiter.get_window_stats(RateLimitItemPerMinute(per_minute), key)
        left = max(0, int(stats.remaining))
        return Allowance(
            is_allowed=left > 0 if is_allowed is None else is_allowed,
            limit=per_minute,
            remaining=left,
            reset_s=max(1, min(WINDOW_S, math.ceil(stats.reset_time - time.time()))),
        )

    async def _asked(self, ask: Callable[[], Awaitable[Allowance]]) -> Allowance | None:
        if self._now_s() < self._away_until_s:
            return None
        try:
            async with asyncio.timeout(2 * self._timeout_s):
                return await ask()
        except _BROKER_ERRORS as error:
            self._away_until_s = self._now_s() + ASK_AGAIN_AFTER_S
            self._batches.clear()
            _LOG.warning("requests_not_counted", reason=type(error).__name__, for_s=ASK_AGAIN_AFTER_S)
            self._on_outage()
            return None
