"""What a large body costs before anything is known of it: it is read and parsed on the event loop, where all
other requests wait meanwhile. A project's large bodies are spread over time.
"""

import asyncio

from app.domain.errors import Unavailable

_PER_BYTE_S, _PER_VALUE_S = 1e-7, 5e-6
"""Up to 250 ms were measured for a body of 50,000 values that are all wrong. How many it has is known when it
is there; each takes several bytes."""
_FREE_S = 0.002
"""What every request may cost: it is counted as one by the request rate."""


class Pace:
    """A project's large bodies take `share` of the event loop's time at most. Used by one event loop."""

    def __init__(
        self, *, share: float = 0.05, patience_s: float = 10.0, refused_after_s: float = 0.0
    ) -> None:
        self._share = share
        self._refused_after_s = refused_after_s
        self._patience_s = patience_s
        self._free_at_s: dict[str, float] = {}

    async def before(self, project_id: str, num_bytes: int) -> None:
        """Wait until a body of so many bytes may be read. Raises Unavailable (`bodies_busy`) where that takes
        longer than anybody waits."""
        if num_bytes * _PER_BYTE_S <= _FREE_S:
            return
        now_s = asyncio.get_running_loop().time()
        wait_s = max(0.0, self._free_at_s.get(project_id, now_s) - now_s)
        if wait_s > self._patience_s:
            await asyncio.sleep(self._refused_after_s)
            raise Unavailable(
                "bodies_busy",
                "Large bodies of the project are waiting already: another would not be read "
                f"within {wait_s:.0f} s.",
                "Send large bodies one after the other, and try again.",
                retry_after_s=round(wait_s),
            )
        self._spend(project_id, num_bytes * _PER_BYTE_S)
        await asyncio.sleep(wait_s)

    def after(self, project_id: str, num_bytes: int, num_values: int) -> None:
        """It is there, and has so many values: those after it wait for what it costs beyond its bytes."""
        cost_s = num_values * _PER_VALUE_S
        if cost_s > _FREE_S:
            self._spend(project_id, max(0.0, cost_s - num_bytes * _PER_BYTE_S))

    def _spend(self, project_id: str, cost_s: float) -> None:
        now_s = asyncio.get_running_loop().time()
        self._free_at_s = {known: at_s for known, at_s in self._free_at_s.items() if at_s > now_s}
        self._free_at_s[project_id] = self._free_at_s.get(project_id, now_s) + cost_s / self._share
