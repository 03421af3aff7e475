"""The loss while a job trains, for whoever watches: at most MAX_POINTS, whatever the child says.

They go with the progress of the job's row and come back with its next attempt, which goes on from a saved
state: the points after that state are dropped then, and made again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

MAX_POINTS = 200
"""3 kB in a row that is written every second; the report has the curve in full."""
_POINTS_OF_A_JOB = 100

Point = list[float]
"""[step, loss], as JSON has it."""


class LossCurve:
    """Each point is the mean of the losses that were heard since the one before."""

    def __init__(self, points: Iterable[Point] = ()) -> None:
        self._points = [list(point) for point in points if None not in point]
        self._thin_out()
        self._sum = 0.0
        self._num_heard = 0

    @property
    def points(self) -> list[Point]:
        """A copy of the list; points are never changed."""
        return list(self._points)

    def hear(self, step: int, loss: float, total_steps: int) -> None:
        """The loss after `step` of `total_steps`. What is not a number is left out: no row could hold it."""
        while self._points and self._points[-1][0] >= step:
            self._points.pop()
        if not math.isfinite(loss):
            return
        self._sum += loss
        self._num_heard += 1
        stride = max(1, math.ceil(total_steps / _POINTS_OF_A_JOB))
        if self._points and step // stride == int(self._points[-1][0]) // stride and step < total_steps:
            return
        self._points.append([step, float(f"{self._sum / self._num_heard:.4g}")])
        self._sum, self._num_heard = 0.0, 0
        self._thin_out()

    def _thin_out(self) -> None:
        """The stride is taken from a total that the child says, which may be another with every step."""
        while len(self._points) > MAX_POINTS:
            self._points = self._points[::-2][::-1]
