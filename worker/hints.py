"""What a worker reads from the broker: a job's id. Everything else is dropped, counted, and said in the log.

Others can write to a broker's lists. Celery's own reading of a message parses JSON within JSON, decodes,
decompresses, schedules, calls back, and ends the process at the first shape that it does not expect; and what
was not acknowledged comes again after the restart. So Celery sees no message of the broker's: each item is
taken for good when it is read, held against the form of an id, and a message of our own making goes on.
"""

import json
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from kombu.transport.redis import Channel, Transport
from redis.exceptions import RedisError, ResponseError

from app.domain.ids import is_id
from app.logs import get_logger
from app.queue.names import REFUSED_HINTS, RUN_JOB

_LOG = get_logger(__name__)
_MAX_BYTES = 64
_REFUSED_WAIT_S = 1.0


def hinted_job(item: object) -> str | None:
    """The job's id that `item`, as the broker gave it, consists of; None for anything else."""
    if not isinstance(item, bytes) or len(item) > _MAX_BYTES or not item.isascii():
        return None
    text = item.decode("ascii")
    return text if is_id("job", text) else None


def task_message(job_id: str, queue: str) -> bytes:
    """The Celery message (protocol 2) that runs the one task for this job, now, and calls nothing back."""
    task_id = str(uuid.uuid4())
    message = {
        "body": json.dumps([[], {"job_id": job_id}, {}]),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {"lang": "py", "task": RUN_JOB, "id": task_id, "root_id": task_id, "argsrepr": "()"},
        "properties": {
            "delivery_tag": task_id,
            "delivery_info": {"exchange": "", "routing_key": queue},
        },
    }
    return json.dumps(message).encode()


class HintChannel(Channel):
    """Takes what it reads: nothing waits at the broker to be acknowledged, nothing is put back.

    A hint that is lost between here and the claim is sent again by the sweeper.
    """

    ack_emulation = False
    do_restore = False
    num_refused = 0

    def _create_client(self, asynchronous: bool = False) -> Any:
        client = super()._create_client(asynchronous)  # type: ignore[misc]  # the stubs leave it out
        client.parse_response = partial(self._only_hints, client.parse_response)
        return client

    def _only_hints(self, parse: Callable[..., Any], connection: Any, command: str, **options: Any) -> Any:
        """What the broker answers; where that is an item of a queue, our own message in its place."""
        if command != "BRPOP":
            return parse(connection, command, **options)
        try:
            answer = parse(connection, command, **options)
        except ResponseError as error:  # its disk is full, or the key holds no list: not for ever, perhaps
            _LOG.warning("broker_refuses", reason=str(error).partition(" ")[0])
            time.sleep(_REFUSED_WAIT_S)
            return None
        if not answer:
            return None
        queue, item = answer
        job_id = hinted_job(item)
        if job_id is not None:
            return queue, task_message(job_id, _text(queue))
        self._refuse(_text(queue), len(item))
        return None  # as if nothing had come

    def _size(self, queue: str) -> int:
        """Asked when a queue is declared, used by nobody: a worker starts whatever lies under its name."""
        return 0

    def _queue_bind(self, *_: Any) -> None:
        """Routes are for those who send by an exchange; hints go straight into their list."""

    def _refuse(self, queue: str, size_bytes: int) -> None:
        """Count it. Whoever fills a queue fills no log: the first is logged, the second, the fourth, …"""
        HintChannel.num_refused += 1
        with suppress(RedisError, OSError), self.conn_or_acquire() as client:
            client.incr(f"{self.global_keyprefix}{REFUSED_HINTS}")  # kombu prefixes only what it uses itself
        if HintChannel.num_refused.bit_count() == 1:
            _LOG.warning("hint_refused", queue=queue, size_bytes=size_bytes, refused=HintChannel.num_refused)


class HintTransport(Transport):
    """Kombu's Redis transport, reading hints only."""

    Channel = HintChannel


def _text(name: bytes | str) -> str:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else name
