"""One hint: claim the job if there is anything to do, and make an attempt at it. Knows no Celery."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Mapping

from app.db.repositories.attempt_values import ClaimedJob
from app.db.session import Database
from app.domain.errors import Unavailable
from app.domain.states import JobState
from app.logs import bind, get_logger
from app.queue.publisher import JobPublisher
from app.storage.port import ObjectStore
from worker.attempt import Attempt, AttemptOptions

_LOG = get_logger(__name__)


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
        worker_environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._database = database
        self._store = store
        self._publisher = publisher
        self._options = options
        self._leaving = leaving
        self._worker_environment = worker_environment
        self._owner = f"{socket.gethostname()}:{os.getpid()}"

    def run(self, job_id: str) -> JobState | None:
        """Do what there is to do for the job; the state it was left in, None where there was nothing."""
        job = self._claim(job_id)
        if job is None:
            return None
        with bind(job_id=job.id, attempt=job.attempt):
            _LOG.info("job_claimed", kind=job.kind.value)
            attempt = Attempt(self._database, self._store, self._options, job, self._leaving)
            state = attempt.run(self._worker_environment)
            _LOG.info("job_left", state=state.value if state else "fenced")
        if state is JobState.QUEUED:
            self._publisher.job_ready(job.id, job.kind)
        return state

    def _claim(self, job_id: str) -> ClaimedJob | None:
        if self._leaving.is_set():
            return None  # the job stays queued, and the sweeper hints again
        try:
            with self._database.unit_of_work() as unit:
                job = unit.attempts.claim(job_id, owner=self._owner, lease_s=self._options.lease_s)
        except Unavailable:
            _LOG.warning("claim_failed", job_id=job_id)
            return None
        if job is None:
            _LOG.info("hint_dropped", job_id=job_id)
        return job
