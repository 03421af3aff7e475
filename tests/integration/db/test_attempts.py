"""Claim, lease and fence: one winner, and no word from anybody else."""

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from sqlalchemy import func

from app.db.models.job import Job
from app.db.repositories.attempt_values import ClaimedJob, NewArtifact
from app.db.session import Database
from app.domain.ids import new_id
from app.domain.limits import MAX_LOST_ATTEMPTS
from app.domain.states import JobKind, JobPhase, JobState, PhaseState

ERROR = {"code": "x", "message": "m", "remedy": "r"}


@pytest.fixture
def job(database: Database, project_id: str) -> Job:
    return enqueue(database, project_id)


def enqueue(database: Database, project_id: str, **values: Any) -> Job:
    with database.unit_of_work() as unit:
        return unit.jobs.enqueue(
            Job(
                id=new_id("job"),
                project_id=project_id,
                kind=JobKind.AUDIT,
                spec={"version": 1},
                job_metadata={},
                **values,
            )
        )


def claim(database: Database, job_id: str, owner: str = "w", lease_s: float = 60) -> ClaimedJob | None:
    with database.unit_of_work() as unit:
        return unit.attempts.claim(job_id, owner=owner, lease_s=lease_s)


def read(database: Database, job: Job) -> Job:
    with database.unit_of_work() as unit:
        return unit.jobs.get(job.project_id, job.id)


def expire(database: Database, job: Job) -> None:
    with database.unit_of_work() as unit:
        unit.jobs.get(job.project_id, job.id, for_update=True).lease_expires_at = (
            func.now() - func.make_interval(1)
        )


def race(database: Database, job_id: str, barrier: threading.Barrier, _number: int) -> ClaimedJob | None:
    barrier.wait()
    return claim(database, job_id)


def test_of_many_racing_claims_one_wins(database: Database, project_id: str) -> None:
    for _ in range(5):
        job = enqueue(database, project_id)
        barrier = threading.Barrier(8)
        with ThreadPoolExecutor(8) as pool:
            claims = list(pool.map(partial(race, database, job.id, barrier), range(8)))
        assert [won.attempt for won in claims if won is not None] == [1]
        assert read(database, job).attempt == 1


def test_an_expired_lease_is_claimed_again_and_the_token_grows(database: Database, job: Job) -> None:
    assert claim(database, job.id) is not None
    assert claim(database, job.id) is None
    expire(database, job)
    second = claim(database, job.id)
    assert second is not None
    assert (second.attempt, second.attempts_used) == (2, 2)


def test_out_of_attempts_nobody_claims(database: Database, project_id: str) -> None:
    job = enqueue(database, project_id, max_attempts=1)
    assert claim(database, job.id) is not None
    expire(database, job)
    assert claim(database, job.id) is None


def test_a_fenced_writer_writes_nothing(database: Database, job: Job) -> None:
    first = claim(database, job.id, owner="sleeper")
    assert first is not None
    expire(database, job)
    assert claim(database, job.id, owner="successor") is not None
    before = read(database, job)
    artifact = NewArtifact(name="a", object_key="k", size_bytes=1, sha256="0", media_type="x/y")
    with database.unit_of_work() as unit:
        mine = (job.id, first.attempt)
        assert unit.attempts.heartbeat(*mine, lease_s=60, progress={"fraction": 1}) is None
        assert unit.attempts.peek(*mine) is None
        assert unit.attempts.record_event(*mine, "noted", {}) is False
        assert unit.attempts.record_state(*mine, {"step": 1}) is False
        assert unit.attempts.finish_succeeded(*mine, result={}, artifacts=[artifact]) is None
        assert unit.attempts.finish_failed(*mine, error=ERROR) is None
        assert unit.attempts.finish_cancelled(*mine) is False
        assert unit.attempts.finish_paused(*mine) is None
        assert unit.attempts.hand_back(*mine) is None
    after = read(database, job)
    assert (after.version, after.event_seq, after.state) == (
        before.version,
        before.event_seq,
        JobState.RUNNING,
    )
    with database.unit_of_work() as unit:
        assert unit.artifacts.of_job(job.project_id, job.id) == []


def test_success_is_published_once(database: Database, job: Job) -> None:
    won = claim(database, job.id)
    assert won is not None
    artifact = NewArtifact(
        name="report.json",
        object_key=f"outputs/{job.project_id}/{job.id}/attempt-1/report.json",
        size_bytes=1,
        sha256="0",
        media_type="x/y",
    )
    for expected in (JobState.SUCCEEDED, None):
        with database.unit_of_work() as unit:
            state = unit.attempts.finish_succeeded(
                job.id, won.attempt, result={"verdict": None}, artifacts=[artifact]
            )
        assert state is expected
    row = read(database, job)
    with database.unit_of_work() as unit:
        (stored,) = unit.artifacts.of_job(job.project_id, job.id)
    assert row.result == {"verdict": None, "artifact_ids": [stored.id]}
    assert row.finished_at is not None
    assert row.phase is JobPhase.PUBLISH, "whatever the last heartbeat said"


def test_a_success_that_comes_after_a_cancel_publishes_nothing(database: Database, job: Job) -> None:
    won = claim(database, job.id)
    assert won is not None
    with database.unit_of_work() as unit:
        unit.jobs.request_cancel(job.project_id, job.id)
    with database.unit_of_work() as unit:
        assert unit.attempts.finish_succeeded(job.id, won.attempt, result={}) is JobState.CANCELLED
    assert read(database, job).result is None


def test_a_heartbeat_brings_requests_back_and_stamps_phases_by_the_databases_clock(
    database: Database, job: Job
) -> None:
    won = claim(database, job.id, lease_s=1)
    assert won is not None
    leased = read(database, job).lease_expires_at
    phases = {JobPhase.STAGE: PhaseState.SUCCEEDED, JobPhase.BASELINE_AUDIT: PhaseState.RUNNING}
    with database.unit_of_work() as unit:
        beat = unit.attempts.heartbeat(job.id, 1, lease_s=60, progress={"fraction": 0.5}, phases=phases)
    assert beat is not None
    assert not beat.cancel_requested
    row = read(database, job)
    assert leased is not None
    assert row.lease_expires_at is not None
    assert row.lease_expires_at > leased
    assert row.phase is JobPhase.BASELINE_AUDIT
    stage, audit, publish = row.phases
    assert stage["finished_at"] is not None
    with database.unit_of_work() as unit:
        events, _ = unit.events.page(job.project_id, job.id, None, 100)
    reported = [(event.type, event.data["phase"]) for event in events if event.type.startswith("phase_")]
    assert reported == [
        ("phase_started", "stage"),
        ("phase_finished", "stage"),
        ("phase_started", "baseline_audit"),
    ]
    assert audit["started_at"] is not None
    assert audit["finished_at"] is None
    assert publish["state"] == "pending"
    with database.unit_of_work() as unit:
        unit.jobs.request_pause(job.project_id, job.id)
        beat = unit.attempts.heartbeat(job.id, 1, lease_s=60)
    assert beat is not None
    assert beat.pause_requested


def test_progress_changes_the_version_and_silence_does_not(database: Database, job: Job) -> None:
    claim(database, job.id)
    version = read(database, job).version
    with database.unit_of_work() as unit:
        unit.attempts.heartbeat(job.id, 1, lease_s=60, progress={"fraction": 0.25})
    assert read(database, job).version == version + 1
    with database.unit_of_work() as unit:
        unit.attempts.heartbeat(job.id, 1, lease_s=60, progress={"fraction": 0.25})
    assert read(database, job).version == version + 1


def test_a_hand_back_gives_the_attempt_back_and_a_failed_one_does_not(database: Database, job: Job) -> None:
    won = claim(database, job.id)
    assert won is not None
    with database.unit_of_work() as unit:
        assert unit.attempts.hand_back(job.id, won.attempt) is JobState.QUEUED
    assert (read(database, job).attempt, read(database, job).attempts_used) == (1, 0)
    again = claim(database, job.id)
    assert again is not None
    with database.unit_of_work() as unit:
        unit.attempts.finish_failed(job.id, again.attempt, error=ERROR, retry_in_s=0)
    assert (read(database, job).attempt, read(database, job).attempts_used) == (2, 1)


def test_an_attempt_that_does_not_count_is_given_back_until_there_were_very_many(
    database: Database, job: Job
) -> None:
    for attempt in range(1, MAX_LOST_ATTEMPTS + 1):
        assert read(database, job).state is JobState.QUEUED
        assert claim(database, job.id) is not None
        with database.unit_of_work() as unit:
            unit.attempts.finish_failed(job.id, attempt, error=ERROR, retry_in_s=0, counts=False)
        assert read(database, job).attempts_used == 0
    row = read(database, job)
    assert (row.state, (row.error or {})["code"]) == (JobState.FAILED, "x")
    with database.unit_of_work() as unit:
        again = unit.jobs.retry(row.project_id, job.id)
    assert (again.state, again.attempts_lost) == (JobState.QUEUED, 0)


def test_a_delayed_retry_is_not_claimed_before_its_time(database: Database, job: Job) -> None:
    won = claim(database, job.id)
    assert won is not None
    with database.unit_of_work() as unit:
        assert unit.attempts.finish_failed(job.id, 1, error=ERROR, retry_in_s=3600) is JobState.QUEUED
    assert claim(database, job.id) is None
    with database.unit_of_work() as unit:
        assert job.id not in dict(unit.sweeping.needing_hint(0))


def test_a_paused_or_cancelled_job_is_not_claimed(database: Database, project_id: str) -> None:
    paused, cancelled = enqueue(database, project_id), enqueue(database, project_id)
    with database.unit_of_work() as unit:
        unit.jobs.request_pause(project_id, paused.id)
        unit.jobs.request_cancel(project_id, cancelled.id)
    assert claim(database, paused.id) is None
    assert claim(database, cancelled.id) is None


def test_a_pause_that_was_withdrawn_in_time_queues_the_job_again(database: Database, job: Job) -> None:
    claim(database, job.id)
    with database.unit_of_work() as unit:
        unit.jobs.request_pause(job.project_id, job.id)
        unit.jobs.resume(job.project_id, job.id)
        assert unit.attempts.finish_paused(job.id, 1) is JobState.QUEUED


def test_the_phase_in_which_a_job_was_cancelled_ends_with_it(database: Database, job: Job) -> None:
    with database.unit_of_work() as unit:
        claimed = unit.attempts.claim(job.id, owner="w", lease_s=60)
        assert claimed is not None
        running = {JobPhase.STAGE: PhaseState.SUCCEEDED, JobPhase.BASELINE_AUDIT: PhaseState.RUNNING}
        unit.attempts.heartbeat(job.id, claimed.attempt, lease_s=60, phases=running)
    with database.unit_of_work() as unit:
        unit.jobs.request_cancel(job.project_id, job.id)
        unit.attempts.finish_cancelled(job.id, claimed.attempt)
    with database.unit_of_work() as unit:
        phases = {phase["name"]: phase for phase in unit.jobs.get(job.project_id, job.id).phases}
    assert phases["stage"]["state"] == "succeeded"
    assert phases["baseline_audit"]["state"] == "cancelled"
    assert phases["baseline_audit"]["finished_at"] >= phases["baseline_audit"]["started_at"]
    assert phases["publish"]["state"] == "pending"
