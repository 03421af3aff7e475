"""The fair queue: whose turn it is, and that it is exact when many workers race for it."""

import secrets
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import Session

from app.db.models.job import Job
from app.db.models.project import Project, ProjectQuota
from app.db.repositories.attempt_values import ClaimedJob
from app.db.roles import Role
from app.db.session import Database, build_engine
from app.db.unit_of_work import UnitOfWork
from app.domain.ids import new_id
from app.domain.states import JobKind, JobState
from app.queue.names import HEAVY_QUEUE, LIGHT_QUEUE, kinds_of

_MANY = text(
    """
    INSERT INTO jobs (id, project_id, kind, state, phases, progress, spec, seed, metadata, attempt,
                      attempts_used, attempts_lost, max_attempts, version, event_seq)
    SELECT 'job_' || :mark || lpad(number::text, 8, '0'), :project_id, :kind, 'queued', '[]', '{}', '{}', 0,
           '{}', 0, 0, 0, 3, 1, 0
    FROM generate_series(1, :number) AS number
    """
)


_ROWS_READ = text(
    "SELECT sum(pg_stat_get_xact_tuples_returned(oid)) FROM pg_class WHERE oid = 'jobs'::regclass"
    " OR oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = 'jobs'::regclass)"
)
"""Rows and index entries of `jobs` that this session has read and not yet handed over to the statistics."""


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An operator's, on a database without jobs."""
    engine = build_engine(database_url, role=Role.OPERATOR)
    clear(engine)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def workers(database_url: str) -> Iterator[Database]:
    workers = Database(build_engine(database_url, role=Role.WORKER))
    yield workers
    workers.dispose()


def clear(engine: Engine) -> None:
    with engine.begin() as connection:
        for table in ("job_events", "jobs", "queue_turns", "project_quotas"):
            connection.execute(text(f"DELETE FROM {table}"))


def maintain(database_url: str, command: str) -> None:
    """As the tables' owner, outside of any transaction."""
    owner = build_engine(database_url)
    with owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(command))
    owner.dispose()


def project(database: Database) -> str:
    with database.unit_of_work() as unit:
        return unit.projects.add(Project(id=new_id("prj"), name=new_id("prj"))).id


def queue_many(engine: Engine, project_id: str, number: int, kind: JobKind = JobKind.AUDIT) -> None:
    with engine.begin() as connection:
        insert_many(connection, project_id, number, kind)


def insert_many(connection: Connection, project_id: str, number: int, kind: JobKind = JobKind.AUDIT) -> None:
    """Plain rows, quickly; ids in the order of their creation."""
    values = {
        "mark": new_id("job")[4:14] + secrets.token_hex(4),
        "project_id": project_id,
        "kind": kind,
        "number": number,
    }
    connection.execute(_MANY, values)


def queue_one(database: Database, project_id: str, kind: JobKind = JobKind.AUDIT) -> str:
    with database.unit_of_work() as unit:
        return unit.jobs.enqueue(Job(id=new_id("job"), project_id=project_id, kind=kind, spec={})).id


def take(workers: Database, queue: str = HEAVY_QUEUE, running_jobs: int = 100) -> ClaimedJob | None:
    with workers.unit_of_work() as unit:
        return claim(unit, queue, running_jobs)


def claim(unit: UnitOfWork, queue: str = HEAVY_QUEUE, running_jobs: int = 100) -> ClaimedJob | None:
    return unit.attempts.claim_next(queue, kinds_of(queue), owner="w", lease_s=60, running_jobs=running_jobs)


def finish(workers: Database, job: ClaimedJob) -> None:
    with workers.unit_of_work() as unit:
        assert unit.attempts.finish_succeeded(job.id, job.attempt, result={}) is JobState.SUCCEEDED


def taken(workers: Database, **options: int) -> ClaimedJob:
    job = take(workers, **options)
    assert job is not None
    return job


@pytest.mark.usefixtures("engine")
def test_the_oldest_job_of_a_single_project_comes_first(database: Database, workers: Database) -> None:
    ours = project(database)
    ids = [queue_one(database, ours) for _ in range(4)]
    assert [taken(workers).id for _ in range(4)] == ids
    assert take(workers) is None


def test_a_thousand_jobs_of_one_tenant_delay_the_first_of_another_by_at_most_one(
    database: Database, workers: Database, engine: Engine
) -> None:
    greedy, small = project(database), project(database)
    queue_many(engine, greedy, 1000)
    for _ in range(3):
        finish(workers, taken(workers))
    running = taken(workers)
    wanted = queue_one(database, small)
    finish(workers, running)
    assert wanted in {taken(workers).id, taken(workers).id}
    queue_one(database, small)
    owners = [taken(workers).project_id for _ in range(2)]
    assert sorted(owners) == sorted([greedy, small]), "from then on they take turns"


def test_with_eight_workers_racing_nobody_is_overtaken_and_no_job_is_claimed_twice(
    database: Database, workers: Database, engine: Engine
) -> None:
    tenants = [project(database) for _ in range(4)]
    for tenant, number in zip(tenants, (200, 30, 3, 1), strict=True):
        queue_many(engine, tenant, number)

    def work(_: int) -> list[tuple[str, str]]:
        mine = []
        while job := take(workers):
            mine.append((job.id, job.project_id))
            finish(workers, job)
        return mine

    with ThreadPoolExecutor(8) as threads:
        claimed = [entry for mine in threads.map(work, range(8)) for entry in mine]
    assert len(claimed) == len({job_id for job_id, _ in claimed}) == 234
    with engine.connect() as connection:
        order = connection.scalars(text("SELECT project_id FROM jobs ORDER BY started_at")).all()
    assert set(order[:4]) == set(tenants), "the first of each comes among the first four"
    assert set(order[4:6]) < set(tenants[:3])
    assert Counter(order) == dict(zip(tenants, (200, 30, 3, 1), strict=True))
    last_of_second = max(place for place, owner in enumerate(order) if owner == tenants[1])
    assert last_of_second < 2 * 30 + 4 + 20, "two tenants that wait share the workers"


def test_the_tenant_with_fewer_running_jobs_comes_first_whoever_was_served_last(
    database: Database, workers: Database, engine: Engine
) -> None:
    busy, idle = project(database), project(database)
    queue_many(engine, busy, 10)
    for _ in range(3):
        taken(workers)
    queue_many(engine, idle, 10)
    assert [taken(workers).project_id for _ in range(3)] == [idle] * 3
    assert {taken(workers).project_id for _ in range(2)} == {busy, idle}


def test_more_than_the_quota_wait_and_others_pass_by(
    database: Database, workers: Database, engine: Engine
) -> None:
    held, free = project(database), project(database)
    queue_many(engine, held, 5)
    with database.unit_of_work() as unit:
        unit.quotas.set(ProjectQuota(project_id=held, running_jobs=2))
    first, _ = taken(workers), taken(workers)
    assert take(workers) is None
    queue_many(engine, free, 1)
    assert taken(workers).project_id == free
    assert take(workers) is None
    finish(workers, first)
    assert taken(workers).project_id == held


def test_two_workers_cannot_both_take_the_last_place_of_a_quota(
    database: Database, workers: Database, engine: Engine
) -> None:
    for _ in range(5):
        ours = project(database)
        queue_many(engine, ours, 8)
        with ThreadPoolExecutor(8) as threads:
            got = [job for job in threads.map(lambda _: take(workers, running_jobs=3), range(8)) if job]
        assert len(got) == 3
        clear(engine)


def test_each_queue_has_turns_and_places_of_its_own(
    database: Database, workers: Database, engine: Engine
) -> None:
    ours = project(database)
    queue_many(engine, ours, 2, JobKind.SANITIZE)
    inspection = queue_one(database, ours, JobKind.INSPECT)
    assert taken(workers, running_jobs=1).kind is JobKind.SANITIZE
    assert take(workers, running_jobs=1) is None
    light = take(workers, LIGHT_QUEUE, running_jobs=1)
    assert light is not None
    assert light.id == inspection


@pytest.mark.usefixtures("engine")
def test_what_is_paused_cancelled_or_not_due_is_passed_over(database: Database, workers: Database) -> None:
    ours = project(database)
    paused, cancelled, later, ready = (queue_one(database, ours) for _ in range(4))
    with database.unit_of_work() as unit:
        unit.jobs.request_pause(ours, paused)
        unit.jobs.request_cancel(ours, cancelled)
        unit.jobs.get(ours, later, for_update=True).not_before = datetime.now(UTC) + timedelta(hours=1)
    assert taken(workers).id == ready
    assert take(workers) is None


@pytest.mark.usefixtures("engine")
def test_a_job_that_a_request_holds_is_not_waited_for(database: Database, workers: Database) -> None:
    ours = project(database)
    held, free = queue_one(database, ours), queue_one(database, ours)
    with database.unit_of_work() as unit:
        unit.jobs.get(ours, held, for_update=True)
        assert taken(workers).id == free
    assert taken(workers).id == held


@pytest.mark.parametrize("is_analyzed", [False, True])
def test_a_claim_does_not_read_the_crowd_that_waits(
    database: Database, engine: Engine, database_url: str, is_analyzed: bool
) -> None:
    """Neither when the planner has not heard of the crowd, nor when it believes that there is not one job:
    as it does after an ANALYZE, autovacuum's own too, while the crowd's rows were not committed. Hashing is
    off here, because the plan that CI met once, groups in an index's order, costs only a hair more than it.
    """
    maintain(database_url, "VACUUM jobs")  # index entries of rows that are gone would be read too, once
    crowd = project(database)
    with engine.begin() as connection:
        insert_many(connection, crowd, 100_000)
        if is_analyzed:
            maintain(database_url, "ANALYZE jobs")
    for _ in range(40):
        queue_many(engine, project(database), 1)
    workers = build_engine(database_url, role=Role.WORKER)
    for _ in range(10):
        with Session(workers) as session, session.begin():
            session.execute(text("SET LOCAL enable_hashagg = off"))
            before = session.scalar(_ROWS_READ)
            assert claim(UnitOfWork(session), running_jobs=1000)
            assert session.scalar(_ROWS_READ) - before < 2_000, "a job or two a project, not its crowd"
    workers.dispose()
