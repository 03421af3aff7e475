"""Webhooks from what happens to what arrives: real database, real receiver, the deliverer in this process."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.db.repositories.attempt_values import DatasetReady
from app.db.session import Database
from app.domain.states import DatasetKind, JobState
from app.domain.webhook_messages import DeliveryState, WebhookEvent, WebhookState
from tests.fakes.webhook_receiver import Receiver
from tests.integration.worker.subscribed import (
    ERROR,
    ONLY_CANCELLED,
    deliverer,
    deliveries,
    happen,
    queued_job,
    said,
    subscribe,
)
from tests.integration.worker.world import World

pytestmark = pytest.mark.usefixtures("quiet")


# ---------------------------------------------------------------- what is told


def finish(world: World, job_id: str, **values: Any) -> None:
    with world.database.unit_of_work() as unit:
        claimed = unit.attempts.claim(job_id, owner="by hand", lease_s=60)
        assert claimed is not None
        if "error" in values:
            unit.attempts.finish_failed(job_id, claimed.attempt, **values)
        else:
            unit.attempts.finish_succeeded(job_id, claimed.attempt, result={}, **values)


def test_every_end_of_a_job_a_checkpoint_and_a_data_set_is_told_and_signed(
    world: World, receiver: Receiver
) -> None:
    webhook_id, secret = subscribe(world, receiver.url)
    accepted = world.accepted_checkpoint()
    rejected, inspection = world.checkpoint()
    finish(world, inspection.id, error=ERROR)
    ready, validation = world.dataset(DatasetKind.PAIRS, {"0.tar": b"shard"})
    finish(world, validation.id, effect=DatasetReady(files=[], summary={}))
    useless, other_validation = world.dataset(DatasetKind.LABELLED, {"0.tar": b"shard"})
    with world.hands.unit_of_work() as unit:
        unit.jobs.request_cancel(world.project_id, other_validation.id)
    jobs = [queued_job(world) for _ in range(3)]
    finish(world, jobs[0])
    finish(world, jobs[1], error=ERROR)
    with world.hands.unit_of_work() as unit:
        unit.jobs.request_cancel(world.project_id, jobs[2])
    assert deliverer(world.database).deliver_due() == 7
    assert said(receiver) == [
        ("checkpoint.accepted", "checkpoint", accepted),
        ("checkpoint.rejected", "checkpoint", rejected.id),
        ("dataset.ready", "dataset", ready.id),
        ("dataset.rejected", "dataset", useless.id),
        ("job.succeeded", "job", jobs[0]),
        ("job.failed", "job", jobs[1]),
        ("job.cancelled", "job", jobs[2]),
    ]
    for message in receiver.messages:
        verified = message.verified(secret)
        assert verified["data"]["links"]["self"].endswith(f"/{verified['data']['id']}")
        age = datetime.now(UTC) - datetime.fromisoformat(verified["timestamp"])
        assert timedelta(0) <= age < timedelta(minutes=1)
    assert len({message.id for message in receiver.messages}) == 7
    assert all(row.state is DeliveryState.DELIVERED for row in deliveries(world, webhook_id))


def test_a_job_that_a_real_runner_finishes_is_told(world: World, receiver: Receiver) -> None:
    job = world.audit_job()
    _, secret = subscribe(world, receiver.url)
    assert world.start(job.id).join() is JobState.SUCCEEDED
    deliverer(world.database).deliver_due()
    (message,) = receiver.messages
    assert message.verified(secret)["data"] == {
        "object": "job",
        "id": job.id,
        "kind": "audit",
        "state": "succeeded",
        "outcome": "fail",
        "headline": "A trigger works on this model: fail",
        "links": {"self": f"/v1/jobs/{job.id}"},
    }


def test_nothing_is_told_that_was_rolled_back(world: World, receiver: Receiver) -> None:
    webhook_id, _ = subscribe(world, receiver.url)
    job_id = queued_job(world)

    def break_off() -> None:
        with world.hands.unit_of_work() as unit:
            unit.jobs.request_cancel(world.project_id, job_id)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        break_off()
    assert deliveries(world, webhook_id) == []
    assert world.job(job_id).state is JobState.QUEUED


def test_only_enabled_webhooks_of_the_project_are_told_and_only_what_they_asked_for(
    world: World, receiver: Receiver, database: Database, hands: Database
) -> None:
    stranger = World(database, world.store, world.folder, hands=hands)
    theirs, _ = subscribe(stranger, receiver.url)
    disabled, _ = subscribe(world, receiver.url, state=WebhookState.DISABLED)
    wanting, _ = subscribe(world, receiver.url, ONLY_CANCELLED)
    others, _ = subscribe(world, receiver.url, (WebhookEvent.JOB_FAILED, WebhookEvent.DATASET_READY))
    (job_id,) = happen(world)
    assert [len(deliveries(world, one)) for one in (disabled, wanting, others)] == [0, 1, 0]
    assert deliveries(stranger, theirs) == []
    assert deliveries(world, wanting)[0].subject_id == job_id


def test_two_webhooks_get_the_same_message(world: World, receiver: Receiver) -> None:
    secrets = dict(subscribe(world, receiver.url + name, ONLY_CANCELLED) for name in ("1", "2"))
    happen(world)
    assert deliverer(world.database).deliver_due() == 2
    one, other = receiver.messages
    assert (one.id, one.body) == (other.id, other.body)
    assert one.headers["webhook-signature"] != other.headers["webhook-signature"]
    for secret in secrets.values():
        verified = [message for message in (one, other) if message.is_signed_with(secret)]
        assert len(verified) == 1
