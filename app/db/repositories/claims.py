"""Which job a worker gets: the fair-next of its queue, or one that is named. One winner whoever races.

Fair: of the projects with a job that may run now and with running jobs to spare in the queue, the one with
the fewest running there; among equals the one served longest ago (never comes first), then the one with the
oldest job. Its oldest job is taken.
"""

from collections.abc import Collection

from sqlalchemy import and_, func, or_, select, text, update

from app.db.models.assets import Checkpoint
from app.db.models.job import Job
from app.db.repositories import job_changes
from app.db.repositories.attempt_values import ClaimedJob, claimed_job
from app.db.repositories.base import Repository
from app.domain.states import CheckpointState, JobKind, JobState
from cleanclip.kinds.catalogue import KINDS

CLAIM_LOCK = 7_263_003
"""With the queue's hash: claims of one queue come one after the other, so that order and quota are exact."""

# Claims come one after the other. The planner is told for this transaction to go by indexes, in their order,
# and not to compile: with statistics from before a crowd came it would read the crowd again and again.
_UNWANTED = (
    "jit",
    "enable_sort",
    "enable_incremental_sort",
    "enable_bitmapscan",
    "enable_seqscan",
    "enable_hashjoin",
    "enable_mergejoin",
)
_ONE_AT_A_TIME = text(
    "SELECT pg_advisory_xact_lock(CAST(:lock AS integer), hashtext(:queue)), "
    + ", ".join(f"set_config('{name}', 'off', true)" for name in _UNWANTED)
)

# `waiting` leaps from project to project on ix_jobs_waiting, so that its cost is the number of projects that
# wait, not of their jobs. A row that a request holds (to cancel, say) is skipped; the second oldest is there
# for that case.
_CLAIM_NEXT = text(
    """
    WITH RECURSIVE waiting (project_id) AS (
        SELECT min(first.project_id)
        FROM unnest(CAST(:kinds AS text[])) AS k (kind), LATERAL (
            SELECT jobs.project_id FROM jobs WHERE jobs.state = 'queued' AND jobs.kind = k.kind
            ORDER BY jobs.project_id, jobs.created_at LIMIT 1
        ) AS first
        UNION ALL
        SELECT (
            SELECT min(next.project_id)
            FROM unnest(CAST(:kinds AS text[])) AS k (kind), LATERAL (
                SELECT jobs.project_id FROM jobs
                WHERE jobs.state = 'queued' AND jobs.kind = k.kind AND jobs.project_id > waiting.project_id
                ORDER BY jobs.project_id, jobs.created_at LIMIT 1
            ) AS next
        )
        FROM waiting WHERE waiting.project_id IS NOT NULL
    ),
    running (project_id, num_jobs) AS (
        SELECT project_id, count(*) FROM (
            SELECT project_id FROM jobs
            WHERE state IN ('running', 'cancelling') AND kind = ANY (CAST(:kinds AS text[]))
            OFFSET 0  -- or the planner may walk all jobs on an index that has them in the order of the groups
        ) AS started
        GROUP BY project_id
    ),
    due AS MATERIALIZED (
        SELECT oldest.id, oldest.created_at, coalesce(running.num_jobs, 0) AS num_running, turn.served_at
        FROM waiting
        LEFT JOIN running ON running.project_id = waiting.project_id
        LEFT JOIN queue_turns AS turn ON turn.project_id = waiting.project_id AND turn.queue = :queue
        LEFT JOIN project_quotas AS quota ON quota.project_id = waiting.project_id
        CROSS JOIN unnest(CAST(:kinds AS text[])) AS k (kind)
        CROSS JOIN LATERAL (
            SELECT jobs.id, jobs.created_at FROM jobs
            WHERE jobs.state = 'queued' AND jobs.kind = k.kind AND jobs.project_id = waiting.project_id
              AND (jobs.not_before IS NULL OR jobs.not_before <= clock_timestamp())
              AND jobs.cancel_requested_at IS NULL AND jobs.pause_requested_at IS NULL
              AND jobs.attempts_used < jobs.max_attempts
            ORDER BY jobs.created_at, jobs.id LIMIT 2
        ) AS oldest
        WHERE coalesce(running.num_jobs, 0) < coalesce(quota.running_jobs, :running_jobs)
    ),
    next AS (
        SELECT locked.id, locked.project_id
        FROM (
            SELECT * FROM due ORDER BY num_running, served_at NULLS FIRST, created_at, id OFFSET 0
        ) AS candidate
        CROSS JOIN LATERAL (
            SELECT jobs.id, jobs.project_id FROM jobs
            WHERE jobs.id = candidate.id
              AND coalesce(jobs.state, '') = 'queued'  -- asked of the locked row; not by a partial index
              AND jobs.cancel_requested_at IS NULL AND jobs.pause_requested_at IS NULL
            FOR UPDATE SKIP LOCKED
        ) AS locked
        LIMIT 1
    ),
    noted AS (
        INSERT INTO queue_turns (project_id, queue, served_at)
        SELECT project_id, :queue, clock_timestamp() FROM next
        ON CONFLICT (project_id, queue) DO UPDATE SET served_at = excluded.served_at
    )
    UPDATE jobs SET
        state = 'running', attempt = attempt + 1, attempts_used = attempts_used + 1, lease_owner = :owner,
        lease_expires_at = clock_timestamp() + make_interval(secs => :lease_s),
        started_at = coalesce(started_at, clock_timestamp()), not_before = NULL, updated_at = now()
    WHERE jobs.id = (SELECT next.id FROM next)
    RETURNING jobs.id
    """
)


class ClaimRepository(Repository):
    """The beginning of an attempt; `AttemptRepository` adds the rest."""

    def claim_next(
        self, queue: str, kinds: Collection[JobKind], *, owner: str, lease_s: float, running_jobs: int
    ) -> ClaimedJob | None:
        """Take the job whose turn it is in the queue of these kinds. None: there is none to be taken now.

        `running_jobs`: how many of a project may run in the queue at once, where its own quota says nothing.
        """
        self._session.execute(_ONE_AT_A_TIME, {"lock": CLAIM_LOCK, "queue": queue})
        job_id = self._session.scalar(
            _CLAIM_NEXT,
            {
                "queue": queue,
                "kinds": sorted(kind.value for kind in kinds),
                "owner": owner,
                "lease_s": lease_s,
                "running_jobs": running_jobs,
            },
        )
        if job_id is None:
            return None
        query = select(Job).where(Job.id == job_id).execution_options(populate_existing=True)
        return self._begin(self._session.scalars(query).one())

    def is_anything_due(self, kinds: Collection[JobKind]) -> bool:
        """Whether a queued job of these kinds could run now, quotas aside."""
        now = func.clock_timestamp()
        query = select(Job.id).where(
            Job.state == JobState.QUEUED,
            Job.kind.in_(kinds),
            or_(Job.not_before.is_(None), Job.not_before <= now),
        )
        return self._session.scalars(query.limit(1)).first() is not None

    def claim(self, job_id: str, *, owner: str, lease_s: float) -> ClaimedJob | None:
        """Take this one job, whosever turn it is: for a hand at the machine and for tests of attempts.

        None: no such job, or not one to be taken now. Takes a running one, too, whose lease has run out.
        """
        now = func.clock_timestamp()
        loser = self._session.scalar(select(Job.lease_owner).where(Job.id == job_id).with_for_update())
        statement = (
            update(Job)
            .where(
                Job.id == job_id,
                Job.cancel_requested_at.is_(None),
                Job.pause_requested_at.is_(None),
                Job.attempts_used < Job.max_attempts,
                or_(Job.not_before.is_(None), Job.not_before <= now),
                or_(
                    Job.state == JobState.QUEUED,
                    and_(Job.state == JobState.RUNNING, Job.lease_expires_at < now),
                ),
            )
            .values(
                state=JobState.RUNNING,
                attempt=Job.attempt + 1,
                attempts_used=Job.attempts_used + 1,
                lease_owner=owner,
                lease_expires_at=now + job_changes.seconds(lease_s),
                started_at=func.coalesce(Job.started_at, now),
                not_before=None,
            )
            .returning(Job)
            .execution_options(synchronize_session=False, populate_existing=True)
        )
        job = self._session.scalars(statement).one_or_none()
        return None if job is None else self._begin(job, loser)

    def _begin(self, job: Job, loser: str | None = None) -> ClaimedJob:
        """`loser`: who held a lease on it that had run out, and may not know yet."""
        lost = {} if loser is None else {"lease_owner": loser}
        if job.resume_state is None and job.result is not None:  # it is measured again
            job.result = None
            job_changes.set_verdicts(self._session, job, [])
        job_changes.record(
            self._session,
            job,
            "started",
            {"state": JobState.RUNNING.value, "attempt": job.attempt} | lost,
            phase=None,
            phases=job_changes.pending_phases(job.kind, job.spec),
            progress=job_changes.initial_progress(job),
        )
        if KINDS[job.kind].reads_upload and job.checkpoint_id:
            checkpoint = job_changes.lock_row(self._session, Checkpoint, job.checkpoint_id)
            if checkpoint.state is CheckpointState.QUARANTINED:
                checkpoint.state = CheckpointState.SCANNING
                self._session.flush()
        return claimed_job(job)
