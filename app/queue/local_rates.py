"""What one process knows of a limit: what it took ahead at the broker, and what it let pass itself.

`limits`, which counts at the broker, takes nothing ahead and keeps no refusal; its storage in memory has no
bound on the number of keys, so that unknown addresses could fill it in an outage.
"""

import asyncio
import math
from dataclasses import dataclass, field, replace

WINDOW_S = 60
_BUSY_WITHIN_S = 0.1
_BATCH_FOR_S = 1.0
_REFUSED_FOR_S = 0.1


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """What is left of a limit after one more. `reset_s`: until some of it is there again, at least 1."""

    is_allowed: bool
    limit: int
    remaining: int
    reset_s: int


@dataclass
class LocalRate:
    """Of one key. `lock` is held by the one who asks the broker."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _permits: int = 0
    _asked_at_s: float = -math.inf
    _allowance: Allowance | None = None
    _window: int = 0
    _num_before: int = 0
    _num_now: int = 0

    # -- as the broker said

    def take(self, per_minute: int, now: float) -> Allowance | None:
        """One of those taken ahead, or the refusal that came just now. None: ask."""
        known, age_s = self._allowance, now - self._asked_at_s
        if known is None or known.limit != per_minute:
            return None
        if self._permits and age_s < _BATCH_FOR_S:
            self._permits -= 1
            return replace(known, is_allowed=True, remaining=known.remaining + self._permits)
        return known if not known.is_allowed and age_s < _REFUSED_FOR_S else None

    def num_wanted(self, per_minute: int, now: float) -> int:
        """How many to take at the broker: a hundredth of the limit of a busy key, else one."""
        is_busy = now - self._asked_at_s < _BUSY_WITHIN_S
        return max(1, per_minute // 100) if is_busy else 1

    def keep(self, num: int, left: Allowance, *, now: float) -> None:
        """So many were taken at the broker, which left that; 0: refused."""
        self._permits = num
        self._allowance = replace(left, is_allowed=num > 0)
        self._asked_at_s = now

    # -- alone

    def count(self, now: float) -> None:
        """One passed."""
        self._turn(now)
        self._num_now += 1

    def spend_alone(self, per_minute: int, now: float) -> Allowance:
        """One more, by what passed in this process."""
        found = self.look_alone(per_minute, now)
        if not found.is_allowed:
            return found
        self._num_now += 1
        return replace(found, remaining=found.remaining - 1)

    def look_alone(self, per_minute: int, now: float) -> Allowance:
        """The same without counting."""
        self._turn(now)
        rest_s = (self._window + 1) * WINDOW_S - now
        left = max(0, per_minute - math.ceil(self._num_before * rest_s / WINDOW_S) - self._num_now)
        return Allowance(
            is_allowed=left > 0,
            limit=per_minute,
            remaining=left,
            reset_s=max(1, min(WINDOW_S, math.ceil(rest_s))),
        )

    def _turn(self, now: float) -> None:
        window = int(now // WINDOW_S)
        if window != self._window:
            self._num_before = self._num_now if window == self._window + 1 else 0
            self._window, self._num_now = window, 0
