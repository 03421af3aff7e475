"""Cancel, pause, leaving, and lost children: what was asked for happens, soon, and nothing is lost."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from app.domain.states import CheckpointState, DatasetKind, JobState
from app.storage.port import ObjectStore, StoredObject
from app.storage.s3 import S3Store
from lab.drills.processes import processes_in, signal_all
from tests.integration.worker.world import World, opened_world, wait_until
from tests.suites import mostly_full
from worker import attempt, supervision
from worker.supervision import LEAVE_GRACE_S, LEAVE_SHIP_S, Grace

CANCEL_WITHIN_S = 9.0
"""Under the grace that a child has to save its state in, of 10 s: a cancel grants none."""


class SlowStore:
    """The real store, but one step hangs for as long as a broken network would let it."""

    def __init__(self, store: ObjectStore, *, hangs: str, keys: str = "") -> None:
        self._keys = keys
        self._store = store
        self._hangs = hangs
        self.is_hanging = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def in_bucket(self, bucket: str) -> SlowStore:
        other = SlowStore(self._store.in_bucket(bucket), hangs=self._hangs)
        other.__dict__ = self.__dict__ | {"_store": other._store}
        return other

    def stream(self, key: str, *, start: int = 0, num_bytes: int | None = None) -> Iterator[bytes]:
        self._hang("stream", key)
        return self._store.stream(key, start=start, num_bytes=num_bytes)

    def put_file(self, key: str, path: Path, *, content_type: str = "x/y") -> StoredObject:
        self._hang("put_file", key)
        return self._store.put_file(key, path, content_type=content_type)

    def _hang(self, step: str, key: str) -> None:
        if step == self._hangs and key.startswith(self._keys):
            self.is_hanging = True
            time.sleep(60)


def cancel(world: World, job_id: str) -> float:
    with world.database.unit_of_work() as unit:
        assert unit.jobs.request_cancel(world.project_id, job_id).state is JobState.CANCELLING
    return time.monotonic()


@pytest.fixture(scope="module")
def undisturbed(database_url: str, object_store: S3Store, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The weights of a job that nobody stopped: all jobs here have one seed."""
    with opened_world(database_url, object_store, tmp_path_factory.mktemp("undisturbed")) as world:
        job = world.sanitize_job()
        assert world.runner().run(job.id) is JobState.SUCCEEDED
        return world.artifacts(job.id)["model.safetensors"]


@pytest.mark.parametrize(
    "behaviour",
    mostly_full(
        ["work_until_told", "wait_for_ever", "ignore_terminate", "leave_a_daemon"],
        daily=["ignore_terminate", "leave_a_daemon"],
    ),
)
def test_a_cancel_while_the_child_runs_ends_it_and_all_its_processes_in_time(
    world: World, behaviour: str
) -> None:
    job = world.sanitize_job()
    running = world.start(job.id, behaviour)
    wait_until(lambda: world.job(job.id).phase == "baseline_audit" or world.job(job.id).phase == "finetune")
    assert processes_in(world.work_dir)
    asked_at = cancel(world, job.id)
    assert running.join(CANCEL_WITHIN_S) is JobState.CANCELLED
    assert time.monotonic() - asked_at < CANCEL_WITHIN_S
    assert world.job(job.id).state is JobState.CANCELLED
    assert processes_in(world.work_dir) == []
    assert _daemons() == []
    assert list(world.work_dir.iterdir()) == []
    assert world.artifacts(job.id) == {}


@pytest.mark.parametrize(("hangs", "phase"), [("stream", "stage"), ("put_file", "publish")])
def test_a_cancel_while_bytes_move_is_not_kept_waiting_by_a_store_that_hangs(
    world: World, hangs: str, phase: str
) -> None:
    job = world.audit_job()
    store = SlowStore(world.store, hangs=hangs)
    running = world.start(job.id, store=store)
    wait_until(lambda: store.is_hanging and world.job(job.id).phase == phase)
    cancel(world, job.id)
    wait_until(lambda: world.job(job.id).state is JobState.CANCELLED, CANCEL_WITHIN_S)
    assert running.join() is JobState.CANCELLED, "after it has waited a moment for the upload"
    assert list(world.work_dir.iterdir()) == []


def test_a_store_that_hangs_over_a_training_state_does_not_hold_up_what_the_child_has_finished(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "LEAVE_SHIP_S", 0.5)
    job = world.sanitize_job()
    store = SlowStore(world.store, hangs="put_file", keys="states/")
    running = world.start(job.id, "work_until_told", store=store)
    wait_until(lambda: store.is_hanging)
    began = time.monotonic()
    world.let_go_on()
    assert running.join() is JobState.SUCCEEDED
    assert time.monotonic() - began < 50, "not the minute for which the store hung"


def test_a_cancelled_inspection_rejects_the_checkpoint_and_leaves_no_bytes(world: World) -> None:
    checkpoint, job = world.checkpoint()
    running = world.start(job.id, "wait_for_ever")
    wait_until(lambda: processes_in(world.work_dir))
    cancel(world, job.id)
    assert running.join() is JobState.CANCELLED
    with world.database.unit_of_work() as unit:
        row = unit.checkpoints.get(world.project_id, checkpoint.id)
    assert row.state is CheckpointState.REJECTED
    assert world.keys(f"uploads/{world.project_id}/") == []


def test_a_worker_told_to_leave_saves_the_state_and_hands_the_job_back_uncounted(
    world: World, undisturbed: bytes
) -> None:
    job = world.sanitize_job()
    running = world.start(job.id, "work_until_told")
    wait_until(lambda: world.is_training(job.id, step=13))
    asked_at = time.monotonic()
    running.leaving.set()
    assert running.join(20) is JobState.QUEUED
    assert time.monotonic() - asked_at < 20
    row = world.job(job.id)
    assert (row.attempt, row.attempts_used) == (1, 0)
    assert row.resume_state is not None
    assert row.resume_state["step"] >= 13, "the state saved on the way out, not the one before"
    assert world.publisher.sent[-1][0] == job.id, "somebody else is told at once"

    assert world.runner().run(job.id) is JobState.SUCCEEDED
    notes = [event.data["message"] for event in world.events(job.id) if event.type == "noted"]
    assert any("resumes from the state saved at step" in note for note in notes)
    assert world.artifacts(job.id)["model.safetensors"] == undisturbed


def test_a_child_that_ignores_the_request_to_save_is_killed_and_the_worker_still_leaves_in_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert LEAVE_GRACE_S + LEAVE_SHIP_S < 20
    monkeypatch.setattr(attempt, "Grace", partial(Grace, leave_s=0.5))
    job = world.sanitize_job()
    running = world.start(job.id, "ignore_terminate")
    wait_until(lambda: world.job(job.id).phase == "baseline_audit")
    running.leaving.set()
    assert running.join(20) is JobState.QUEUED
    assert world.job(job.id).attempts_used == 0


def test_a_paused_job_keeps_its_state_and_goes_on_from_it_when_resumed(world: World) -> None:
    job = world.sanitize_job()
    running = world.start(job.id, "work_until_told")
    wait_until(lambda: world.is_training(job.id, step=5))
    with world.database.unit_of_work() as unit:
        unit.jobs.request_pause(world.project_id, job.id)
    assert running.join() is JobState.PAUSED
    assert world.job(job.id).attempts_used == 0
    assert world.runner().run(job.id) is None, "a paused job is not claimed"
    with world.database.unit_of_work() as unit:
        unit.jobs.resume(world.project_id, job.id)
    assert world.runner().run(job.id) is JobState.SUCCEEDED
    assert any("resumes from" in str(event.data) for event in world.events(job.id))


def test_a_child_killed_in_the_middle_begins_again_and_ends_with_the_same_weights(
    world: World, undisturbed: bytes
) -> None:
    job = world.sanitize_job()
    running = world.start(job.id, "work_until_told")
    wait_until(lambda: world.job(job.id).resume_state is not None)
    signal_all(processes_in(world.work_dir), signal.SIGKILL)
    assert running.join() is JobState.QUEUED
    row = world.job(job.id)
    assert (row.attempts_used, row.resume_state) == (1, None), "it may have killed itself after a bad save"
    (failed,) = [event for event in world.events(job.id) if event.type == "attempt_failed"]
    assert (failed.data["error"]["code"], failed.data["resumes"]) == ("child_killed", False)

    assert world.runner().run(job.id) is JobState.SUCCEEDED
    assert not any("resumes from" in str(event.data) for event in world.events(job.id))
    assert world.artifacts(job.id)["model.safetensors"] == undisturbed
    assert world.job(job.id).attempt == 2
    assert all("/attempt-2/" in key for key in _artifact_keys(world, job.id))


def test_a_broken_training_state_is_not_used_and_the_job_begins_anew(world: World) -> None:
    job = world.sanitize_job()
    running = world.start(job.id, "work_until_told")
    wait_until(lambda: world.job(job.id).resume_state is not None)
    running.leaving.set()
    running.join()
    for key in world.keys(f"states/{world.project_id}/{job.id}/"):
        if key.endswith("weights.bin"):
            world.store.put_bytes(key, b"not what was saved")
    assert world.runner().run(job.id) is JobState.SUCCEEDED
    notes = [event.data for event in world.events(job.id) if event.type == "noted"]
    assert any("starts again" in note["message"] and note["level"] == "warning" for note in notes)
    assert "state_dropped" in world.event_types(job.id)


def test_the_state_before_the_newest_is_used_when_only_the_newest_is_broken(world: World) -> None:
    job = world.sanitize_job()
    running = world.start(job.id, "work_until_told")
    wait_until(lambda: (world.job(job.id).resume_state or {}).get("previous") is not None)
    running.leaving.set()
    running.join()
    newest = world.job(job.id).resume_state
    assert newest is not None
    world.store.delete(newest["prefix"] + "position.json")
    assert world.runner().run(job.id) is JobState.SUCCEEDED
    step = newest["previous"]["step"]
    assert any(f"saved at step {step}" in str(event.data) for event in world.events(job.id))


def test_only_the_newest_two_states_are_kept(world: World) -> None:
    job = world.sanitize_job()
    running = world.start(job.id, "work_until_told")
    wait_until(lambda: world.event_types(job.id).count("state_saved") >= 2)
    running.leaving.set()
    running.join()
    assert world.event_types(job.id).count("state_saved") >= 3
    folders = {key.rpartition("/")[0] for key in world.keys(f"states/{world.project_id}/{job.id}/")}
    assert len(folders) == 2


def test_a_data_set_gone_from_the_store_fails_the_job_with_a_reason(world: World) -> None:
    job = world.audit_job(labelled_dataset_id=world.ready_dataset(DatasetKind.LABELLED))
    world.store.delete(f"data/{job.labelled_dataset_id}/0.tar")
    assert world.runner().run(job.id) is JobState.FAILED
    error = world.job(job.id).error
    assert error is not None
    assert error["code"] == "input_missing"


def _artifact_keys(world: World, job_id: str) -> list[str]:
    with world.database.unit_of_work() as unit:
        return [row.object_key for row in unit.artifacts.of_job(world.project_id, job_id)]


def _daemons() -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                if b"stand-in-daemon" in (entry / "cmdline").read_bytes():
                    found.append(entry.name)
            except OSError:
                continue
    return found
