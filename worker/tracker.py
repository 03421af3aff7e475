"""Where the job stands, as phases and one fraction; written by the runner, read by the heartbeat. No clock.

Times are the database's business: the tracker says that a phase began, the heartbeat's transaction when.

The loss while a job trains, for whoever watches: at most MAX_POINTS, whatever the child says.

They go with the progress of the job's row and come back with its next attempt, which goes on from a saved
state: the points after that state are dropped then, and made again.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from app.domain.states import JobKind, JobPhase, PhaseState, phases_of
from cleanclip.kinds.catalogue import KINDS
from cleanclip.vocabulary.progress import Advanced, Noted, PhaseFinished, PhaseStarted, ProgressEvent
from worker import metrics

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


MAX_NOTES = 200
"""Per attempt; a child that chatters more is cut short."""
_MAX_MESSAGE_CHARACTERS = 500


class Tracker:
    """Thread-safe. Phases only move forward."""

    def __init__(
        self, kind: JobKind, loss_curve: Iterable[Point] = (), spec: Mapping[str, Any] | None = None
    ) -> None:
        """`loss_curve`: what earlier attempts left. `spec`: what was ordered."""
        self._lock = threading.Lock()
        self._phases: dict[JobPhase, PhaseState] = dict.fromkeys(phases_of(kind, spec), PhaseState.PENDING)
        self._progress: dict[str, Any] = {
            "fraction": 0.0,
            "step": None,
            "total_steps": None,
            "eta_s": None,
            "message": None,
        }
        self._curve = LossCurve(loss_curve)
        if self._curve.points:
            self._progress["loss_curve"] = self._curve.points
        self._notes: deque[dict[str, str]] = deque()
        self._num_notes = 0
        self._phase: JobPhase | None = None
        self._kind = kind
        self._began_at_s = time.monotonic()

    @property
    def phase(self) -> JobPhase | None:
        """The phase that began last."""
        return self._phase

    def begin(self, phase: JobPhase) -> None:
        """Start a phase; every phase before it is over."""
        with self._lock:
            if phase not in self._phases:
                return
            for earlier in self._phases:
                if earlier is phase:
                    break
                self._succeed(earlier)
            if self._phases[phase] is PhaseState.PENDING:
                self._phases[phase] = PhaseState.RUNNING
                self._began_at_s = time.monotonic()
                self._phase = phase
                self._say(0.0, step=None, total_steps=None, eta_s=None, message=None)

    def end(self, phase: JobPhase) -> None:
        """A phase is over."""
        with self._lock:
            if self._phases.get(phase) is PhaseState.RUNNING:
                self._succeed(phase)
                self._say(0.0, step=None, total_steps=None, eta_s=None, message=None)

    def advance(self, share: float, **values: Any) -> None:
        """`share` (0 to 1) of the running phase is done; `values` are step, total_steps, eta_s, message, …

        Between two phases nothing is reported: a cleaning that scanned first stages its inputs a second time.
        """
        with self._lock:
            if self._phase is not None and self._phases[self._phase] is PhaseState.RUNNING:
                self._say(share, **values)

    def note(self, level: str, message: str) -> None:
        """A sentence for the job's events."""
        with self._lock:
            if self._num_notes >= MAX_NOTES:
                return
            self._num_notes += 1
            self._notes.append({"level": level, "message": message[:_MAX_MESSAGE_CHARACTERS]})

    def take_notes(self) -> list[dict[str, str]]:
        """The notes that were not taken yet."""
        with self._lock:
            taken = list(self._notes)
            self._notes.clear()
            return taken

    def snapshot(self) -> tuple[dict[JobPhase, PhaseState], dict[str, Any]]:
        """Copies of phases and progress."""
        with self._lock:
            return dict(self._phases), dict(self._progress)

    def apply(self, event: ProgressEvent) -> None:
        """Take over what the child said. Events about phases that the job does not have are ignored."""
        if isinstance(event, PhaseStarted | PhaseFinished):
            phase = next((one for one in self._phases if one == event.phase), None)
            if phase is not None:
                (self.begin if isinstance(event, PhaseStarted) else self.end)(phase)
        elif isinstance(event, Noted):
            self.note(event.level, event.message)
        elif isinstance(event, Advanced) and event.phase == self._phase:
            if event.loss is not None and event.total:
                self._hear_loss(event.done, event.loss, event.total)
            if event.rate is not None and event.rate_unit == "pairs":
                metrics.PAIRS_PER_SECOND.set(event.rate)
            self.advance(
                event.done / event.total if event.total else 0.0,
                step=event.done,
                total_steps=event.total,
                eta_s=event.eta_s,
                message=event.message[:_MAX_MESSAGE_CHARACTERS] if event.message else None,
                rate=event.rate,
                rate_unit=event.rate_unit,
                loss=event.loss,
            )

    def _succeed(self, phase: JobPhase) -> None:
        if self._phases[phase] is PhaseState.RUNNING:
            metrics.phase_ended(self._kind, phase, time.monotonic() - self._began_at_s)
        self._phases[phase] = PhaseState.SUCCEEDED

    def _hear_loss(self, step: int, loss: float, total_steps: int) -> None:
        with self._lock:
            self._curve.hear(step, loss, total_steps)

    def _say(self, share: float, **values: Any) -> None:
        weights = {phase: KINDS[self._kind].phase(phase).weight for phase in self._phases}
        done: float = sum(weights[phase] for phase, s in self._phases.items() if s is PhaseState.SUCCEEDED)
        if self._phase is not None and self._phases[self._phase] is PhaseState.RUNNING:
            done += weights[self._phase] * min(1.0, max(0.0, share))
        fraction = max(float(self._progress["fraction"]), round(done / sum(weights.values()), 4))
        self._progress = {"fraction": fraction, **values}
        if self._curve.points:
            self._progress["loss_curve"] = self._curve.points
