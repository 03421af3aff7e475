"""Names that both sides of the broker must agree on."""

from app.domain.states import PUBLIC_KINDS, JobKind

RUN_JOB = "cleanclip.run_job"
"""The one task: its only argument is `job_id`. Named within a worker only; no message chooses a task."""

HEAVY_QUEUE = "cleanclip.heavy"
"""Jobs that train or audit: hours, a GPU."""
LIGHT_QUEUE = "cleanclip.light"
"""Inspections and validations: they wait for no training run where a worker serves this queue alone."""
ALL_QUEUES = (LIGHT_QUEUE, HEAVY_QUEUE)
REFUSED_HINTS = "cleanclip.hints_refused"
"""A counter at the broker: what workers took from these queues and was not a hint."""


_KINDS = {HEAVY_QUEUE: PUBLIC_KINDS, LIGHT_QUEUE: frozenset(JobKind) - PUBLIC_KINDS}


def kinds_of(queue: str) -> frozenset[JobKind]:
    """The kinds of job that wait in that queue; those of the heavy one for a name that is not ours."""
    return _KINDS.get(queue, PUBLIC_KINDS)


def queue_for(kind: JobKind) -> str:
    """The queue whose workers run jobs of that kind."""
    return HEAVY_QUEUE if kind in PUBLIC_KINDS else LIGHT_QUEUE
