"""`JobPublisher`: tell workers that a job is ready. Called after the commit; never fails its caller.

A hint is a job's id in a list at the broker, and no more. One that could not be sent is sent later by the
sweeper, so a broken broker delays jobs and loses none.
"""

from typing import Protocol

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from app.domain.states import JobKind
from app.logs import get_logger
from app.queue.names import ALL_QUEUES, REFUSED_HINTS, queue_for

_LOG = get_logger(__name__)
_BROKER_ERRORS = (RedisError, OSError, ValueError)


class JobPublisher(Protocol):
    """Where hints go. Safe to share between threads."""

    def job_ready(self, job_id: str, kind: JobKind) -> bool:
        """Send the hint; False, and a line in the log, where the broker did not take it. Never raises."""

    def depth(self, *queues: str) -> int | None:
        """How many hints wait in these queues, or in all; None where the broker does not answer."""

    def num_refused(self) -> int | None:
        """How many messages workers dropped because they were not hints; None where it cannot be asked."""

    def check_writes(self) -> None:
        """Raise unless the broker takes a write: one whose disk is full still answers questions."""

    def close(self) -> None:
        """Let go of connections."""


class BrokerPublisher:
    """Hints for the Celery workers, without Celery: a worker reads nothing but the id (`worker.hints`)."""

    def __init__(self, broker_url: str, *, key_prefix: str = "", timeout_s: float = 1.0) -> None:
        self._redis = Redis.from_url(
            broker_url,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            health_check_interval=25,
            retry=Retry(NoBackoff(), 1),  # the library's own three tries wait for seconds
        )
        self._key_prefix = key_prefix

    def job_ready(self, job_id: str, kind: JobKind) -> bool:
        try:
            self._redis.lpush(self._key_prefix + queue_for(kind), job_id)
        except _BROKER_ERRORS as error:
            _LOG.warning("hint_not_sent", job_id=job_id, reason=type(error).__name__)
            return False
        return True

    def depth(self, *queues: str) -> int | None:
        try:
            return sum(int(self._redis.llen(self._key_prefix + name)) for name in queues or ALL_QUEUES)
        except _BROKER_ERRORS as error:
            _LOG.warning("broker_does_not_answer", reason=type(error).__name__)
            return None

    def num_refused(self) -> int | None:
        try:
            return int(self._redis.get(self._key_prefix + REFUSED_HINTS) or 0)
        except _BROKER_ERRORS as error:
            _LOG.warning("broker_does_not_answer", reason=type(error).__name__)
            return None

    def check_writes(self) -> None:
        self._redis.set(self._key_prefix + "cleanclip.readiness", "1", ex=60)

    def close(self) -> None:
        self._redis.close()
