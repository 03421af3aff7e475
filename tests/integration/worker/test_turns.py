"""A hint wakes a worker up; whose turn it is, the database says. Nothing that may run waits for ever."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from app.db.models.project import ProjectQuota
from app.db.roles import Role
from app.db.session import build_engine
from app.domain.states import JobKind, JobState
from app.queue.names import HEAVY_QUEUE, LIGHT_QUEUE, queue_for
from tests.integration.db.test_fair_claim import queue_many
from tests.integration.worker.world import World, wait_until
from worker.sweeper import SweepOptions, sweep_once


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An operator's. Modules share a database: what other tests left queued would have its turn too."""
    engine = build_engine(database_url, role=Role.OPERATOR)
    with engine.begin() as connection:
        connection.execute(text("UPDATE jobs SET state = 'cancelled' WHERE state = 'queued'"))
    yield engine
    engine.dispose()


@pytest.fixture(autouse=True)
def _nothing_else_waits(engine: Engine) -> None:
    pass


def test_a_hint_for_one_job_runs_the_one_whose_turn_it_is(world: World) -> None:
    older, younger = world.audit_job(), world.audit_job()
    runner = world.runner()
    assert runner.answer(HEAVY_QUEUE, hinted_job_id=younger.id) is JobState.SUCCEEDED
    assert world.job(older.id).state is JobState.SUCCEEDED
    assert runner.answer(HEAVY_QUEUE, hinted_job_id=younger.id) is JobState.SUCCEEDED
    assert world.job(younger.id).state is JobState.SUCCEEDED


@pytest.mark.parametrize("queue", [HEAVY_QUEUE, LIGHT_QUEUE])
def test_a_hint_that_is_late_doubled_or_for_no_job_of_ours_does_no_harm(world: World, queue: str) -> None:
    assert world.runner().answer(queue, hinted_job_id="job_00000000000000000000000000") is None


def test_a_hint_of_one_queue_takes_nothing_of_the_other(world: World) -> None:
    _, inspection = world.checkpoint()
    assert world.runner().answer(HEAVY_QUEUE, hinted_job_id=inspection.id) is None
    assert world.job(inspection.id).state is JobState.QUEUED
    assert world.runner().answer(queue_for(JobKind.INSPECT), hinted_job_id="any") is JobState.SUCCEEDED


def test_a_hint_lost_to_a_full_quota_is_sent_again_when_a_place_is_free(world: World) -> None:
    with world.hands.unit_of_work() as unit:
        unit.quotas.set(ProjectQuota(project_id=world.project_id, running_jobs=1))
    first, second = world.audit_job(), world.audit_job()
    held = world.start(first.id, "wait_for_ever")
    wait_until(lambda: world.job(first.id).state is JobState.RUNNING)
    assert world.runner().answer(HEAVY_QUEUE, hinted_job_id=second.id) is None, "its hint is lost"
    assert world.job(second.id).state is JobState.QUEUED
    assert world.publisher.sent == []
    with world.hands.unit_of_work() as unit:
        unit.jobs.request_cancel(world.project_id, first.id)
    assert held.join() is JobState.CANCELLED
    assert [kind for _, kind in world.publisher.sent] == [JobKind.AUDIT]
    assert world.runner().answer(HEAVY_QUEUE, hinted_job_id="any") is JobState.SUCCEEDED
    assert world.job(second.id).state is JobState.SUCCEEDED


def test_whoever_ends_a_job_wakes_one_more_only_if_somebody_waits_and_no_hint_does(world: World) -> None:
    jobs = [world.audit_job() for _ in range(3)]
    world.publisher.sent.clear()
    runner = world.runner()
    assert runner.answer(HEAVY_QUEUE, hinted_job_id=jobs[0].id) is JobState.SUCCEEDED
    assert len(world.publisher.sent) == 1
    assert runner.answer(HEAVY_QUEUE, hinted_job_id=jobs[1].id) is JobState.SUCCEEDED
    assert len(world.publisher.sent) == 1, "one hint waits already"


def test_a_long_row_of_training_jobs_does_not_hold_back_the_hints_of_inspections(
    world: World, engine: Engine
) -> None:
    queue_many(engine, world.project_id, 150)
    _, inspection = world.checkpoint()
    world.publisher.sent.clear()
    sweep_once(world.database, world.store, world.publisher, SweepOptions(hint_again_after_s=0))
    assert inspection.id in {job_id for job_id, _ in world.publisher.sent}
