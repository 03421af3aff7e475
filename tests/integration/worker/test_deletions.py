"""What was deleted is gone, rows and objects, and its receipt says what it was; killed, it goes on."""

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, text

from app.db.models.assets import Deletion
from app.db.models.job import Job
from app.db.models.project import Policy
from app.db.repositories import job_changes
from app.db.roles import Role
from app.db.session import Database, build_engine
from app.domain.deletions import DeletionReason, DeletionSubject
from app.domain.errors import NotFound
from app.domain.ids import new_id
from app.domain.object_keys import output_attempt_prefix, project_prefixes, state_prefix
from app.domain.states import DatasetKind, JobState, UploadPurpose
from app.services import datasets
from app.services.api_keys import Caller
from app.settings import RetentionSettings
from app.storage.errors import StoreUnavailable
from tests.integration.worker.world import World
from worker.sweeper import SweepOptions, sweep_once
from worker.sweeping.deleting import carry_out_deletions


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An operator's."""
    engine = build_engine(database_url, role=Role.OPERATOR)
    yield engine
    engine.dispose()


def sweep(world: World, store: Any = None, **options: Any) -> None:
    options = {"leftovers_after_s": 0.0, "failed_leftovers_after_s": 0.0} | options
    sweep_once(world.database, store or world.store, world.publisher, SweepOptions(**options))


def ask(world: World, subject: DeletionSubject, subject_id: str) -> str:
    """As the API does it: the mark and the deletion in one transaction."""
    with world.hands.unit_of_work() as unit:
        if subject is DeletionSubject.JOB:
            unit.jobs.get(world.project_id, subject_id).deleted_at = _now()
        elif subject is DeletionSubject.CHECKPOINT:
            unit.checkpoints.delete(world.project_id, subject_id)
        elif subject is DeletionSubject.DATASET:
            unit.datasets.delete(world.project_id, subject_id)
        asked = unit.deletions.ask(
            world.project_id, subject, subject_id, reason=DeletionReason.REQUESTED, key_id="key_x"
        )
    return asked.id


def receipt(world: World, deletion_id: str) -> Deletion:
    with world.hands.unit_of_work() as unit:
        return unit.deletions.get(world.project_id, deletion_id)


def rows_naming(engine: Engine, id: str) -> dict[str, int]:  # noqa: A002
    """In which tables, but the receipts and the trail, a row still holds the id anywhere."""
    tables = ("jobs", "job_events", "artifacts", "outbox", "idempotency_keys", "checkpoints", "uploads")
    with engine.connect() as connection:
        found = {
            table: connection.scalar(
                text(f"SELECT count(*) FROM {table} t WHERE t::text LIKE :id"), {"id": f"%{id}%"}
            )
            for table in tables
        }
    return {table: int(number or 0) for table, number in found.items() if number}


def finished_job(world: World) -> Job:
    job = world.sanitize_job()
    assert world.runner().run(job.id) is JobState.SUCCEEDED
    return job


def test_of_a_deleted_job_no_row_and_no_object_is_left_and_the_receipt_tells(
    world: World, engine: Engine
) -> None:
    job = finished_job(world)
    files = world.artifacts(job.id)
    world.store.put_bytes(output_attempt_prefix(world.project_id, job.id, 7) + "report.json", b"loser")
    world.store.put_bytes(state_prefix(world.project_id, job.id, 1, 10) + "weights.bin", b"state")
    begun = world.store.create_multipart(f"outputs/{world.project_id}/{job.id}/attempt-1/half")
    world.store.upload_part(f"outputs/{world.project_id}/{job.id}/attempt-1/half", begun, 1, b"half")
    before = world.keys(f"outputs/{world.project_id}/{job.id}/") + world.keys(
        f"states/{world.project_id}/{job.id}/"
    )
    with world.hands.unit_of_work() as unit:
        row = unit.idempotency.begin(
            project_id=world.project_id, key="k", method="POST", path="/", request_sha256="0", ttl_s=60
        )
        unit.idempotency.finish(row, status=202, body={"id": job.id})
    asked = ask(world, DeletionSubject.JOB, job.id)
    with pytest.raises(NotFound):
        world.job(job.id)
    sweep(world)
    found = receipt(world, asked)
    assert found.finished_at is not None
    assert found.num_objects == len(before) + 1, "a part of an upload that nobody completed counts, too"
    assert found.num_bytes is not None
    assert found.num_bytes > sum(len(body) for body in files.values())
    assert found.digests is not None
    assert {digest["name"]: digest["sha256"] for digest in found.digests} == {
        name: hashlib.sha256(body).hexdigest() for name, body in files.items()
    }
    assert world.keys(f"outputs/{world.project_id}/{job.id}/") == []
    assert world.keys(f"states/{world.project_id}/{job.id}/") == []
    assert rows_naming(engine, job.id) == {}


def test_killed_between_any_two_steps_it_goes_on_and_the_figures_stay(world: World) -> None:
    job = finished_job(world)
    num_objects = sum(
        len(world.keys(f"{kind}/{world.project_id}/{job.id}/")) for kind in ("outputs", "states")
    )
    asked = ask(world, DeletionSubject.JOB, job.id)

    class Dying:
        """The store takes away a part, then the process is gone."""

        def __getattr__(self, name: str) -> Any:
            return getattr(world.store, name)

        def purge(self, place: str, *, max_objects: int | None = None) -> bool:
            for key in world.keys(place)[:1]:
                world.store.delete(key)
            raise StoreUnavailable("killed")

    sweep(world, Dying())
    assert receipt(world, asked).finished_at is None
    assert receipt(world, asked).num_objects == num_objects
    sweep(world)
    assert receipt(world, asked).finished_at is not None
    assert receipt(world, asked).num_objects == num_objects, "counted before the first one went"
    assert world.keys(f"outputs/{world.project_id}/{job.id}/") == []


def test_a_checkpoint_takes_upload_weights_and_inspection_with_it_and_its_jobs_stay_readable(
    world: World, engine: Engine
) -> None:
    job = finished_job(world)
    checkpoint_id = str(job.checkpoint_id)
    with world.hands.unit_of_work() as unit:
        before = unit.checkpoints.get(world.project_id, checkpoint_id, for_update=True)
        before.source = {"ordered": "hf://somebody/secret"}
    asked = ask(world, DeletionSubject.CHECKPOINT, checkpoint_id)
    sweep(world)
    found = receipt(world, asked)
    assert found.num_objects == 3, "what came in, the weights, their configuration"
    assert found.digests is not None
    assert before.sha256 in {digest["sha256"] for digest in found.digests}
    assert world.keys(f"checkpoints/{world.project_id}/{checkpoint_id}/") == []
    assert world.keys(f"uploads/{world.project_id}/{before.upload_id}") == []
    assert world.job(job.id).result is not None
    assert "report.json" in world.artifacts(job.id)
    with engine.connect() as connection:
        shell = connection.execute(
            text("SELECT * FROM checkpoints WHERE id = :id"), {"id": checkpoint_id}
        ).one()
    assert (shell.filename, shell.sha256, shell.inspection, shell.declared) == ("", None, None, {})
    assert shell.source is None
    later = ask(world, DeletionSubject.JOB, job.id)
    sweep(world)
    assert receipt(world, later).finished_at is not None
    assert rows_naming(engine, checkpoint_id) == {}, "the last job took the empty rows with it"
    assert rows_naming(engine, before.upload_id) == {}


def test_pairs_that_a_job_measures_retrieval_on_are_read_by_it(world: World, engine: Engine) -> None:
    retrieval = world.ready_dataset(DatasetKind.PAIRS)
    job = world.audit_job(retrieval_dataset_id=retrieval)
    with world.hands.unit_of_work() as unit:
        assert list(unit.jobs.active_using_dataset(retrieval)) == [job.id]
    with engine.begin() as connection:
        connection.execute(text("UPDATE datasets SET created_at = now() - interval '40 days'"))
    sweep(world, retention=RetentionSettings(unused_days=30))
    asked = ask(world, DeletionSubject.DATASET, retrieval)
    sweep(world)
    assert receipt(world, asked).finished_at is None, "the job may still read it, and keeps it"
    assert world.runner().run(job.id) is JobState.FAILED, "what was asked to go is not found any more"
    sweep(world)
    assert receipt(world, asked).finished_at is not None
    later = ask(world, DeletionSubject.JOB, job.id)
    sweep(world)
    assert receipt(world, later).finished_at is not None
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM datasets WHERE id = :id"), {"id": retrieval}) == 0


def test_a_checkpoint_that_no_job_reads_goes_to_the_last_row(world: World, engine: Engine) -> None:
    checkpoint_id = world.accepted_checkpoint()
    with world.hands.unit_of_work() as unit:
        row = unit.checkpoints.get(world.project_id, checkpoint_id)
    ask(world, DeletionSubject.CHECKPOINT, checkpoint_id)
    sweep(world)
    assert rows_naming(engine, checkpoint_id) == {}
    assert rows_naming(engine, row.upload_id) == {}
    assert rows_naming(engine, str(row.inspect_job_id)) == {}


def test_shards_go_with_the_last_data_set_that_is_made_of_them(world: World) -> None:
    upload = world.upload(b"shard", purpose=UploadPurpose.DATASET)
    pair = [world.dataset(DatasetKind.PAIRS, {}, uri=None, upload_id=upload.id)[0] for _ in range(2)]
    for dataset in pair:
        with world.hands.unit_of_work() as unit:
            unit.jobs.request_cancel(world.project_id, _validate_job(world, dataset.id))
    first = ask(world, DeletionSubject.DATASET, pair[0].id)
    sweep(world)
    assert receipt(world, first).num_objects == 0
    assert world.keys(upload.object_key) == [upload.object_key]
    second = ask(world, DeletionSubject.DATASET, pair[1].id)
    sweep(world)
    assert receipt(world, second).num_objects == 1
    assert world.keys(upload.object_key) == []


def test_of_shards_that_are_on_their_way_out_no_data_set_can_be_made(world: World) -> None:
    upload = world.upload(b"shard", purpose=UploadPurpose.DATASET)
    dataset, job = world.dataset(DatasetKind.PAIRS, {}, uri=None, upload_id=upload.id)
    with world.hands.unit_of_work() as unit:
        unit.jobs.request_cancel(world.project_id, job.id)
    ask(world, DeletionSubject.DATASET, dataset.id)
    refused: list[str] = []

    class Slow:
        """Between the plan and the first object there is time for a request."""

        def __getattr__(self, name: str) -> Any:
            return getattr(world.store, name)

        def purge(self, place: str, *, max_objects: int | None = None) -> bool:
            if not refused:
                with pytest.raises(NotFound) as error, world.hands.unit_of_work() as unit:
                    datasets.create(unit, _caller(world), _made_of(upload.id))
                refused.append(error.value.code)
            return world.store.purge(place, max_objects=max_objects)

    sweep(world, Slow())
    assert refused == ["upload_not_found"]


def test_the_samples_of_a_data_set_go_with_it(world: World, engine: Engine) -> None:
    dataset, job = world.dataset(DatasetKind.PAIRS, {"0.tar": b"x"})
    assert world.runner().run(job.id) is JobState.SUCCEEDED
    assert "samples.json" in world.artifacts(job.id)
    asked = ask(world, DeletionSubject.DATASET, dataset.id)
    sweep(world)
    assert "samples.json" in {digest["name"] for digest in receipt(world, asked).digests or ()}
    assert [key for key in world.keys("") if world.project_id in key] == []
    assert rows_naming(engine, job.id) == {}


def test_nothing_goes_while_a_worker_that_lost_its_lease_may_still_be_writing(
    world: World, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_changes, "MAX_LOST_ATTEMPTS", 1)
    job = world.audit_job()
    with world.database.unit_of_work() as unit:
        assert unit.attempts.claim(job.id, owner="frozen", lease_s=60)
    world.expire_lease(job.id)
    sweep(world)
    assert world.job(job.id).state is JobState.FAILED
    asked = ask(world, DeletionSubject.JOB, job.id)
    sweep(world, leftovers_after_s=900.0)
    assert receipt(world, asked).finished_at is None
    assert receipt(world, asked).not_before is not None
    wait_no_more(engine)
    sweep(world)
    assert receipt(world, asked).finished_at is not None


def test_of_a_cancelled_job_nothing_goes_if_its_worker_was_lost(world: World) -> None:
    job = world.audit_job()
    with world.database.unit_of_work() as unit:
        assert unit.attempts.claim(job.id, owner="frozen", lease_s=60)
    with world.hands.unit_of_work() as unit:
        unit.jobs.request_cancel(world.project_id, job.id)
    world.expire_lease(job.id)
    sweep(world)
    assert world.job(job.id).state is JobState.CANCELLED
    asked = ask(world, DeletionSubject.JOB, job.id)
    sweep(world, leftovers_after_s=900.0)
    assert receipt(world, asked).finished_at is None


def test_nothing_goes_while_a_worker_whose_job_another_took_over_may_still_be_writing(world: World) -> None:
    job = world.audit_job()
    for owner in ("frozen", "second"):
        with world.database.unit_of_work() as unit:
            assert unit.attempts.claim(job.id, owner=owner, lease_s=60)
        if owner == "frozen":
            world.expire_lease(job.id)
    with world.database.unit_of_work() as unit:
        unit.attempts.finish_failed(job.id, 2, error={"code": "x"})
    asked = ask(world, DeletionSubject.JOB, job.id)
    sweep(world, leftovers_after_s=900.0)
    assert receipt(world, asked).finished_at is None


def test_a_job_whose_worker_let_go_of_it_by_itself_is_deleted_at_once(world: World) -> None:
    checkpoint, inspection = world.checkpoint(b"GIF89a")
    with world.database.unit_of_work() as unit:
        claimed = unit.attempts.claim(inspection.id, owner="well", lease_s=60)
        assert claimed is not None
        unit.attempts.finish_failed(inspection.id, claimed.attempt, error={"code": "unknown_format"})
    asked = ask(world, DeletionSubject.CHECKPOINT, checkpoint.id)
    sweep(world, leftovers_after_s=900.0)
    assert receipt(world, asked).finished_at is not None


def test_a_deletion_cannot_take_what_belongs_to_another_project(world: World, hands: Database) -> None:
    other = World(world.database, world.store, world.folder / "other", hands=hands)
    job = world.audit_job()
    with hands.unit_of_work() as unit:
        unit.jobs.request_cancel(world.project_id, job.id)
    world.store.put_bytes(output_attempt_prefix(world.project_id, job.id, 1) + "report.json", b"theirs")
    things = {
        DeletionSubject.JOB: job.id,
        DeletionSubject.JOB_OUTPUTS: job.id,
        DeletionSubject.CHECKPOINT: str(job.checkpoint_id),
        DeletionSubject.DATASET: str(job.labelled_dataset_id),
        DeletionSubject.PROJECT: world.project_id,
    }
    before = world.keys(f"outputs/{world.project_id}/"), world.job(job.id).version
    with hands.unit_of_work() as unit:
        forged = [
            unit.deletions.ask(other.project_id, subject, subject_id, reason=DeletionReason.REQUESTED).id
            for subject, subject_id in things.items()
        ]
    carry_out_deletions(world.database, world.store, grace_s=0.0)
    assert {receipt(other, deletion_id).num_objects for deletion_id in forged} == {0}
    assert (world.keys(f"outputs/{world.project_id}/"), world.job(job.id).version) == before
    with hands.unit_of_work() as unit:
        assert unit.checkpoints.get(world.project_id, str(job.checkpoint_id)).canonical_prefix
        assert unit.datasets.get(world.project_id, str(job.labelled_dataset_id)).files


def test_the_deletions_of_one_project_hold_up_no_others(world: World, hands: Database) -> None:
    other = World(world.database, world.store, world.folder / "other", hands=hands)
    mine = [_ask_for_nothing(world) for _ in range(105)]
    theirs = _ask_for_nothing(other)
    with world.database.unit_of_work() as unit:
        due = [row.id for row in unit.deletions.due(100)]
        assert set(due[:2]) == {mine[0], theirs}, "each project's first comes before anybody's second"
        for deletion_id in mine:
            unit.deletions.postpone(deletion_id, 60)
        assert [row.id for row in unit.deletions.due(100)] == [theirs]


def test_a_sweep_that_has_no_more_time_goes_on_next_time_and_others_come_first(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep(world)  # what other tests left
    monkeypatch.setattr("worker.sweeping.deleting.OBJECTS_AT_ONCE", 1)
    checkpoint_id = world.accepted_checkpoint()
    prefix = f"checkpoints/{world.project_id}/{checkpoint_id}/"
    assert len(world.keys(prefix)) == 2
    asked = ask(world, DeletionSubject.CHECKPOINT, checkpoint_id)
    later = _ask_for_nothing(world)
    for _ in range(2):
        carry_out_deletions(world.database, world.store, grace_s=0.0, for_s=0.0)
    assert len(world.keys(prefix)) == 1
    assert receipt(world, later).finished_at is not None
    sweep(world)
    assert world.keys(prefix) == []
    assert receipt(world, asked).finished_at is not None
    assert receipt(world, asked).num_objects == 3


def test_of_a_deleted_project_the_receipt_and_the_trail_are_left(world: World, engine: Engine) -> None:
    job = finished_job(world)
    waiting = world.audit_job()
    with world.hands.unit_of_work() as unit:
        unit.policies.add(Policy(id=new_id("pol"), project_id=world.project_id, name="release", content={}))
    asked = ask(world, DeletionSubject.PROJECT, world.project_id)
    sweep(world)
    assert receipt(world, asked).finished_at is None, "a job waits"
    with world.hands.unit_of_work() as unit:
        unit.jobs.request_cancel(world.project_id, waiting.id)
    sweep(world)
    assert receipt(world, asked).finished_at is not None
    assert (receipt(world, asked).num_objects or 0) > 5
    assert [world.keys(prefix) for prefix in project_prefixes(world.project_id)] == [[]] * 5
    assert rows_naming(engine, job.id) == {}
    assert rows_naming(engine, world.project_id) == {}


def test_retention_takes_outputs_after_their_days_and_the_job_says_so(world: World, engine: Engine) -> None:
    old, young = finished_job(world), finished_job(world)
    with engine.begin() as connection:
        for table, column in (("jobs", "finished_at"), ("artifacts", "created_at")):
            key = "id" if table == "jobs" else "job_id"
            statement = f"UPDATE {table} SET {column} = now() - interval '8 days' WHERE {key} = :id"
            connection.execute(text(statement), {"id": old.id})
    kept = RetentionSettings(outputs_days=7)
    for _ in range(2):
        sweep(world, retention=kept)
    with world.hands.unit_of_work() as unit:
        rows, _ = unit.deletions.page(world.project_id, None, 10)
    assert [(row.subject, row.subject_id, row.reason) for row in rows] == [
        (DeletionSubject.JOB_OUTPUTS, old.id, DeletionReason.RETENTION)
    ]
    assert rows[0].finished_at is not None
    assert world.artifacts(old.id) == {}
    assert world.keys(f"outputs/{world.project_id}/{old.id}/") == []
    assert world.event_types(old.id)[-1] == "outputs_deleted"
    result = world.job(old.id).result
    assert result is not None
    assert result["artifact_ids"] == []
    assert result["verdict"]
    assert world.artifacts(young.id)


def test_retention_takes_what_no_job_ever_read_and_what_was_rejected(world: World, engine: Engine) -> None:
    used = str(world.audit_job().checkpoint_id)
    unused, fresh = world.accepted_checkpoint(), world.accepted_checkpoint()
    rejected, inspection = world.checkpoint(b"GIF89a")
    assert world.runner().run(inspection.id) is JobState.FAILED
    with engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE checkpoints SET created_at = now() - interval '40 days',"
                " updated_at = now() - interval '40 days' WHERE id IN (:a, :b, :c)"
            ),
            {"a": used, "b": unused, "c": rejected.id},
        )
    sweep(world, retention=RetentionSettings(unused_days=30, rejected_days=30))
    with world.hands.unit_of_work() as unit:
        rows, _ = unit.deletions.page(world.project_id, None, 10)
        assert {row.subject_id for row in rows} == {unused, rejected.id}
        assert unit.checkpoints.get(world.project_id, used).canonical_prefix
        assert unit.checkpoints.get(world.project_id, fresh).canonical_prefix
    assert world.keys(f"checkpoints/{world.project_id}/{unused}/") == []


def wait_no_more(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE deletions SET not_before = NULL"))


def _ask_for_nothing(world: World) -> str:
    with world.hands.unit_of_work() as unit:
        row = unit.deletions.ask(
            world.project_id, DeletionSubject.UPLOAD, new_id("upl"), reason=DeletionReason.REQUESTED
        )
    return row.id


def _caller(world: World) -> Caller:
    return Caller(
        project_id=world.project_id, key_id="key_x", scopes=frozenset(), request_id="req_x", remote_addr=None
    )


def _made_of(upload_id: str) -> datasets.Registration:
    return datasets.Registration(
        kind=DatasetKind.PAIRS,
        uri=None,
        upload_id=upload_id,
        class_names=None,
        templates=None,
        max_skipped_share=0.01,
    )


def _validate_job(world: World, dataset_id: str) -> str:
    with world.hands.unit_of_work() as unit:
        return str(unit.datasets.get(world.project_id, dataset_id).validate_job_id)


def _now() -> Any:
    from sqlalchemy import func

    return func.now()
