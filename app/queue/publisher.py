"""`JobPublisher`: tell workers that a job is ready. Called after the commit; never fails its caller.

A hint that could not be sent is sent later by the sweeper, so a broken broker delays jobs and loses none.
"""

from __future__ import annotations

from typing import Protocol

from celery import Celery
from celery.exceptions import CeleryError
from kombu.exceptions import KombuError
from redis import Redis
from redis.exceptions import RedisError

from app.domain.states import JobKind
from app.logs import get_logger
from app.queue.celery_config import celery_settings
from app.queue.names import ALL_QUEUES, RUN_JOB, queue_for

_LOG = get_logger(__name__)
_BROKER_ERRORS = (KombuError, CeleryError, RedisError, OSError)


class JobPublisher(Protocol):
    """Where hints go. Safe to share between threads."""

    def job_ready(self, job_id: str, kind: JobKind) -> bool:
        """Send the hint; False, and a line in the log, where the broker did not take it. Never raises."""
        ...

    def depth(self, *queues: str) -> int | None:
        """How many hints wait in these queues, or in all; None where the broker does not answer."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


class CeleryPublisher:
    """Sends by name, so that the API never imports the worker."""

    def __init__(self, broker_url: str, *, key_prefix: str = "", timeout_s: float = 1.0) -> None:
        self._app = Celery("cleanclip", set_as_current=False)
        self._app.conf.update(celery_settings(broker_url, key_prefix=key_prefix, socket_timeout_s=timeout_s))
        self._redis = Redis.from_url(
            broker_url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, health_check_interval=25
        )
        self._key_prefix = key_prefix

    def job_ready(self, job_id: str, kind: JobKind) -> bool:
        try:
            self._app.send_task(RUN_JOB, kwargs={"job_id": job_id}, queue=queue_for(kind))
        except _BROKER_ERRORS as error:
            _LOG.warning("hint_not_sent", job_id=job_id, reason=type(error).__name__)
            return False
        return True

    def depth(self, *queues: str) -> int | None:
        try:
            names = [f"{self._key_prefix}{queue}" for queue in queues or ALL_QUEUES]
            return sum(int(self._redis.llen(name)) for name in names)
        except _BROKER_ERRORS as error:
            _LOG.warning("broker_does_not_answer", reason=type(error).__name__)
            return None

    def close(self) -> None:
        self._app.close()
        self._redis.close()
