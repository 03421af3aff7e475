"""The sweeper: what keeps the promise when messages, workers or uploads get lost. `python -m worker.sweeper`.

Every `sweep_every_s`, one sweeper at a time (an advisory lock): expired leases → queued again or failed;
outbox messages and queued jobs that nobody was told of → hinted; expired uploads, losing outputs, training
states of ended jobs, old idempotency keys and deliveries of webhooks, what was deleted or kept long enough →
removed. Every step stands alone: one that fails is logged and tried again by the next sweep.
"""

import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from app.db.models.job import JOB_READY
from app.db.roles import Role
from app.db.session import Database, build_engine
from app.domain.errors import Unavailable
from app.domain.limits import HINT_AGAIN_AFTER_S
from app.domain.states import JobKind
from app.logs import configure_logging, get_logger
from app.queue.names import ALL_QUEUES, kinds_of
from app.queue.publisher import BrokerPublisher, JobPublisher
from app.settings import RetentionSettings, load_settings
from app.storage.errors import StorageError
from app.storage.port import ObjectStore
from app.storage.s3 import S3Store
from worker import metrics
from worker.health import keep_touching
from worker.sweeping.cleanup import (
    delete_abandoned_uploads,
    delete_job_leftovers,
    delete_needless_checkpoints,
)
from worker.sweeping.deleting import carry_out_deletions, end_what_was_kept_long_enough

_LOG = get_logger(__name__)
SWEEP_LOCK = 7_263_002
_BATCH = 100
DAY_S = 86_400.0


@dataclass(frozen=True, kw_only=True)
class SweepOptions:
    """Graces in seconds."""

    hint_again_after_s: float = HINT_AGAIN_AFTER_S
    leftovers_after_s: float = 900.0
    """A worker that was fenced off may still be writing for a moment."""
    failed_leftovers_after_s: float = 7 * 86_400.0
    """A failed job keeps its training states for so long, so that a retry goes on from them."""
    published_messages_after_s: float = 86_400.0
    retention: RetentionSettings = field(default_factory=RetentionSettings)


@dataclass(kw_only=True)
class SweepReport:
    """What one sweep did, by step; `failed` names the steps that could not be done now."""

    was_elsewhere: bool = False
    done: dict[str, int] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)


def sweep_once(
    database: Database,
    store: ObjectStore,
    publisher: JobPublisher,
    options: SweepOptions | None = None,
) -> SweepReport:
    """One sweep, unless another sweeper is at it. Raises Unavailable where the database is away."""
    opts = options or SweepOptions()
    steps: dict[str, Callable[[], int]] = {
        "leases": lambda: _release_expired(database),
        "outbox": lambda: relay_outbox(database, publisher),
        "hints": lambda: _hint_again(database, publisher, opts.hint_again_after_s),
        "retention": lambda: end_what_was_kept_long_enough(database, opts.retention),
        "deletions": lambda: carry_out_deletions(database, store, grace_s=opts.leftovers_after_s),
        "uploads": lambda: delete_abandoned_uploads(database, store),
        "checkpoints": lambda: delete_needless_checkpoints(database, store),
        "leftovers": lambda: delete_job_leftovers(
            database,
            store,
            grace_s=opts.leftovers_after_s,
            failed_grace_s=opts.failed_leftovers_after_s,
        ),
        "webhook_deliveries": lambda: _forget_deliveries(
            database, opts.retention.webhook_deliveries_days * DAY_S
        ),
        "idempotency_keys": lambda: _forget_old(database, opts.published_messages_after_s),
    }
    report = SweepReport()
    with database.exclusively(SWEEP_LOCK) as is_ours:
        if not is_ours:
            report.was_elsewhere = True
            return report
        for name, step in steps.items():
            try:
                report.done[name] = step()
            except (StorageError, Unavailable) as error:
                _LOG.warning("sweep_step_failed", step=name, reason=type(error).__name__)
                metrics.SWEEP_FAILURES.labels(name).inc()
                report.failed.append(name)
    if any(report.done.values()):
        _LOG.info("swept", **{name: count for name, count in report.done.items() if count})
    return report


def note_waiting(database: Database) -> None:
    """How long the job has waited that is due longest, in each queue; whichever sweeper's turn it is."""
    with database.unit_of_work() as unit:
        for queue in ALL_QUEUES:
            metrics.OLDEST_WAITING.labels(queue).set(unit.sweeping.longest_wait_s(kinds_of(queue)))


def _release_expired(database: Database) -> int:
    with database.unit_of_work() as unit:
        released = unit.sweeping.requeue_or_fail_expired(_BATCH)
    for job_id, state in released:
        _LOG.warning("lease_expired", job_id=job_id, state=state.value)
    return len(released)


def relay_outbox(database: Database, publisher: JobPublisher) -> int:
    """Send what was committed and not sent. A message is marked only after the broker took it."""
    with database.unit_of_work() as unit:
        messages = unit.outbox.pending(_BATCH)
    reported: list[int] = []
    refused: list[int] = []
    for message in messages:
        if message.topic != JOB_READY:
            continue
        took = publisher.job_ready(message.payload["job_id"], JobKind(message.payload["kind"]))
        (reported if took else refused).append(message.id)
        if not took:
            break  # the broker is away; every further try would only wait
    with database.unit_of_work() as unit:
        unit.outbox.mark(reported, published=True)
        unit.outbox.mark(refused, published=False)
    return len(reported)


def _hint_again(database: Database, publisher: JobPublisher, older_than_s: float) -> int:
    """Jobs that wait although nobody was told lately; not while hints enough for all of them wait too."""
    depth = publisher.depth()
    with database.unit_of_work() as unit:
        if depth is None or depth > 2 * unit.sweeping.num_queued() + _BATCH:
            return 0
        jobs = [
            job
            for queue in ALL_QUEUES  # each its own: a long row of training jobs holds back no inspection
            for job in unit.sweeping.needing_hint(older_than_s, _BATCH, kinds=kinds_of(queue))
        ]
    return sum(publisher.job_ready(job_id, kind) for job_id, kind in jobs)


def _forget_old(database: Database, messages_after_s: float) -> int:
    with database.unit_of_work() as unit:
        return unit.sweeping.delete_old_idempotency_keys() + unit.sweeping.delete_published_messages(
            messages_after_s
        )


def _forget_deliveries(database: Database, older_than_s: float) -> int:
    with database.unit_of_work() as unit:
        return unit.webhook_claims.forget_old(older_than_s)


def sweep_forever(
    database: Database,
    store: ObjectStore,
    publisher: JobPublisher,
    *,
    every_s: float,
    ended: threading.Event,
    options: SweepOptions | None = None,
) -> None:
    """Sweep until `ended` is set."""
    while not ended.is_set():
        try:
            note_waiting(database)
            sweep_once(database, store, publisher, options)
            metrics.SWEEPS.inc()
            metrics.LAST_SWEEP.set_to_current_time()
        except Unavailable:
            _LOG.warning("sweep_skipped", reason="database_unavailable")
        ended.wait(every_s)


def main() -> None:
    """Entry point: settings from the environment, until SIGTERM or Ctrl-C."""
    settings = load_settings()
    configure_logging(level=settings.log.level, json_lines=settings.log.json_lines)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    database = Database(build_engine(settings.database.url, role=Role.WORKER, pool_size=2))
    publisher = BrokerPublisher(
        settings.broker.url,
        key_prefix=settings.broker.key_prefix,
        timeout_s=settings.jobs.publish_timeout_s,
    )
    keep_touching(ended)
    metrics.start(settings.metrics, sweeper=True)
    _LOG.info("sweeper_started", every_s=settings.jobs.sweep_every_s)
    sweep_forever(
        database,
        S3Store(settings.storage),
        publisher,
        every_s=settings.jobs.sweep_every_s,
        ended=ended,
        options=SweepOptions(retention=settings.retention),
    )
    publisher.close()
    database.dispose()


if __name__ == "__main__":
    main()
