"""Puts a worker together: runner, Celery app, what happens at its start and when it is told to leave.

One process, one job at a time (pool `solo`): the model runs in a child of its own, so a pool of processes
would add nothing but a second thing that can die alone. SIGTERM reaches the running job through `leaving`;
Celery's own handler, called after it, ends the loop once the job has been handed back.
"""

import ctypes
import importlib
import signal
import threading
from functools import lru_cache
from types import FrameType
from typing import Any

from celery import Celery, Task
from celery.signals import setup_logging, worker_ready, worker_shutdown

from app.db.roles import Role
from app.db.session import Database, build_engine
from app.logs import clear, configure_logging, get_logger
from app.queue.celery_config import celery_settings
from app.queue.names import HEAVY_QUEUE, RUN_JOB
from app.queue.publisher import BrokerPublisher
from app.settings import Settings, SigningSettings
from app.storage.s3 import S3Store
from worker import metrics
from worker.attempt import AttemptOptions
from worker.confinement.file_access import kernel_restricts_files
from worker.confinement.sandbox import LEVELS, ChildLimits, Isolation, finds_cuda, strongest_isolation
from worker.health import keep_touching
from worker.publishing.packing import Signer
from worker.runner import Runner
from worker.signing_keys import SigningKeyUnusable
from worker.staging.workspace import remove_orphans

_LOG = get_logger(__name__)
_PR_SET_DUMPABLE = 4


def build_runner(settings: Settings, options: AttemptOptions, leaving: threading.Event) -> Runner:
    """Wire a runner; connects to nothing yet."""
    return Runner(
        Database(build_engine(settings.database.url, role=Role.WORKER, pool_size=3)),
        S3Store(settings.storage),
        BrokerPublisher(
            settings.broker.url,
            key_prefix=settings.broker.key_prefix,
            timeout_s=settings.jobs.publish_timeout_s,
        ),
        options,
        leaving=leaving,
        running_jobs=settings.quotas.running_jobs,
    )


def attempt_options(settings: Settings) -> AttemptOptions:
    """Settings as the plain values that an attempt takes. Raises SigningKeyUnusable."""
    worker, jobs = settings.worker, settings.jobs
    return AttemptOptions(
        work_dir=worker.work_dir,
        limits=ChildLimits(
            memory_bytes=worker.child_memory_bytes,
            file_bytes=worker.child_file_bytes,
            hostile_cpu_s=worker.inspect_cpu_s,
            hostile_wall_s=worker.inspect_wall_s,
            training_cpu_s=worker.training_cpu_s,
            uses_cuda=finds_cuda(worker.device),
            num_threads=worker.num_threads,
            more_calls=worker.more_calls,
            tokenizers_dir=worker.tokenizers_dir,
        ),
        wall_factor=worker.job_wall_factor,
        datasets=settings.datasets,
        sources=settings.sources,
        lease_s=jobs.lease_s,
        heartbeat_s=jobs.heartbeat_s,
        save_every_s=jobs.save_every_s,
        pause_grace_s=worker.stop_grace_s,
        max_ranks=worker.max_ranks,
        signer=signer_of(settings.signing),
    )


def signer_of(signing: SigningSettings) -> Signer | None:
    """The operator's signer, its key read; None where no key is configured. Raises SigningKeyUnusable."""
    if signing.key_file is None:
        return None
    try:
        module = importlib.import_module(
            "worker.publishing.signing"
        )  # heavy, and no part of the API's environment
    except ImportError as error:
        raise SigningKeyUnusable(
            "A signing key is configured, but the signing extra is not installed. "
            "Run: pip install 'cleanclip-service[signing]'"
        ) from error
    password = signing.key_password.get_secret_value().encode() if signing.key_password else None
    signer: Signer = module.ModelSigner(signing.key_file, password)
    return signer


def check_isolation(required: Isolation) -> None:
    """Raises IsolationTooWeak where this machine lets children be cut off less than the operator wants."""
    found = strongest_isolation()
    if LEVELS.index(found) > LEVELS.index(required):
        raise IsolationTooWeak(
            f"CLEANCLIP_WORKER__REQUIRE_ISOLATION is {required}, but this machine allows the "
            f"level '{found}' only. docs/how-to/operating/isolation.md says what each "
            "container runtime must allow."
        )


class IsolationTooWeak(Exception):
    """The message is for the operator."""


def build_app(settings: Settings, options: AttemptOptions) -> Celery:
    """A Celery app with the one task and the signal handlers of a worker."""
    leaving = threading.Event()
    app = Celery("cleanclip", set_as_current=False)
    app.conf.update(
        celery_settings(settings.broker.url, key_prefix=settings.broker.key_prefix),
        broker_transport="worker.hints:HintTransport",
    )
    runner = lru_cache(maxsize=1)(lambda: build_runner(settings, options, leaving))

    @app.task(name=RUN_JOB, ignore_result=True, shared=False, bind=True)
    def run_job(self: Task[..., None], job_id: str) -> None:
        """A message is a hint that names a job; what follows is the runner's business."""
        clear()
        queue = (self.request.delivery_info or {}).get("routing_key") or HEAVY_QUEUE
        runner().answer(queue, hinted_job_id=job_id)

    def on_ready(**_: Any) -> None:
        _hide_memory()
        removed = remove_orphans(settings.worker.work_dir)
        _LOG.info(
            "worker_ready",
            isolation=strongest_isolation(),
            restricts_files=kernel_restricts_files(),
            orphans_removed=len(removed),
            signing_key_sha256=options.signer.key_sha256 if options.signer else None,
        )
        keep_touching(leaving)
        metrics.ISOLATION.labels(strongest_isolation()).set(1)
        metrics.start(settings.metrics, worker=True)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            _before(number, leaving.set)

    def on_shutdown(**_: Any) -> None:
        leaving.set()

    def on_logging(**_: Any) -> None:
        """Having a receiver, Celery leaves the root logger alone."""
        configure_logging(level=settings.log.level, json_lines=settings.log.json_lines)

    setup_logging.connect(on_logging, weak=False)
    worker_ready.connect(on_ready, weak=False)
    worker_shutdown.connect(on_shutdown, weak=False)
    return app


def _before(number: signal.Signals, action: Any) -> None:
    """Call `action` before what the signal does already."""
    previous = signal.getsignal(number)

    def handler(received: int, frame: FrameType | None) -> None:
        action()
        if callable(previous):
            previous(received, frame)

    signal.signal(number, handler)


def _hide_memory() -> None:
    """Our memory and environment hold credentials: no process of the same user may read them."""
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
