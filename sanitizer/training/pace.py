"""How fast a phase goes and how long it will take, from the last half minute. Knows only a clock."""

import time
from collections import deque
from collections.abc import Callable

WINDOW_S = 30.0


class Pace:
    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._marks: deque[tuple[float, int]] = deque()

    def mark(self, done: int) -> None:
        """`done` units are finished now. The first mark is the start."""
        now = self._now()
        self._marks.append((now, done))
        while len(self._marks) > 2 and now - self._marks[0][0] > WINDOW_S:
            self._marks.popleft()

    def restart(self, done: int) -> None:
        """Forget what was: something else took time meanwhile."""
        self._marks.clear()
        self.mark(done)

    @property
    def rate(self) -> float | None:
        """Units a second over the window; None until there are two marks at different times."""
        if len(self._marks) < 2:
            return None
        (start, first), (end, last) = self._marks[0], self._marks[-1]
        return (last - first) / (end - start) if end > start else None

    def eta_s(self, remaining: int) -> float | None:
        """Seconds for `remaining` units at this rate."""
        return remaining / self.rate if self.rate else None
