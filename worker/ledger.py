"""Every write of one attempt: one short transaction each, fenced by the attempt, patient with the database.

A database that is away for a moment delays a write; one that is away past the lease makes the attempt
stop, because by then the job may be somebody else's.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from app.db.repositories.attempt_values import (
    CheckpointAccepted,
    ClaimedJob,
    DatasetReady,
    Heartbeat,
    NewArtifact,
    NewVerdict,
)
from app.db.repositories.attempts import AttemptRepository
from app.db.session import Database
from app.domain.errors import Unavailable
from app.domain.states import JobPhase, JobState, PhaseState
from worker.control import Control, Stopped, StopReason

T = TypeVar("T")
_RETRY_EVERY_S = 0.5
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Goes on while the machine is suspended, where there is such a clock: a lease does, too."""


def _now() -> float:
    return time.clock_gettime(_CLOCK)


def patient_with_database(work: Callable[[], T], check: Callable[[], None]) -> T:
    """`work`, again while the database is away. `check` raises once the lease has run out meanwhile."""
    while True:
        check()
        try:
            return work()
        except Unavailable:
            time.sleep(_RETRY_EVERY_S)


class Ledger:
    """Bound to one job and one attempt. Every method raises Stopped(FENCED) once they are no longer ours."""

    def __init__(self, database: Database, job: ClaimedJob, control: Control, *, lease_s: float) -> None:
        self._database = database
        self._job = job
        self._control = control
        self._lease_s = lease_s
        self._held_until = _now() + lease_s

    @property
    def is_held(self) -> bool:
        """Whether the lease, counted from before the last beat was sent, still runs by our own clock."""
        return _now() < self._held_until

    def is_ours(self) -> bool:
        """Whether what is written now may still count: the lease runs, and nobody cancelled the job."""
        return self.is_held and self._control.reason not in {StopReason.FENCED, StopReason.CANCEL}

    def check(self) -> None:
        """Before anything is written anywhere: raises Stopped(FENCED) unless the lease still runs.

        A process that slept past its lease finds out here, before it could disturb its successor.
        """
        if not self.is_held:
            self._control.fence()
        if self._control.reason is StopReason.FENCED:
            raise Stopped(StopReason.FENCED)

    def beat(
        self, progress: dict[str, Any] | None, phases: dict[JobPhase, PhaseState] | None
    ) -> Heartbeat | None:
        """One try to extend the lease; None when fenced off. Raises Unavailable."""
        before = _now()
        with self._database.unit_of_work() as unit:
            beat = unit.attempts.heartbeat(
                self._job.id, self._job.attempt, lease_s=self._lease_s, progress=progress, phases=phases
            )
        if beat is not None:
            self._held_until = before + self._lease_s
        return beat

    def peek(self) -> Heartbeat | None:
        """One cheap look at what is asked of the job; None when fenced off. Raises Unavailable."""
        with self._database.unit_of_work() as unit:
            return unit.attempts.peek(self._job.id, self._job.attempt)

    def time(self) -> str:
        """Now, by the database's clock, as RFC 3339 in UTC."""
        return self._write(lambda a: a.time())

    def record_event(self, event: str, data: dict[str, Any]) -> None:
        self._own(lambda a, job, attempt: a.record_event(job, attempt, event, data))

    def record_upload(self, sha256: str) -> None:
        self._own(lambda a, job, attempt: a.record_upload(job, attempt, sha256))

    def record_source(self, source: dict[str, Any], *, filename: str, size_bytes: int | None = None) -> None:
        self._own(
            lambda a, job, attempt: a.record_source(
                job, attempt, source, filename=filename, size_bytes=size_bytes
            )
        )

    def record_state(self, resume_state: dict[str, Any] | None) -> None:
        self._own(lambda a, job, attempt: a.record_state(job, attempt, resume_state))

    def record_scanned(self, spec: dict[str, Any], outcome: str) -> None:
        self._own(lambda a, job, attempt: a.record_scanned(job, attempt, spec, outcome))

    def record_first_audit(self, result: dict[str, Any], verdict: NewVerdict) -> None:
        self._own(lambda a, job, attempt: a.record_first_audit(job, attempt, result, verdict))

    def succeed(
        self,
        *,
        result: dict[str, Any],
        artifacts: Sequence[NewArtifact],
        effect: CheckpointAccepted | DatasetReady | None,
        verdicts: Sequence[NewVerdict],
    ) -> JobState:
        return self._own(
            lambda a, job, attempt: a.finish_succeeded(
                job, attempt, result=result, artifacts=artifacts, effect=effect, verdicts=verdicts
            )
        )

    def fail(
        self,
        error: dict[str, Any],
        *,
        retry_in_s: float | None,
        counts: bool = True,
        forgets_result: bool = False,
        scanners: Sequence[Mapping[str, Any]] = (),
    ) -> JobState:
        return self._own(
            lambda a, job, attempt: a.finish_failed(
                job,
                attempt,
                error=error,
                retry_in_s=retry_in_s,
                counts=counts,
                forgets_result=forgets_result,
                scanners=scanners,
            )
        )

    def cancel(self) -> JobState:
        self._own(lambda a, job, attempt: a.finish_cancelled(job, attempt))
        return JobState.CANCELLED

    def pause(self) -> JobState:
        return self._own(lambda a, job, attempt: a.finish_paused(job, attempt))

    def hand_back(self) -> JobState:
        return self._own(lambda a, job, attempt: a.hand_back(job, attempt))

    def _write(self, change: Callable[[AttemptRepository], T]) -> T:
        def once() -> T:
            with self._database.unit_of_work() as unit:
                return change(unit.attempts)

        return patient_with_database(once, self.check)

    def _own(self, change: Callable[[AttemptRepository, str, int], T | None]) -> T:
        result = self._write(lambda a: change(a, self._job.id, self._job.attempt))
        if result is None or result is False:
            self._control.fence()
            raise Stopped(StopReason.FENCED)
        return result
