"""What those who follow jobs of one project are owed: one look for all of them, however many they are.

Has no connection and keeps nothing: who follows what, and what they have already, comes with each call.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from app.db.models.job import Job, JobEvent
from app.db.unit_of_work import UnitOfWork

MAX_EVENTS_AT_ONCE = 200
"""Of one job in one look; who is further behind gets the rest from the next."""
NOTHING_SEEN = -1


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the hindmost follower of a job has: the number of an event, the version of the job."""

    seq: int
    version: int = NOTHING_SEEN


@dataclass(frozen=True, kw_only=True)
class News:
    """A job whose version is another than the one seen, and its events after the one seen, oldest first.

    The events never go beyond those that the job counts; where there are too many, they end before.
    """

    job: Job
    events: Sequence[JobEvent]


@dataclass(frozen=True, kw_only=True)
class Look:
    """`gone`: jobs that there are not, or not any more. `unusable`: keys that may not look any more."""

    news: Mapping[str, News]
    gone: frozenset[str]
    unusable: frozenset[str]


def changes_since(
    unit: UnitOfWork, project_id: str, seen: Mapping[str, Seen], key_ids: Collection[str] = ()
) -> Look:
    """What there is for the followers of these jobs, who hold these keys. One query where nothing changed."""
    usable = unit.api_keys.active_among(project_id, key_ids) if key_ids else set()
    versions = unit.jobs.versions(project_id, list(seen))
    changed = [job_id for job_id, version in versions.items() if version != seen[job_id].version]
    jobs = unit.jobs.several(project_id, changed) if changed else {}
    return Look(
        news={job_id: _news(unit, job, seen[job_id].seq) for job_id, job in jobs.items()},
        gone=frozenset(seen.keys() - versions.keys()),
        unusable=frozenset(set(key_ids) - usable),
    )


def _news(unit: UnitOfWork, job: Job, seq: int) -> News:
    if job.event_seq <= seq:
        return News(job=job, events=())
    found, _ = unit.events.page(job.project_id, job.id, seq, MAX_EVENTS_AT_ONCE)
    return News(job=job, events=[event for event in found if event.seq <= job.event_seq])
