"""`Rates`: how often something may happen in a minute, counted for all processes together at the broker.

A window that slides (two counters, weighted), by the library `limits`. Of a busy key a process takes a
hundredth of the limit at once: to ask the broker for every request costs 0.2 to 0.3 ms of processor time, a
third of what a poll costs in all. One request of a process asks for a key at a time. Where the broker
is away, each process counts for itself.
"""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from limits import RateLimitItemPerMinute
from limits.aio.storage import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import StorageError
from redis.asyncio import BlockingConnectionPool
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from app.logs import get_logger
from app.queue.local_rates import WINDOW_S, Allowance, LocalRate

ASK_AGAIN_AFTER_S = 5.0
MAX_KEPT = 10_000
"""Of each kind of key."""
NUM_CONNECTIONS = 16
MISSES_OF_AN_OUTAGE = 3
"""So many answers that did not come in time, one after the other: this process may have been late itself."""

_TOO_SLOW = (RedisTimeoutError, TimeoutError)
_BROKER_ERRORS = (RedisError, StorageError, OSError, TimeoutError)
_LOG = get_logger(__name__)
Answer = TypeVar("Answer")


class Rates(Protocol):
    """Counts. Used on one event loop; never raises. Keys are `kind/name`: `failed/10.0.0.7`."""

    async def spend(self, key: str, per_minute: int) -> Allowance:
        """One more of `key`, of which there may be so many in any minute."""

    async def look(self, key: str, per_minute: int) -> Allowance:
        """The same without counting; `is_allowed` says whether one more would be."""

    async def close(self) -> None:
        """Let go of connections."""


class BrokerRates:
    """`url` as Celery takes it (redis://, rediss://, unix://). `on_outage` is called once per outage."""

    def __init__(
        self,
        url: str,
        *,
        key_prefix: str = "",
        timeout_s: float = 0.25,
        on_outage: Callable[[], None] = lambda: None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        # Requests wait for `_places`, in which no time runs; a connection is then free.
        self._places = asyncio.Semaphore(NUM_CONNECTIONS)
        self._pool = BlockingConnectionPool.from_url(
            url,
            max_connections=2 * NUM_CONNECTIONS,
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
        self._outage = _Outage(on_outage, now_s)
        self._timeout_s = timeout_s
        self._now_s = now_s
        self._local: dict[str, OrderedDict[str, LocalRate]] = {}

    async def spend(self, key: str, per_minute: int) -> Allowance:
        local = self._known(key)
        found = local.take(per_minute, self._now_s())
        if found is None:
            async with local.lock:
                found = local.take(per_minute, self._now_s()) or await self._take(key, per_minute, local)
        if found is None:
            return local.spend_alone(per_minute, self._now_s())
        if found.is_allowed:
            local.count(self._now_s())
        return found

    async def look(self, key: str, per_minute: int) -> Allowance:
        found = await self._asked(lambda: self._stats(key, per_minute))
        return found or self._known(key).look_alone(per_minute, self._now_s())

    async def close(self) -> None:
        await self._pool.disconnect()

    def _known(self, key: str) -> LocalRate:
        """Each kind by itself, so that unknown addresses push no project out; what was used last stays."""
        kept = self._local.setdefault(key.partition("/")[0], OrderedDict())
        local = kept.setdefault(key, LocalRate())
        kept.move_to_end(key)
        if len(kept) > MAX_KEPT:
            kept.popitem(last=False)
        return local

    async def _take(self, key: str, per_minute: int, local: LocalRate) -> Allowance | None:
        """As many as the moment wants, or one where so many are not left; the first of them is taken."""

        async def ask() -> tuple[int, Allowance]:
            for num in {local.num_wanted(per_minute, self._now_s()): None, 1: None}:
                if await self._limiter.hit(RateLimitItemPerMinute(per_minute), key, cost=num):
                    return num, await self._stats(key, per_minute)
            return 0, await self._stats(key, per_minute)

        found = await self._asked(ask)
        if found is None:
            return None
        local.keep(*found, now=self._now_s())
        return local.take(per_minute, self._now_s())

    async def _stats(self, key: str, per_minute: int) -> Allowance:
        stats = await self._limiter.get_window_stats(RateLimitItemPerMinute(per_minute), key)
        left = max(0, int(stats.remaining))
        return Allowance(
            is_allowed=left > 0,
            limit=per_minute,
            remaining=left,
            reset_s=max(1, min(WINDOW_S, math.ceil(stats.reset_time - time.time()))),
        )

    async def _asked(self, ask: Callable[[], Awaitable[Answer]]) -> Answer | None:
        """None: the broker did not answer."""
        async with self._places:
            if self._outage.is_on():
                return None
            started_s = self._now_s()
            try:
                async with asyncio.timeout(2 * self._timeout_s):
                    answer = await ask()
            except _BROKER_ERRORS as error:
                self._outage.missed(error, started_s)
                return None
            self._outage.answered()
            return answer


@dataclass
class _Outage:
    """Begins with a broken connection, or with answers that stay away; then nobody asks for a while."""

    on_begin: Callable[[], None]
    now_s: Callable[[], float]
    until_s: float = -math.inf
    num_misses: int = 0
    last_miss_s: float = -math.inf

    def is_on(self) -> bool:
        return self.now_s() < self.until_s

    def answered(self) -> None:
        self.num_misses = 0

    def missed(self, error: Exception, started_s: float) -> None:
        """Those that waited side by side are one miss."""
        if started_s >= self.last_miss_s:
            self.num_misses += 1
            self.last_miss_s = self.now_s()
        if self.is_on() or (isinstance(error, _TOO_SLOW) and self.num_misses < MISSES_OF_AN_OUTAGE):
            return
        self.until_s = self.now_s() + ASK_AGAIN_AFTER_S
        _LOG.warning("requests_counted_alone", reason=type(error).__name__, for_s=ASK_AGAIN_AFTER_S)
        self.on_begin()
