"""The request rate: each request of a project is counted, polls that end in 304 too; so is each failed login.

The answer carries `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10), which the
middleware adds from what is left in the scope. A failed login is counted per remote address. Over that limit
a further failure is answered 429; a valid key still passes, because behind a proxy one address is everybody,
and a key of 190 random bits is not guessed. `block_failing_addresses` refuses those, too.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

from starlette.concurrency import run_in_threadpool

from app.db.session import Database
from app.domain.errors import DomainError, QuotaExceeded, Unauthorized
from app.domain.quotas import QuotaName, QuotaUse
from app.queue.local_rates import WINDOW_S, Allowance
from app.queue.rates import Rates
from app.services.quotas import limits_of
from app.settings import QuotaSettings

ALLOWANCE = "rate_allowance"
"""Where in the scope of a request what is left for its project stands."""

_LIMITS_KEPT_S = 10.0
_MAX_KEPT = 10_000


def rate_headers(scope: Mapping[str, Any]) -> dict[str, str]:
    """The two header fields, where the request was counted."""
    allowance: Allowance | None = scope.get(ALLOWANCE)
    if allowance is None:
        return {}
    return {
        "RateLimit-Policy": f'"project";q={allowance.limit};w={WINDOW_S}',
        "RateLimit": f'"project";r={allowance.remaining};t={allowance.reset_s}',
    }


def num_counted(scope: Mapping[str, Any]) -> int:
    """How many requests of the project were counted within the window, this one included."""
    allowance: Allowance | None = scope.get(ALLOWANCE)
    return 0 if allowance is None else max(0, allowance.limit - allowance.remaining)


class RequestRates:
    """Of one application. A project's own limit is asked for every ten seconds at most."""

    def __init__(self, rates: Rates, database: Database, settings: QuotaSettings) -> None:
        self._rates = rates
        self._database = database
        self._settings = settings
        self._limits: dict[str, tuple[float, int]] = {}

    async def count(self, scope: MutableMapping[str, Any], project_id: str) -> None:
        """One request of the project. Raises QuotaExceeded (`rate_limited`) where it is one too many."""
        per_minute = await self._per_minute(project_id)
        allowance = await self._rates.spend(f"project/{project_id}", per_minute)
        scope[ALLOWANCE] = allowance
        if not allowance.is_allowed:
            await asyncio.sleep(self._settings.refused_after_s)
            raise QuotaExceeded(
                "rate_limited",
                f"The project may make {per_minute} requests a minute.",
                "Wait for the seconds in Retry-After; poll less often, and with If-None-Match.",
                retry_after_s=allowance.reset_s,
                quota=QuotaUse(name=QuotaName.REQUESTS_PER_MINUTE, limit=per_minute, current=per_minute),
            )

    async def _per_minute(self, project_id: str) -> int:
        until_s, limit = self._limits.get(project_id, (0.0, 0))
        if until_s > time.monotonic():
            return limit
        limit = await run_in_threadpool(self._ask, project_id)
        if len(self._limits) >= _MAX_KEPT:
            self._limits.clear()
        self._limits[project_id] = (time.monotonic() + _LIMITS_KEPT_S, limit)
        return limit

    def _ask(self, project_id: str) -> int:
        with self._database.unit_of_work(project_id) as unit:
            return limits_of(unit, project_id, self._settings).requests_per_minute

    @asynccontextmanager
    async def failures_counted(self, remote_addr: str | None) -> AsyncIterator[None]:
        """Around a login: its failure is one of the address's. Raises QuotaExceeded over the limit."""
        key, per_minute = f"failed/{remote_addr}", self._settings.failed_logins_per_minute
        if self._settings.block_failing_addresses:
            left = await self._rates.look(key, per_minute)
            if not left.is_allowed:
                raise _too_many_failures(left)
        try:
            yield
        except Unauthorized as failure:
            allowance = await self._rates.spend(key, per_minute)
            if not allowance.is_allowed:
                raise _too_many_failures(allowance) from failure
            raise

    async def close(self) -> None:
        """Let go of connections to the broker."""
        await self._rates.close()


def _too_many_failures(allowance: Allowance) -> DomainError:
    return QuotaExceeded(
        "login_rate_limited",
        "Too many requests without a valid key came from this address.",
        "Check the key, and wait for the seconds in Retry-After.",
        retry_after_s=allowance.reset_s,
    )
