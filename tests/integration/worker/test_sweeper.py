"""The sweeper: leases, hints and leftovers, one sweeper at a time, on real servers."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, text

from app.db.models.assets import Upload
from app.db.models.job import Job
from app.db.models.project import IdempotencyKey
from app.db.roles import Role
from app.db.session import Database, build_engine
from app.domain.ids import new_id
from app.domain.limits import MAX_LOST_ATTEMPTS
from app.domain.object_keys import output_attempt_prefix, state_prefix, upload_key
from app.domain.states import CheckpointState, DatasetKind, JobKind, JobState, UploadPurpose, UploadState
from app.services import checkpoints, operators
from app.services.api_keys import Caller
from app.storage.errors import ObjectNotFound, StoreUnavailable, UploadNotFound
from tests.integration.worker.world import World
from worker.sweeper import SWEEP_LOCK, SweepOptions, SweepReport, sweep_once
from worker.sweeping.cleanup import delete_abandoned_uploads

NOW = SweepOptions(hint_again_after_s=0, leftovers_after_s=0, failed_leftovers_after_s=0)
PAST = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def quiet(database: Database) -> None:
    """What other tests of this module left queued is none of a test's business."""
    with database.unit_of_work() as unit:
        for project in unit.projects.all():
            versions, _ = unit.jobs.page(project.id, None, 100, kinds=list(JobKind))
            for row in unit.jobs.listed(project.id, versions):
                if row.state in {JobState.QUEUED, JobState.PAUSED}:
                    unit.jobs.request_cancel(project.id, row.id)


def sweep(world: World, options: SweepOptions = NOW) -> SweepReport:
    return sweep_once(world.database, world.store, world.publisher, options)


def claimed(world: World, **values: Any) -> Job:
    job = world.audit_job(**values)
    with world.hands.unit_of_work() as unit:
        assert unit.attempts.claim(job.id, owner="lost worker", lease_s=60) is not None
    return job


def test_a_job_whose_worker_vanished_is_queued_again_and_announced(world: World) -> None:
    job = claimed(world)
    sweep(world)
    assert world.job(job.id).state is JobState.RUNNING, "the lease still runs"
    world.expire_lease(job.id)
    sweep(world)
    row = world.job(job.id)
    assert (row.state, row.attempts_used, row.lease_owner) == (JobState.QUEUED, 0, None)
    assert job.id in {sent for sent, _ in world.publisher.sent}
    assert "lease_expired" in world.event_types(job.id)


def lose_every_worker(world: World, job_id: str) -> Job:
    """As a file does that kills the whole container, supervisor included; the job when it has ended."""
    for _ in range(MAX_LOST_ATTEMPTS):
        with world.hands.unit_of_work() as unit:
            unit.jobs.find(job_id).not_before = None  # nobody waits here
        with world.hands.unit_of_work() as unit:
            assert unit.attempts.claim(job_id, owner="lost worker", lease_s=60) is not None
        world.expire_lease(job_id)
        sweep(world)
    return world.job(job_id)


def test_a_lost_worker_costs_no_attempt_and_the_job_waits_longer_each_time(world: World) -> None:
    job = claimed(world, max_attempts=1)
    world.expire_lease(job.id)
    sweep(world)
    row = world.job(job.id)
    assert (row.state, row.attempts_used, row.not_before) == (JobState.QUEUED, 0, None)
    with world.hands.unit_of_work() as unit:
        assert unit.attempts.claim(job.id, owner="lost worker", lease_s=60) is not None
    world.expire_lease(job.id)
    sweep(world)
    assert world.job(job.id).not_before is not None


def test_a_job_whose_workers_vanish_every_time_fails_as_worker_lost(world: World) -> None:
    row = lose_every_worker(world, world.audit_job().id)
    assert row.state is JobState.FAILED
    assert (row.error or {})["code"] == "worker_lost"


def test_an_inspection_whose_workers_vanish_rejects_nothing_and_an_operator_has_it_tried_again(
    world: World,
) -> None:
    checkpoint, job = world.checkpoint()
    assert lose_every_worker(world, job.id).state is JobState.FAILED
    with world.hands.unit_of_work() as unit:
        row = unit.checkpoints.get(world.project_id, checkpoint.id)
        assert row.state is CheckpointState.SCANNING
        assert (row.error or {})["code"] == "worker_lost"
        assert job.id in (row.error or {})["remedy"]
    assert world.keys(f"uploads/{world.project_id}/") == [checkpoint.upload_object_key]
    assert operators.requeue(world.hands, job.id, account="lab") == "queued"
    with world.hands.unit_of_work() as unit:
        assert unit.checkpoints.get(world.project_id, checkpoint.id).error is None
    assert world.runner().run(job.id) is JobState.SUCCEEDED


def test_an_undecided_checkpoint_whose_inspection_was_given_up_can_be_deleted(world: World) -> None:
    checkpoint, job = world.checkpoint()
    lose_every_worker(world, job.id)
    caller = Caller(
        project_id=world.project_id,
        key_id="key_x",
        scopes=frozenset({"admin"}),
        request_id="r",
        remote_addr=None,
    )
    with world.hands.unit_of_work() as unit:
        checkpoints.delete(unit, caller, checkpoint.id)
    sweep(world)
    assert world.keys(f"uploads/{world.project_id}/") == []


def test_a_lost_job_that_was_to_be_cancelled_or_paused_ends_as_asked(world: World) -> None:
    to_cancel, to_pause = claimed(world), claimed(world)
    with world.hands.unit_of_work() as unit:
        unit.jobs.request_cancel(world.project_id, to_cancel.id)
        unit.jobs.request_pause(world.project_id, to_pause.id)
    for job in (to_cancel, to_pause):
        world.expire_lease(job.id)
    sweep(world)
    assert world.job(to_cancel.id).state is JobState.CANCELLED
    assert world.job(to_pause.id).state is JobState.PAUSED


def test_a_job_of_which_nobody_was_told_is_announced_from_the_outbox_once(world: World) -> None:
    job = world.audit_job()
    world.publisher.is_down = True
    sweep(world, SweepOptions())
    assert world.publisher.sent == []
    world.publisher.is_down = False
    sweep(world, SweepOptions())
    sweep(world, SweepOptions())
    assert [sent for sent, _ in world.publisher.sent].count(job.id) == 1


def test_a_hint_that_got_lost_is_sent_again(world: World) -> None:
    job = world.audit_job()
    sweep(world)
    world.publisher.sent.clear()
    sweep(world)
    assert job.id in {sent for sent, _ in world.publisher.sent}
    world.publisher.sent.clear()
    sweep(world, SweepOptions(hint_again_after_s=3600))
    assert world.publisher.sent == [], "not when it was told lately"


def test_no_more_hints_are_sent_while_more_than_enough_wait(world: World) -> None:
    job = world.audit_job()
    sweep(world)
    world.publisher.sent = [(job.id, job.kind)] * 1000
    sweep(world)
    assert len(world.publisher.sent) == 1000


def test_an_expired_upload_loses_its_parts_and_an_open_one_does_not(world: World) -> None:
    expired = _open_upload(world, expires_at=PAST)
    fresh = _open_upload(world, expires_at=datetime.now(UTC) + timedelta(hours=1))
    unnamed = world.store.create_multipart(expired.object_key)  # as an API killed in a PUT leaves it
    world.store.upload_part(expired.object_key, unnamed, 1, b"part")
    sweep(world)
    assert world.store.list_unfinished(expired.object_key) == []
    with world.hands.unit_of_work() as unit:
        assert unit.uploads.get(world.project_id, expired.id).state is UploadState.EXPIRED
        assert unit.uploads.get(world.project_id, fresh.id).state is UploadState.OPEN
    parts = world.store.list_parts(fresh.object_key, str(fresh.store_upload_id))
    assert [part.number for part in parts] == [1]
    with pytest.raises(UploadNotFound):
        world.store.list_parts(expired.object_key, str(expired.store_upload_id))
    world.store.abort_multipart(fresh.object_key, str(fresh.store_upload_id))


def test_uploaded_shards_stay_while_a_data_set_lives_and_go_once_none_does(world: World) -> None:
    used, unused = (_complete_shards(world, expires_at=PAST) for _ in range(2))
    dataset, _ = world.dataset(DatasetKind.PAIRS, {}, uri=None, upload_id=used.id)
    sweep(world)
    assert world.store.head(used.object_key).size_bytes == 4
    with pytest.raises(ObjectNotFound):
        world.store.head(unused.object_key)
    with world.hands.unit_of_work() as unit:
        unit.datasets.get(world.project_id, dataset.id).deleted_at = datetime.now(UTC)
    sweep(world)
    with pytest.raises(ObjectNotFound):
        world.store.head(used.object_key)


def test_shards_stay_where_a_data_set_is_made_of_them_while_the_sweeper_looks(
    world: World, database_url: str
) -> None:
    """A statement that began before the dataset was committed does not see it, also where it locks."""
    upload = _complete_shards(world, expires_at=PAST)
    worker = build_engine(database_url, role=Role.WORKER)
    watch = build_engine(database_url)

    @event.listens_for(worker, "before_cursor_execute", retval=True)
    def look_slowly(_: Any, __: Any, statement: str, values: Any, *___: Any) -> tuple[str, Any]:
        if "SKIP LOCKED" in statement and "FROM uploads" in statement:
            slow = f"CASE uploads.id WHEN '{upload.id}' THEN pg_sleep(4) IS NOT NULL ELSE true END"
            statement = statement.replace("WHERE", f"WHERE {slow} AND", 1)
        return statement, values

    def register() -> None:
        with watch.connect() as connection:
            while not connection.scalar(text(_ASLEEP)):
                connection.rollback()
        world.dataset(DatasetKind.PAIRS, {}, uri=None, upload_id=upload.id)

    with ThreadPoolExecutor(1) as threads:
        registered = threads.submit(register)
        delete_abandoned_uploads(Database(worker), world.store)
        registered.result()
    for engine in (worker, watch):
        engine.dispose()
    with world.hands.unit_of_work() as unit:
        assert unit.uploads.get(world.project_id, upload.id).state is UploadState.COMPLETED
    assert world.store.head(upload.object_key).size_bytes == 4


_ASLEEP = """SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event = 'PgSleep'"""


def test_outputs_of_losers_and_states_of_ended_jobs_are_removed_and_the_winner_stays(world: World) -> None:
    job = world.audit_job()
    assert world.runner().run(job.id) is JobState.SUCCEEDED
    kept = set(world.keys(f"outputs/{world.project_id}/{job.id}/"))
    world.store.put_bytes(output_attempt_prefix(world.project_id, job.id, 7) + "report.json", b"loser")
    world.store.put_bytes(state_prefix(world.project_id, job.id, 1, 10) + "weights.bin", b"state")
    sweep(world, SweepOptions())
    assert len(world.keys(f"outputs/{world.project_id}/{job.id}/")) == len(kept) + 1, "not before the grace"
    sweep(world)
    assert set(world.keys(f"outputs/{world.project_id}/{job.id}/")) == kept
    assert world.keys(f"states/{world.project_id}/{job.id}/") == []
    assert world.job(job.id).swept_at is not None


def test_a_failed_job_keeps_its_states_for_a_retry(world: World) -> None:
    job = claimed(world)
    key = state_prefix(world.project_id, job.id, 1, 10) + "weights.bin"
    world.store.put_bytes(key, b"state")
    with world.hands.unit_of_work() as unit:
        unit.attempts.finish_failed(job.id, 1, error={"code": "x", "message": "m", "remedy": "r"})
    sweep(world, SweepOptions(leftovers_after_s=0))
    assert world.keys(key) == [key]
    sweep(world)
    assert world.keys(key) == []


def test_a_deleted_checkpoint_loses_its_objects_once_no_job_needs_them(world: World) -> None:
    job = world.audit_job()
    with world.hands.unit_of_work() as unit:
        unit.checkpoints.delete(world.project_id, str(job.checkpoint_id))
    sweep(world)
    prefix = f"checkpoints/{world.project_id}/{job.checkpoint_id}/"
    assert len(world.keys(prefix)) == 2, "a job still reads them"
    with world.hands.unit_of_work() as unit:
        unit.jobs.request_cancel(world.project_id, job.id)
    sweep(world)
    assert world.keys(prefix) == []
    assert world.keys(f"uploads/{world.project_id}/") == []


def test_old_idempotency_keys_are_forgotten(world: World) -> None:
    with world.hands.unit_of_work() as unit:
        row = unit.idempotency.begin(
            project_id=world.project_id, key="k", method="POST", path="/", request_sha256="0", ttl_s=3600
        )
        unit.idempotency.finish(row, status=202, body={})
    sweep(world)
    assert _stored(world) is not None
    with world.hands.unit_of_work() as unit:
        unit.idempotency.begin(
            project_id=world.project_id, key="old", method="POST", path="/", request_sha256="0", ttl_s=-1
        )
    report = sweep(world)
    assert report.done["idempotency_keys"] >= 1


def test_two_sweepers_never_sweep_together(world: World) -> None:
    with world.database.exclusively(SWEEP_LOCK) as is_ours:
        assert is_ours
        assert sweep(world).was_elsewhere
    assert not sweep(world).was_elsewhere


def test_the_lock_is_free_again_when_a_sweeper_dies(world: World) -> None:
    with pytest.raises(RuntimeError), world.database.exclusively(SWEEP_LOCK):
        raise RuntimeError("killed")
    assert not sweep(world).was_elsewhere


def test_a_store_that_is_away_stops_its_own_steps_only(world: World) -> None:
    job = claimed(world)
    world.expire_lease(job.id)
    checkpoint, inspect_job = world.checkpoint()
    with world.hands.unit_of_work() as unit:
        unit.jobs.request_cancel(world.project_id, inspect_job.id)

    class Away:
        def __getattr__(self, name: str) -> Any:
            def refuse(*_: Any, **__: Any) -> None:
                raise StoreUnavailable("away")

            return refuse

    report = sweep_once(world.database, Away(), world.publisher, NOW)  # type: ignore[arg-type]
    assert "checkpoints" in report.failed
    assert world.job(job.id).state is JobState.QUEUED
    sweep(world)
    with world.hands.unit_of_work() as unit:
        assert unit.checkpoints.get(world.project_id, checkpoint.id).upload_object_key is None


def _complete_shards(world: World, *, expires_at: datetime) -> Upload:
    upload = _open_upload(world, expires_at=expires_at)
    parts = world.store.list_parts(upload.object_key, str(upload.store_upload_id))
    world.store.complete_multipart(upload.object_key, str(upload.store_upload_id), parts, size_bytes=4)
    with world.hands.unit_of_work() as unit:
        row = unit.uploads.get(world.project_id, upload.id)
        row.purpose, row.state = UploadPurpose.DATASET, UploadState.COMPLETED
    return upload


def _open_upload(world: World, *, expires_at: datetime) -> Upload:
    upload_id = new_id("upl")
    key = upload_key(world.project_id, upload_id)
    store_upload_id = world.store.create_multipart(key)
    world.store.upload_part(key, store_upload_id, 1, b"part")
    with world.hands.unit_of_work() as unit:
        return unit.uploads.add(
            Upload(
                id=upload_id,
                project_id=world.project_id,
                purpose=UploadPurpose.CHECKPOINT,
                filename="clip.pt",
                size_bytes=4,
                declared={},
                part_size_bytes=4,
                num_parts=1,
                object_key=key,
                store_upload_id=store_upload_id,
                expires_at=expires_at,
            )
        )


def _stored(world: World) -> IdempotencyKey | None:
    with world.hands.unit_of_work() as unit:
        return unit.idempotency.begin(
            project_id=world.project_id, key="k", method="POST", path="/", request_sha256="0", ttl_s=3600
        )
