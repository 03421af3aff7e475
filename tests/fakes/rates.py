"""A `Rates` that counts in this process, in whole windows of its own clock."""

import math
from collections import deque

from app.queue.local_rates import WINDOW_S, Allowance


class FakeRates:
    """A real sliding window. `clock_s` is moved by the test."""

    def __init__(self) -> None:
        self.clock_s = 0.0
        self._seen: dict[str, deque[float]] = {}

    async def spend(self, key: str, per_minute: int) -> Allowance:
        return self._answer(key, per_minute, spends=True)

    async def look(self, key: str, per_minute: int) -> Allowance:
        return self._answer(key, per_minute, spends=False)

    async def close(self) -> None:
        pass

    def _answer(self, key: str, per_minute: int, *, spends: bool) -> Allowance:
        seen = self._seen.setdefault(key, deque())
        while seen and seen[0] <= self.clock_s - WINDOW_S:
            seen.popleft()
        is_allowed = len(seen) < per_minute
        if is_allowed and spends:
            seen.append(self.clock_s)
        oldest = seen[0] if seen else self.clock_s
        return Allowance(
            is_allowed=is_allowed,
            limit=per_minute,
            remaining=per_minute - len(seen),
            reset_s=max(1, math.ceil(oldest + WINDOW_S - self.clock_s)),
        )
