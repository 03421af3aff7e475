"""Real Celery workers and a real sweeper, killed and told to leave: no job is lost and none is done twice.

Daily, that who lost his lease writes nothing is shown by tests/integration/db/test_attempts.py and
tests/integration/worker/test_outages.py.
"""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from app.domain.states import JobKind, JobState
from app.queue.names import HEAVY_QUEUE
from app.queue.publisher import BrokerPublisher
from app.storage.s3 import S3Store
from lab.drills.processes import processes_in
from tests.end_to_end.worker_processes import Processes
from tests.fixtures.broker_messages import malformed_messages
from tests.integration.worker.world import World, opened_world, wait_until
from worker.health import alive_folder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def publisher(broker_url: str) -> Iterator[BrokerPublisher]:
    publisher = BrokerPublisher(broker_url)
    yield publisher
    publisher.close()


@pytest.fixture
def world(database_url: str, object_store: S3Store, tmp_path: Path) -> Iterator[World]:
    with opened_world(database_url, object_store, tmp_path) as world:
        yield world


@pytest.fixture
def processes(service_environment: dict[str, str], tmp_path: Path) -> Iterator[Processes]:
    processes = Processes(service_environment, tmp_path)
    yield processes
    processes.stop()


def ready(processes: Processes, *names: str) -> None:
    wait_until(lambda: all("worker_ready" in processes.log(name) for name in names), 60)


def test_a_worker_drops_what_is_not_a_hint_then_does_the_job_once_though_its_hint_came_three_times(
    world: World, processes: Processes, publisher: BrokerPublisher, broker_url: str
) -> None:
    job = world.sanitize_job()
    malformed = malformed_messages(job.id)
    with redis.Redis.from_url(broker_url) as broker:
        for item in malformed:
            broker.lpush(HEAVY_QUEUE, item)
        broker.hset("unacked", mapping={"tag": b"not JSON", "other": b"[1]"})
        broker.zadd("unacked_index", {"tag": 1.0, "other": 1.0})
        broker.sadd(f"_kombu.binding.{HEAVY_QUEUE}", b"neither two nor three fields")
    worker = processes.worker("worker", "work")
    for _ in range(3):
        assert publisher.job_ready(job.id, job.kind)
    wait_until(lambda: world.job(job.id).state is JobState.SUCCEEDED, 60)
    wait_until(lambda: publisher.depth() == 0)
    wait_until(lambda: processes.log("worker").count("hint_dropped") == 2)
    assert publisher.num_refused() == len(malformed)
    assert 1 <= processes.log("worker").count("hint_refused") <= len(malformed).bit_length(), (
        "not a line each"
    )
    assert processes.log("worker").count("worker_ready") == 1
    assert world.event_types(job.id).count("started") == 1
    assert world.event_types(job.id).count("succeeded") == 1
    worker.terminate()
    assert worker.wait(20) == 0


@pytest.mark.full
def test_a_hint_tells_its_worker_the_queue_whose_turn_it_is(
    world: World, processes: Processes, publisher: BrokerPublisher
) -> None:
    _, inspection = world.checkpoint()
    held_back = world.audit_job()
    processes.worker("worker", "work")
    publisher.job_ready("job_00000000000000000000000000", JobKind.INSPECT)
    wait_until(lambda: world.job(inspection.id).state is JobState.SUCCEEDED, 60)
    assert world.job(held_back.id).state is JobState.QUEUED, "it waits in the other queue, unhinted"
    with world.hands.unit_of_work() as unit:
        unit.jobs.request_cancel(world.project_id, held_back.id)


@pytest.mark.full
def test_a_job_whose_hint_never_came_is_found_by_the_sweeper(world: World, processes: Processes) -> None:
    job = world.audit_job()
    processes.worker("worker", "work")
    processes.sweeper()
    wait_until(lambda: world.job(job.id).state is JobState.SUCCEEDED, 60)


def test_a_worker_killed_with_its_job_loses_nothing_and_another_ends_it_with_the_same_weights(
    world: World, processes: Processes, publisher: BrokerPublisher
) -> None:
    undisturbed = world.sanitize_job()
    assert world.runner().run(undisturbed.id) is JobState.SUCCEEDED

    job = world.sanitize_job()
    publisher.job_ready(job.id, job.kind)
    doomed = processes.worker("doomed", "work_until_told")
    wait_until(lambda: world.job(job.id).resume_state is not None, 60)
    doomed.send_signal(signal.SIGKILL)
    doomed.wait()
    wait_until(lambda: processes_in(world.folder) == [])
    processes.sweeper()
    processes.worker("heir", "work")
    wait_until(lambda: world.job(job.id).state is JobState.SUCCEEDED, 90)
    types = world.event_types(job.id)
    assert types.count("lease_expired") == 1
    assert types.count("succeeded") == 1
    row = world.job(job.id)
    assert (row.attempt, row.attempts_used) == (2, 1)
    assert (
        world.artifacts(job.id)["model.safetensors"] == world.artifacts(undisturbed.id)["model.safetensors"]
    )


def test_a_worker_told_to_leave_is_gone_within_20_s_and_its_job_goes_on_elsewhere_uncounted(
    world: World, processes: Processes, publisher: BrokerPublisher
) -> None:
    job = world.sanitize_job()
    publisher.job_ready(job.id, job.kind)
    leaver = processes.worker("leaver", "work_until_told")
    wait_until(lambda: world.is_training(job.id, step=3), 60)
    asked_at = time.monotonic()
    leaver.terminate()
    assert leaver.wait(20) == 0
    assert time.monotonic() - asked_at < 20
    row = world.job(job.id)
    assert (row.state, row.attempts_used) == (JobState.QUEUED, 0)
    assert row.resume_state is not None
    processes.worker("heir", "work")
    wait_until(lambda: world.job(job.id).state is JobState.SUCCEEDED, 60)


@pytest.mark.full
def test_a_sleeper_that_wakes_after_its_lease_writes_nothing(
    world: World, processes: Processes, publisher: BrokerPublisher
) -> None:
    job = world.sanitize_job()
    publisher.job_ready(job.id, job.kind)
    sleeper = processes.worker("sleeper", "work_until_told")
    wait_until(lambda: world.is_training(job.id, step=3), 60)
    sleeper.send_signal(signal.SIGSTOP)
    processes.sweeper()
    processes.worker("heir", "work")
    wait_until(lambda: world.job(job.id).state is JobState.SUCCEEDED, 180)
    before = (world.job(job.id).version, world.keys(f"outputs/{world.project_id}/"))
    sleeper.send_signal(signal.SIGCONT)
    wait_until(lambda: "job_left" in processes.log("sleeper"), 30)
    assert '"state": "fenced"' in processes.log("sleeper")
    assert (world.job(job.id).version, world.keys(f"outputs/{world.project_id}/")) == before
    assert list((world.folder / "sleeper-work").glob("job_*")) == []


@pytest.mark.full
def test_a_worker_that_is_busy_holds_no_hint_back_from_an_idle_one(
    world: World, processes: Processes, publisher: BrokerPublisher
) -> None:
    processes.worker("one", "work_until_told")
    processes.worker("two", "work_until_told")
    ready(processes, "one", "two")
    jobs = [world.sanitize_job(), world.sanitize_job()]
    for job in jobs:
        publisher.job_ready(job.id, job.kind)
    wait_until(lambda: all(world.job(job.id).state is JobState.RUNNING for job in jobs))
    with world.database.unit_of_work() as unit:
        for job in jobs:
            unit.jobs.request_cancel(world.project_id, job.id)
    wait_until(lambda: all(world.job(job.id).state is JobState.CANCELLED for job in jobs))


@pytest.mark.full
def test_the_broker_may_refuse_a_worker_for_a_while_and_be_emptied_while_jobs_wait(
    world: World, processes: Processes, publisher: BrokerPublisher, broker_url: str
) -> None:
    job = world.audit_job()
    publisher.job_ready(job.id, JobKind.AUDIT)
    with redis.Redis.from_url(broker_url) as broker:
        broker.flushdb()
        broker.set(HEAVY_QUEUE, "not a list")  # each read is answered with an error, as with a full disk
        processes.worker("worker", "work")
        wait_until(lambda: processes.log("worker").count("broker_refuses") > 1)
        broker.flushdb()
    processes.sweeper()
    wait_until(lambda: world.job(job.id).state is JobState.SUCCEEDED, 60)


@pytest.mark.full
def test_folders_of_dead_workers_are_cleaned_at_start_and_the_worker_says_that_it_lives(
    world: World, processes: Processes
) -> None:
    orphan = world.folder / "worker-work" / "job_gone.1"
    (orphan / "job").mkdir(parents=True)
    (orphan / "lock").touch()
    worker = processes.worker("worker", "work")
    ready(processes, "worker")
    assert not orphan.exists()
    wait_until((alive_folder() / str(worker.pid)).exists)
