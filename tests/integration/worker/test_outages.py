"""The database, the object store or the disk fail for a while: the job goes on, or is tried again."""

from __future__ import annotations

import errno
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from app.db.repositories.attempt_values import ClaimedJob
from app.db.session import Database
from app.db.unit_of_work import UnitOfWork
from app.domain.errors import Unavailable
from app.domain.states import JobState
from app.storage.errors import StoreUnavailable
from app.storage.port import ObjectStore, StoredObject
from lab.drills.processes import processes_in
from tests.integration.worker.world import World, wait_until
from worker.staging import stage as staging
from worker.staging import transfer
from worker.staging.inputs import plan


class FailingDatabase:
    """The real database, away while `is_away`; `cut_commits` commits and then says that it did not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.is_away = False
        self.cut_commits = 0

    @contextmanager
    def unit_of_work(self) -> Iterator[UnitOfWork]:
        if self.is_away:
            raise Unavailable("database_unavailable", "Away.", "Wait.")
        with self._database.unit_of_work() as unit:
            yield unit
        if self.cut_commits > 0:
            self.cut_commits -= 1
            raise Unavailable("database_unavailable", "Cut.", "Wait.")


class FailingStore:
    """The real store; the first `num_failures` calls of each kind find nobody."""

    def __init__(self, store: ObjectStore, num_failures: int) -> None:
        self._store = store
        self._left: dict[str, int] = {"stream": num_failures, "put_file": num_failures}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def in_bucket(self, bucket: str) -> FailingStore:
        other = FailingStore(self._store.in_bucket(bucket), 0)
        other._left = self._left
        return other

    def stream(self, key: str, *, start: int = 0, num_bytes: int | None = None) -> Iterator[bytes]:
        self._fail("stream")
        return self._store.stream(key, start=start, num_bytes=num_bytes)

    def put_file(self, key: str, path: Path, *, content_type: str = "x/y") -> StoredObject:
        self._fail("put_file")
        return self._store.put_file(key, path, content_type=content_type)

    def _fail(self, step: str) -> None:
        if self._left[step] > 0:
            self._left[step] -= 1
            raise StoreUnavailable("503")


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "FIRST_PAUSE_S", 0.1)


def test_a_database_that_is_away_for_less_than_the_lease_disturbs_nothing(world: World) -> None:
    job = world.sanitize_job()
    database = FailingDatabase(world.database)
    running = world.start(job.id, "work_until_told", database=database, lease_s=20.0, heartbeat_s=1.0)
    wait_until(lambda: world.is_training(job.id, step=2))
    database.is_away = True
    time.sleep(3)
    database.is_away = False
    world.let_go_on()
    assert running.join() is JobState.SUCCEEDED
    assert world.job(job.id).attempt == 1


def test_a_database_that_is_away_past_the_lease_makes_the_worker_stop_and_write_nothing(world: World) -> None:
    job = world.sanitize_job()
    database = FailingDatabase(world.database)
    running = world.start(job.id, "wait_for_ever", database=database, lease_s=3.0, heartbeat_s=0.5)
    wait_until(lambda: processes_in(world.work_dir))
    database.is_away = True
    assert running.join(15) is None
    assert processes_in(world.work_dir) == []
    assert world.keys(f"outputs/{world.project_id}/") == []
    assert world.job(job.id).state is JobState.RUNNING, "for the sweeper to take back"


def test_a_success_whose_commit_was_not_heard_of_is_not_published_twice(world: World) -> None:
    job = world.audit_job()
    database = FailingDatabase(world.database)
    runner = world.runner(database=database, poll_s=60.0)
    with world.database.unit_of_work() as unit:
        original = type(unit.attempts).finish_succeeded

    cuts = iter([1])

    def finish_and_cut(*arguments: Any, **values: Any) -> Any:
        database.cut_commits = next(cuts, 0)
        return original(*arguments, **values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(unit.attempts), "finish_succeeded", finish_and_cut)
        assert runner.run(job.id) is None, "the second try finds that the job is no longer ours"
    assert world.job(job.id).state is JobState.SUCCEEDED
    assert world.event_types(job.id).count("succeeded") == 1
    assert {"report.json", "report.html", "statement.json", "SHA256SUMS"} <= set(world.artifacts(job.id))


def test_a_claim_while_the_database_is_away_leaves_the_job_queued(world: World) -> None:
    job = world.audit_job()
    database = FailingDatabase(world.database)
    database.is_away = True
    assert world.runner(database=database).run(job.id) is None
    assert world.job(job.id).state is JobState.QUEUED


def test_a_connection_that_is_cut_while_inputs_are_looked_up_costs_no_attempt(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = world.audit_job()
    cuts = iter([1])

    def cut_once(unit: UnitOfWork, claimed: ClaimedJob) -> Any:
        if next(cuts, 0):
            raise Unavailable("database_unavailable", "Cut.", "Wait.")
        return plan(unit, claimed)

    monkeypatch.setattr(staging, "plan", cut_once)
    assert world.runner().run(job.id) is JobState.SUCCEEDED
    assert world.job(job.id).attempt == 1


def test_a_store_that_is_away_for_a_moment_costs_no_attempt(world: World) -> None:
    job = world.sanitize_job()
    assert world.runner(store=FailingStore(world.store, 2)).run(job.id) is JobState.SUCCEEDED
    assert world.job(job.id).attempts_used == 1


class CorruptingStore(FailingStore):
    """The real store; the first `num_failures` bodies arrive with one byte changed."""

    def in_bucket(self, bucket: str) -> CorruptingStore:
        other = CorruptingStore(self._store.in_bucket(bucket), 0)
        other._left = self._left
        return other

    def stream(self, key: str, *, start: int = 0, num_bytes: int | None = None) -> Iterator[bytes]:
        chunks = self._store.stream(key, start=start, num_bytes=num_bytes)
        self._left["stream"] -= 1
        if self._left["stream"] >= 0:
            first = next(chunks)
            yield bytes([first[0] ^ 1]) + first[1:]
        yield from chunks

    def put_file(self, key: str, path: Path, *, content_type: str = "x/y") -> StoredObject:
        return self._store.put_file(key, path, content_type=content_type)


def test_bytes_that_went_wrong_on_the_way_are_read_again_and_cost_no_attempt(world: World) -> None:
    job = world.audit_job()
    assert world.runner(store=CorruptingStore(world.store, 2)).run(job.id) is JobState.SUCCEEDED
    assert world.job(job.id).attempts_used == 1


def test_bytes_that_are_wrong_in_the_store_fail_the_job_with_a_reason(world: World) -> None:
    job = world.audit_job()
    assert world.runner(store=CorruptingStore(world.store, 10**6)).run(job.id) is JobState.FAILED
    assert (world.job(job.id).error or {})["code"] == "input_changed"


def test_a_store_that_stays_away_ends_the_attempt_and_the_job_is_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "PATIENCE_S", 0.5)
    job = world.audit_job()
    assert world.runner(store=FailingStore(world.store, 10**6)).run(job.id) is JobState.QUEUED
    row = world.job(job.id)
    assert row.not_before is not None
    (failed,) = [event for event in world.events(job.id) if event.type == "attempt_failed"]
    assert failed.data["error"]["code"] == "store_unavailable"
    assert row.attempts_used == 0, "the store is the operator's"
    assert failed.data["error"]["phase"] == "stage"


def test_a_disk_without_room_is_noticed_before_a_byte_is_moved(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(10**12, 10**12, 10))
    job = world.audit_job()
    assert world.runner().run(job.id) is JobState.QUEUED
    (failed,) = [event for event in world.events(job.id) if event.type == "attempt_failed"]
    assert failed.data["error"]["code"] == "disk_full"
    assert world.job(job.id).attempts_used == 0, "the disk is the operator's"


def test_a_disk_that_fills_up_meanwhile_is_told_from_other_troubles(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("worker.staging.transfer.download", full)
    job = world.audit_job()
    assert world.runner().run(job.id) is JobState.QUEUED
    (failed,) = [event for event in world.events(job.id) if event.type == "attempt_failed"]
    assert failed.data["error"]["code"] == "disk_full"
    assert world.job(job.id).attempts_used == 0, "the disk is the operator's"
    assert list(world.work_dir.iterdir()) == []


def test_a_defect_of_ours_is_told_without_a_traceback_and_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise KeyError("secret internals")

    monkeypatch.setattr("worker.attempt.publish", broken)
    job = world.audit_job()
    assert world.runner().run(job.id) is JobState.QUEUED
    (failed,) = [event for event in world.events(job.id) if event.type == "attempt_failed"]
    assert failed.data["error"]["code"] == "internal_error"
    assert "secret internals" not in str(failed.data)
