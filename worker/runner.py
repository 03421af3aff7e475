"""One hint: claim the job whose turn it is, if there is any, and make an attempt at it."""

import os
import socket
import threading
from collections.abc import Callable, Mapping

from app.db.repositories.attempt_values import ClaimedJob
from app.db.session import Database
from app.db.unit_of_work import UnitOfWork
from app.domain.errors import Unavailable
from app.domain.limits import DEFAULT_RUNNING_JOBS
from app.domain.states import JobKind, JobState
from app.logs import bind, get_logger
from app.queue.names import kinds_of, queue_for
from app.queue.publisher import JobPublisher
from app.storage.port import ObjectStore
from worker import metrics
from worker.attempt import Attempt, AttemptOptions
from worker.staging.transfer import settle_uploads

_LOG = get_logger(__name__)
_SETTLE_S = 5.0
"""Well within the 20 s that a worker has to leave. The job's state is written by then."""


class Runner:
    """Runs one job at a time. `leaving` is set when the worker is told to go."""

    def __init__(
        self,
        database: Database,
        store: ObjectStore,
        publisher: JobPublisher,
        options: AttemptOptions,
        *,
        leaving: threading.Event,
        running_jobs: int = DEFAULT_RUNNING_JOBS,
        worker_environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._database = database
        self._store = store
        self._publisher = publisher
        self._options = options
        self._leaving = leaving
        self._running_jobs = running_jobs
        self._worker_environment = worker_environment
        self._owner = f"{socket.gethostname()}:{os.getpid()}"

    def answer(self, queue: str, *, hinted_job_id: str) -> JobState | None:
        """Do one job of the hint's queue: the one whose turn it is, which need not be the one that was named.

        The state it was left in; None where nothing was to be done.
        """
        kinds = kinds_of(queue)
        job = self._claim(
            hinted_job_id,
            lambda unit: unit.attempts.claim_next(
                queue,
                kinds,
                owner=self._owner,
                lease_s=self._options.lease_s,
                running_jobs=self._running_jobs,
            ),
        )
        return None if job is None else self._attempt(job)

    def run(self, job_id: str) -> JobState | None:
        """Do this one job now, whosever turn it is; the state it was left in, None where that cannot be."""
        job = self._claim(
            job_id,
            lambda unit: unit.attempts.claim(job_id, owner=self._owner, lease_s=self._options.lease_s),
        )
        return None if job is None else self._attempt(job)

    def _claim(self, hinted: str, take: Callable[[UnitOfWork], ClaimedJob | None]) -> ClaimedJob | None:
        if self._leaving.is_set():
            return None  # the job stays queued, and the sweeper hints again
        try:
            with self._database.unit_of_work() as unit:
                job = take(unit)
        except Unavailable:
            _LOG.warning("claim_failed", job_id=hinted)
            return None
        if job is None:
            _LOG.info("hint_dropped", job_id=hinted)
        return job

    def _attempt(self, job: ClaimedJob) -> JobState | None:
        with bind(job_id=job.id, attempt=job.attempt):
            _LOG.info("job_claimed", kind=job.kind.value)
            attempt = Attempt(self._database, self._store, self._options, job, self._leaving)
            with metrics.busy():
                state = attempt.run(self._worker_environment)
            metrics.attempt_ended(job.kind, state)
            _LOG.info("job_left", state=state.value if state else "fenced")
        if state is JobState.QUEUED or self._must_wake_another(job.kind):
            self._publisher.job_ready(job.id, job.kind)
        settle_uploads(_SETTLE_S)  # last: nobody waits for it
        return state

    def _must_wake_another(self, kind: JobKind) -> bool:
        """Whether jobs wait and no hint does: hints were dropped while the project had no place left.

        A hint that waits is enough: whoever takes it claims after this job's end was committed.
        """
        if self._publisher.depth(queue_for(kind)) != 0:
            return False
        try:
            with self._database.unit_of_work() as unit:
                return unit.attempts.is_anything_due(kinds_of(queue_for(kind)))
        except Unavailable:
            return False  # the sweeper hints again
