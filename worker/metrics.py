"""What Prometheus scrapes of a process that serves no requests: worker, sweeper, deliverer.

Every name is there from the start, with zeros, so that an alert on it can fire. Labels are our own words:
kinds of jobs, phases, codes of failures; never an id, a project or what a child said.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from app.domain.states import JobKind, JobPhase, JobState
from app.queue.names import ALL_QUEUES
from app.settings import MetricsSettings
from cleanclip.kinds.catalogue import KINDS

_PHASE_SECONDS = (1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600, math.inf)
EXIT_REASONS = (
    "succeeded",
    "refused",
    "container_out_of_memory",
    "killed",
    "signal",
    "interrupted",
    "setup",
    "crashed",
)
"""How a child ended."""
STEPS = (
    *("leases", "outbox", "hints", "retention", "deletions", "uploads", "checkpoints", "leftovers"),
    *("webhook_deliveries", "idempotency_keys"),
)
"""Of a sweep."""

REGISTRY = CollectorRegistry()
ATTEMPTS = Counter(
    "cleanclip_attempts", "Attempts at jobs that ended, by how they left the job.", ["kind", "outcome"],
    registry=REGISTRY,
)  # fmt: skip
PHASE_SECONDS = Histogram(
    "cleanclip_phase_duration_seconds", "How long phases of jobs took.", ["kind", "phase"],
    buckets=_PHASE_SECONDS, registry=REGISTRY,
)  # fmt: skip
CHILD_EXITS = Counter("cleanclip_child_exits", "How children ended.", ["reason"], registry=REGISTRY)
PAIRS_PER_SECOND = Gauge(
    "cleanclip_training_pairs_per_second", "Of the job that trains now; 0: none does.", registry=REGISTRY
)
IS_BUSY = Gauge("cleanclip_worker_busy", "1 while the worker has a job.", registry=REGISTRY)
ISOLATION = Gauge(
    "cleanclip_worker_isolation",
    "1 for the level to which children are cut off.",
    ["level"],
    registry=REGISTRY,
)
OLDEST_WAITING = Gauge(
    "cleanclip_oldest_waiting_job_seconds",
    "How long the job has waited that is due longest, as the sweeper saw it last; 0: none waits.",
    ["queue"],
    registry=REGISTRY,
)
SWEEPS = Counter("cleanclip_sweeps", "Sweeps that were done.", registry=REGISTRY)
SWEEP_FAILURES = Counter(
    "cleanclip_sweep_failures", "Steps of sweeps that failed.", ["step"], registry=REGISTRY
)
LAST_SWEEP = Gauge(
    "cleanclip_last_sweep_timestamp_seconds", "When the last sweep ended, of this process.", registry=REGISTRY
)
DELIVERIES = Counter(
    "cleanclip_webhook_deliveries", "Tries to deliver a message.", ["outcome"], registry=REGISTRY
)
OUTCOMES = ("succeeded", "queued", "failed", "cancelled", "paused", "lost")
"""States that an attempt leaves a job in; lost: it belonged to somebody else by then."""


def start(
    settings: MetricsSettings, *, worker: bool = False, sweeper: bool = False, deliverer: bool = False
) -> None:
    """Serve them, if there is a port; with zeros for what this kind of process counts."""
    if worker:
        for kind in JobKind:
            for outcome in OUTCOMES:
                ATTEMPTS.labels(kind.value, outcome)
            for phase in KINDS[kind].phases:
                PHASE_SECONDS.labels(kind.value, phase.name)
        for reason in EXIT_REASONS:
            CHILD_EXITS.labels(reason)
    if sweeper:
        for step in STEPS:
            SWEEP_FAILURES.labels(step)
        for queue in ALL_QUEUES:
            OLDEST_WAITING.labels(queue)
    if deliverer:
        for outcome in ("delivered", "failed"):
            DELIVERIES.labels(outcome)
    if settings.port is not None:
        start_http_server(settings.port, settings.host, REGISTRY)


@contextmanager
def busy() -> Iterator[None]:
    """Around an attempt."""
    IS_BUSY.set(1)
    try:
        yield
    finally:
        IS_BUSY.set(0)
        PAIRS_PER_SECOND.set(0)


def attempt_ended(kind: JobKind, state: JobState | None) -> None:
    """None: it was no longer ours to leave in any."""
    ATTEMPTS.labels(kind.value, "lost" if state is None else state.value).inc()


def phase_ended(kind: JobKind, phase: JobPhase, seconds: float) -> None:
    PHASE_SECONDS.labels(kind.value, phase.value).observe(seconds)
